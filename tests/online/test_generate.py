"""Raw step pairs from a host: values, continuing after a kill, refusals."""

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from cftime import DatetimeNoLeap

from climsim.calendar import to_seconds
from climsim.data.raw.steps import GRID_FILE, list_steps, read_grid_info, read_step
from climsim.data.store.splits import TRAINING_ONLY, SplitConfig, assign_splits
from climsim.errors import ClimSimError
from climsim.files import file_hash, read_json, write_json
from climsim.online.generate import generate
from climsim.online.pairs import after_physics
from climsim.online.pairs_config import GenerateConfig
from climsim.processes import EMULATED_ATTRIBUTE
from tests.online.toy_host import DT, ToyHost

PER_DAY = 72


def run(folder, days, processes=None, **host):
    steps, toy = [], ToyHost(**host)
    if processes is not None:
        toy.emulated_processes = processes
    generate(
        GenerateConfig(raw=folder, days=days, host="toy"),
        lambda done, total: steps.append((done, total)),
        host=toy,
    )
    return steps


def contents(folder):
    return {step.seconds: read_step(step.before).before["state_t"] for step in list_steps(folder)}


def test_pairs_hold_the_state_before_and_after_physics(tmp_path):
    assert run(tmp_path, 0.125)[-1] == (9, 9)
    host = ToyHost()
    expected = host.step_physics()
    steps = list_steps(tmp_path)
    assert len(steps) == 9
    step = read_step(steps[0].before)
    assert step.date == expected.date
    np.testing.assert_allclose(step.before["state_t"], expected.inputs["state_t"])
    tendency = (step.after["state_q0001"] - step.before["state_q0001"]) / DT
    np.testing.assert_allclose(tendency, expected.tendencies["ptend_q0001"], rtol=1e-6)
    np.testing.assert_allclose(step.after["cam_out_PRECC"], expected.surface["cam_out_PRECC"])
    following = read_step(steps[1].before)
    host.step_physics()
    assert (following.date - step.date).total_seconds() == DT
    assert not np.allclose(following.before["state_t"], step.after["state_t"])


def test_files_say_which_model_made_them_and_lie_beside_their_grid(tmp_path):
    run(tmp_path, 2 / PER_DAY)
    for path in (*tmp_path.glob("*/*.nc"), tmp_path / GRID_FILE):
        with netCDF4.Dataset(path) as file:
            assert file.source == ToyHost().source
            assert EMULATED_ATTRIBUTE not in file.ncattrs()
    grid = read_grid_info(tmp_path / GRID_FILE)
    np.testing.assert_allclose(grid.lat, ToyHost().grid.lat)


def test_a_finished_run_is_not_repeated_and_a_longer_one_continues(tmp_path):
    run(tmp_path, 1)
    assert run(tmp_path, 1) == []
    steps = run(tmp_path, 1.5)
    assert [done for done, _ in steps] == list(range(PER_DAY + 1, PER_DAY * 3 // 2 + 1))


@pytest.mark.parametrize(("days", "dt", "steps"), [(0.1, DT, 7), (0.2, DT, 14), (1, 1000.0, 86)])
def test_days_that_are_no_whole_number_of_steps_are_done_once(tmp_path, days, dt, steps):
    assert run(tmp_path, days, dt=dt)[-1] == (steps, steps)
    # No host has this name: a call that has something to do fails.
    generate(GenerateConfig(tmp_path, days, host="toy"))


def test_a_record_of_an_earlier_version_says_what_is_done(tmp_path):
    run(tmp_path, 0.25)
    path = tmp_path / ".generate" / "record.json"
    record = read_json(path)
    del record["dt"]
    write_json(path, record)
    generate(GenerateConfig(tmp_path, 0.25, host="toy"))
    assert run(tmp_path, 0.5)[-1] == (36, 36)


def test_less_than_a_step_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ClimSimError, match=r"days: expected at least one step of 1200 s .* 0\.001"):
        run(tmp_path / "raw", 0.001)
    assert not (tmp_path / "raw").exists()


def test_a_second_process_in_the_folder_is_refused(tmp_path):
    class Nosy(ToyHost):
        def step_physics(self):
            run(tmp_path, 1)

    with pytest.raises(ClimSimError, match="another process generates these step pairs"):
        generate(GenerateConfig(tmp_path, 1, host="toy"), host=Nosy())


def killed(folder, days, step):
    run(folder, days, kill_at_step=step)


def test_a_killed_run_continues_and_gives_the_same_files(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=killed, args=(tmp_path / "killed", 1.25, PER_DAY + 7)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    done = [step for step, _ in run(tmp_path / "killed", 1.25)]
    assert done[0] == PER_DAY + 1
    run(tmp_path / "whole", 1.25)
    one, other = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    assert one.keys() == other.keys()
    for seconds, value in one.items():
        np.testing.assert_array_equal(value, other[seconds])


def test_a_folder_of_another_run_is_refused(tmp_path):
    run(tmp_path, 1 / PER_DAY)
    other = GenerateConfig(raw=tmp_path, days=1, host="toy", host_options={"resolution": "T21"})
    message = "host_options.resolution was None, now 'T21': choose another folder"
    with pytest.raises(ClimSimError, match=message):
        generate(other)


def test_files_declare_the_processes_that_their_host_does(tmp_path):
    run(tmp_path, 2 / PER_DAY, processes={"turbulence", "clouds"})
    for path in tmp_path.glob("*/*.nc"):
        with netCDF4.Dataset(path) as file:
            assert file.getncattr(EMULATED_ATTRIBUTE) == "clouds, turbulence"


def test_an_unstable_host_ends_the_run_with_one_line(tmp_path):
    with pytest.raises(ClimSimError, match=r"unstable at .* T is 511\.5 at column 2") as error:
        run(tmp_path, 1, bad_at_step=3)
    assert "\n" not in str(error.value)
    assert len(list_steps(tmp_path)) == 4


def test_days_must_be_positive(tmp_path):
    with pytest.raises(ClimSimError, match="days: expected a positive, finite number"):
        GenerateConfig(raw=tmp_path, days=0)


def start_file(path, steps):
    host = ToyHost()
    for _ in range(steps):
        host.step_physics()
    host.save(path)
    return path


def noted(folder):
    return read_json(folder / ".generate" / "record.json")


def test_a_start_is_known_by_its_content(tmp_path):
    start, raw = start_file(tmp_path / "start.npz", 3), tmp_path / "raw"

    def continued(path, days):
        generate(GenerateConfig(raw, days, host="toy", start=path), host=ToyHost())
        return noted(raw)

    record = continued(start, 0.125)
    assert record["identity"]["start"] == file_hash(start)
    assert json.loads(record["input_hashes"]) == {str(start): file_hash(start)}
    copy = tmp_path / "copy.npz"
    copy.write_bytes(start.read_bytes())
    assert continued(copy, 0.25)["input_hashes"] == record["input_hashes"]
    start_file(start, 5)
    with pytest.raises(ClimSimError, match=r"raw: holds other step pairs: start was '\w{64}', now"):
        continued(start, 0.5)
    start.unlink()
    again = continued(start, 0.5)
    assert again["input_hashes"] == record["input_hashes"]
    assert again["identity"] == record["identity"]
    assert len(list_steps(raw)) == 36


@pytest.mark.parametrize("path", ["start.npz", "copy.npz"])
def test_a_record_that_notes_the_path_of_its_start_and_host_continues(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    for name in ("start.npz", "copy.npz"):
        start_file(tmp_path / name, 3)
    config = GenerateConfig(Path("raw"), 0.125, host="toy.py:build_host", start=Path("start.npz"))
    generate(config, host=ToyHost())
    record = noted(config.raw)
    assert record["identity"]["host"] == f"{tmp_path}/toy.py:build_host"
    record["identity"] |= {"start": "start.npz", "host": "toy.py:build_host"}
    write_json(config.raw / ".generate" / "record.json", record)
    generate(replace(config, days=0.25, start=Path(path)), host=ToyHost())
    assert noted(config.raw)["identity"]["start"] == file_hash(tmp_path / "start.npz")
    assert len(list_steps(config.raw)) == 18


@pytest.mark.parametrize("damage", [{"first_steps": None}, {"days_done": "many"}, {"identity": 3}])
def test_a_damaged_record_is_refused_by_its_path(tmp_path, damage):
    run(tmp_path, 0.125)
    record = noted(tmp_path)
    write_json(tmp_path / ".generate" / "record.json", {**record, **damage})
    with pytest.raises(ClimSimError, match=r"record\.json: expected the record .* found a damaged"):
        run(tmp_path, 0.25)


@pytest.mark.parametrize(
    ("year", "settings", "found"),
    [
        (2000, {"noise": (0.1,), "noise_stride": 12}, r"11000 \(9000 more for noise_stride\)"),
        (9998, {"days": 800.0}, "10000"),
        (9990, {"members": 6}, "10000"),
    ],
)
def test_dates_that_no_name_of_a_file_holds_are_refused_and_leave_nothing(
    tmp_path, year, settings, found
):
    config = GenerateConfig(tmp_path / "raw", **{"days": 1.0, "host": "toy", **settings})
    host = ToyHost(start_date=DatetimeNoLeap(year, 1, 30))
    with pytest.raises(ClimSimError, match=rf"raw: expected dates .* 9999, found {found}: start"):
        generate(config, host=host)
    assert not config.raw.exists()


def test_the_embedded_model_writes_every_variable_with_its_tendency(gcm, tmp_path):
    start = gcm.date
    generate(GenerateConfig(raw=tmp_path, days=2 / PER_DAY), host=gcm)
    steps = list_steps(tmp_path)
    assert steps[0].date == start
    assert steps[1].seconds - steps[0].seconds == DT
    with netCDF4.Dataset(steps[0].before) as file:
        assert "not E3SM-MMF" in file.source
        assert "advection eulerian" in file.source
        assert "emulated term of clouds, convection, radiation, turbulence" in file.source
        assert file.getncattr(EMULATED_ATTRIBUTE) == "clouds, convection, radiation, turbulence"
    pair = read_step(steps[1].before)
    assert pair.before["state_t"].shape == (60, 512)
    assert pair.before["state_t"].mean() < 280
    for name in ("state_q0001", "state_q0002", "state_q0003"):
        assert pair.after[name][:-1].min() > -1e-6, name
    # Evaporation comes to the lowest level beside the emulated term, which may count on it.
    assert pair.after["state_q0001"][-1].min() > -1e-5
    heating = (pair.after["state_t"] - pair.before["state_t"]) / DT
    assert 1e-6 < np.abs(heating).mean() < 1e-3


def test_after_physics_is_the_state_plus_the_step(gcm):
    result = gcm.physics()
    after = after_physics(result, gcm.dt)
    expected = result.inputs["state_u"] + gcm.dt * result.tendencies["ptend_u"]
    np.testing.assert_allclose(after["state_u"], expected, rtol=1e-5, atol=1e-5)
    assert after["state_u"].dtype == np.float64


def test_an_interrupted_run_continues_at_its_step_and_gives_the_same_files(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "interrupted", 1, interrupt_at_step=40)
    steps = run(tmp_path / "interrupted", 1)
    assert [done for done, _ in steps] == list(range(42, PER_DAY + 1))
    run(tmp_path / "whole", 1)
    resumed, whole = contents(tmp_path / "interrupted"), contents(tmp_path / "whole")
    assert resumed.keys() == whole.keys()
    for seconds, value in resumed.items():
        np.testing.assert_array_equal(value, whole[seconds])


def test_noise_is_in_the_pairs_and_not_in_the_run(tmp_path):
    run(tmp_path / "quiet", 0.25)
    config = GenerateConfig(
        tmp_path / "noisy", 0.25, host="toy", noise=(0.1, 1.0), humidity_noise=(0.05,), seed=3
    )
    generate(config, host=ToyHost())
    quiet, noisy = contents(tmp_path / "quiet"), contents(tmp_path / "noisy")
    assert quiet.keys() == noisy.keys()
    spread = np.array([(noisy[t] - quiet[t]).std() for t in quiet])
    assert {round(x) for x in np.log10(spread)} == {-1, 0}
    host = ToyHost()
    for step in list_steps(tmp_path / "noisy"):
        pair = read_step(step.before)
        heating = (pair.after["state_t"] - pair.before["state_t"]) / DT
        np.testing.assert_allclose(heating, host._physics(pair.before)[0]["ptend_t"], atol=1e-8)
    with netCDF4.Dataset(list_steps(tmp_path / "noisy")[0].before) as file:
        assert file.source.endswith("noise of [0.1, 1.0] K, [0.05] of the humidity")
    with pytest.raises(ClimSimError, match=r"other step pairs: noise was '.*0.1.* now '.*0.2"):
        generate(replace(config, noise=(0.2,)), host=ToyHost())


def members(folder, days=0.25, **settings):
    host = settings.pop("made", None) or ToyHost()
    config = GenerateConfig(folder, days, host="toy", members=3, start_amplitude=0.5, **settings)
    return generate(config, host=host)


def test_members_begin_in_seasons_and_keep_their_states(tmp_path):
    members(tmp_path / "one", days=2 / PER_DAY)
    members(tmp_path / "three", days=2 / PER_DAY, seasons=3)
    firsts = {
        name: [read_step(list_steps(tmp_path / name / f"member-0{n}")[0].before) for n in (1, 2, 3)]
        for name in ("one", "three")
    }
    dates = [pair.date for pair in firsts["three"]]
    assert [date.strftime("%m-%d") for date in dates] == ["01-30", "06-01", "09-30"]
    assert [date.year for date in dates] == [1, 3, 5]
    for one, other in zip(firsts["one"], firsts["three"], strict=True):
        np.testing.assert_array_equal(one.before["state_t"], other.before["state_t"])


def test_seasons_of_a_run_that_was_killed_stay(tmp_path):
    settings = {"days": 0.5, "seasons": 3, "restart_days": 0.25}
    process = multiprocessing.get_context("spawn").Process(
        target=members_killed, args=(tmp_path / "killed",), kwargs=settings
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    members(tmp_path / "killed", **settings)
    members(tmp_path / "whole", **settings)
    one, other = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    assert one.keys() == other.keys()
    assert all((one[seconds] == other[seconds]).all() for seconds in one)


def test_a_host_whose_date_cannot_be_set_has_no_seasons(tmp_path):
    host = ToyHost()
    host.set_date = None
    with pytest.raises(ClimSimError, match=r"seasons=3: expected a host with .* set_date"):
        members(tmp_path, made=host, seasons=3)


def test_pairs_with_noise_lie_beside_those_of_the_run(tmp_path):
    members(tmp_path / "quiet", stride=2)
    members(tmp_path / "both", stride=2, noise_stride=6, noise=(0.3,), cloud_noise=(0.25,))
    quiet, both = contents(tmp_path / "quiet"), contents(tmp_path / "both")
    beside = {seconds: both.pop(seconds) for seconds in both.keys() - quiet.keys()}
    assert both.keys() == quiet.keys()
    assert all((both[seconds] == quiet[seconds]).all() for seconds in quiet)
    assert len(quiet) == 27
    assert len(beside) == 9
    later = (9000 * 365) * 86400
    for seconds, values in beside.items():
        assert 0.15 < (values - quiet[seconds - later]).std() < 0.5
    config = SplitConfig(training_only=TRAINING_ONLY, gap_days=0.0, stretches=True)
    times = np.array(sorted([*both, *beside]))
    codes = assign_splits(times, config)
    assert set(codes[times >= later]) == {5}
    assert 5 not in codes[times < later]
    with netCDF4.Dataset(next((tmp_path / "both" / "member-02" / "noisy").glob("*/*.nc"))) as file:
        assert file.source.endswith("noise of [0.3] K, [0.25] of the logarithm of cloud")
    with netCDF4.Dataset(next((tmp_path / "both" / "member-02").glob("0*/*.nc"))) as file:
        assert file.source == ToyHost().source


@pytest.mark.parametrize("start", [(1, 1, 30), (4, 10, 7), (2, 12, 31, 22)])
def test_dates_of_the_pairs_are_known_before_any_is_made(tmp_path, start):
    settings = {"days": 0.5, "spinup_days": 0.1, "stride": 3, "seasons": 2}
    settings |= {"noise_stride": 5, "noise": (0.3,)}
    begin = DatetimeNoLeap(*start)
    members(tmp_path, made=ToyHost(start_date=begin), **settings)
    found = [step.seconds for step in list_steps(tmp_path)]
    known = GenerateConfig(tmp_path, members=3, **settings).times(DT, [to_seconds(begin)])
    np.testing.assert_array_equal(known, found)


def test_dates_of_members_follow_the_start_files_that_they_take_in_turn(tmp_path):
    begins = [DatetimeNoLeap(5, 3, 1), DatetimeNoLeap(2, 11, 30)]
    files = [tmp_path / f"start-{date.year}.npz" for date in begins]
    for date, path in zip(begins, files, strict=True):
        ToyHost(start_date=date).save(path)
    members(tmp_path / "raw", starts=files)
    config = GenerateConfig(tmp_path / "raw", 0.25, members=3, starts=files)
    known = config.times(DT, [to_seconds(date) for date in begins])
    np.testing.assert_array_equal(known, [s.seconds for s in list_steps(tmp_path / "raw")])


@pytest.mark.parametrize(
    ("settings", "years"),
    [
        ({"days": 365, "members": 2, "starts": ("a", "b")}, 2),
        ({"days": 366, "members": 2, "starts": ("a", "b")}, 3),
        ({"days": 455, "members": 8, "seasons": 4}, 2),
        ({"days": 500, "members": 8, "seasons": 4}, 3),
        ({"days": 729, "members": 2}, 2),
        ({"days": 800, "members": 2}, 3),
        ({"days": 1100, "members": 3}, 4),
    ],
)
def test_members_of_any_length_share_no_date(settings, years):
    config = GenerateConfig(Path("raw"), **settings)
    assert config.years_apart == years
    for begin in (0, 170 * 86400, 364 * 86400):
        times = config.times(43200.0, [begin, 0] if config.starts else [begin])
        firsts = np.arange(config.members) * round(times.size / config.members)
        assert np.diff(times).min() == 43200
        assert np.diff(times)[firsts[1:] - 1].min() >= 86400


def test_long_members_are_written_under_dates_of_their_own_and_grow_by_the_same_rule(tmp_path):
    config = GenerateConfig(tmp_path, 800, host="toy", members=2, stride=73)
    generate(config, host=ToyHost(dt=43200.0))
    found = [step.seconds for step in list_steps(tmp_path)]
    known = config.times(43200.0, [to_seconds(ToyHost().date)])
    np.testing.assert_array_equal(found, known)
    with pytest.raises(ClimSimError, match="years between members was 3, now 4: choose another"):
        generate(replace(config, days=1100), host=ToyHost(dt=43200.0))


def test_members_of_a_record_that_does_not_note_their_distance_continue(tmp_path):
    members(tmp_path, days=0.125)
    record = noted(tmp_path)
    assert record["identity"].pop("years between members") == 2
    write_json(tmp_path / ".generate" / "record.json", record)
    members(tmp_path, days=0.25)
    assert len(list_steps(tmp_path)) == 3 * 18


def member_alone(index):
    """The toy as the member of that number, from 0, starts."""
    host = ToyHost()
    if index:
        host.perturb(int(np.random.default_rng((0, index)).integers(2**31)), 0.5)
    return host


def test_members_write_what_each_would_write_alone_in_years_of_their_own(tmp_path):
    members(tmp_path / "all")
    found = contents(tmp_path / "all")
    assert len(found) == 3 * 18
    for index in range(3):
        host, folder = member_alone(index), f"member-0{index + 1}"
        steps = list_steps(tmp_path / "all" / folder)
        for step in steps:
            expected = host.step_physics()
            pair = read_step(step.before)
            assert pair.date == expected.date.replace(year=1 + 2 * index)
            np.testing.assert_array_equal(pair.before["state_t"], expected.inputs["state_t"])
        assert len(steps) == 18
    assert read_grid_info(tmp_path / "all" / GRID_FILE).n_columns == 7


def test_members_over_the_end_of_a_year_share_no_date(tmp_path):
    host = ToyHost(start_date=DatetimeNoLeap(1, 12, 31, 22))
    members(tmp_path, made=host)
    years = sorted({read_step(step.before).date.year for step in list_steps(tmp_path)})
    assert years == [1, 2, 3, 4, 5, 6]
    assert len(list_steps(tmp_path)) == 3 * 18


def test_every_nth_step_is_kept_after_the_spin_up(tmp_path):
    members(tmp_path, spinup_days=0.1, stride=4)
    start = ToyHost().date
    steps = [read_step(step.before) for step in list_steps(tmp_path / "member-01")]
    assert [(s.date - start).total_seconds() / DT for s in steps] == [7, 11, 15]
    assert len(list_steps(tmp_path / "member-03")) == 3


def test_members_take_the_start_files_in_turn(tmp_path):
    files = []
    for steps in (5, 9):
        host = ToyHost()
        for _ in range(steps):
            host.step_physics()
        files.append(tmp_path / f"after-{steps}.npz")
        host.save(files[-1])
    members(tmp_path / "raw", days=0.125, starts=files)
    firsts = [read_step(list_steps(tmp_path / "raw" / f"member-0{n}")[0].before) for n in (1, 2, 3)]
    passed = [f.date.replace(year=1) - ToyHost().date for f in firsts]
    assert [time.total_seconds() / DT for time in passed] == [5, 9, 5]
    assert [f.date.year for f in firsts] == [1, 3, 5]
    np.testing.assert_array_equal(firsts[0].before["state_t"], np.load(files[0])["t"])
    assert 0.3 < (firsts[2].before["state_t"] - firsts[0].before["state_t"]).std() < 0.7


def members_killed(folder, **settings):
    settings = {"days": 0.75, "restart_days": 0.25, **settings}
    members(folder, made=ToyHost(kill_at_step=round(0.75 * PER_DAY * settings["days"])), **settings)


def test_killed_members_continue_together_and_give_the_same_files(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=members_killed, args=(tmp_path / "killed",)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    members(tmp_path / "killed", days=0.75)
    members(tmp_path / "whole", days=0.75)
    one, other = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    assert one.keys() == other.keys()
    for seconds, value in one.items():
        np.testing.assert_array_equal(value, other[seconds])
    with pytest.raises(ClimSimError, match=r"members was 3, now 2: choose another folder"):
        generate(GenerateConfig(tmp_path / "whole", 1, host="toy", members=2), host=ToyHost())
    (tmp_path / "killed" / ".generate" / "restart-02.npz").write_bytes(early_restart(tmp_path))
    with pytest.raises(ClimSimError, match=r"restart files of one step, found .* \[30, 54\]"):
        members(tmp_path / "killed", days=1)


def killed_while_files_get_their_names(folder, number):
    """Ends by kill -9 once so many restart files of three members have got their names."""
    rename, named = os.replace, []

    def rename_and_count(source, target):
        rename(source, target)
        target = Path(target)
        if target.parent.name == ".generate" and target.name.startswith("restart"):
            named.append(target)
        if len(named) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = rename_and_count
    members(folder, days=0.5, restart_days=0.25)


@pytest.mark.parametrize("number", [4, 5])
def test_members_killed_between_their_restart_files_continue(tmp_path, number):
    process = multiprocessing.get_context("spawn").Process(
        target=killed_while_files_get_their_names, args=(tmp_path / "killed", number)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    for name in ("killed", "whole"):
        members(tmp_path / name, days=0.75)
    one, other = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    assert one.keys() == other.keys()
    assert all((one[seconds] == other[seconds]).all() for seconds in one)
    files = [
        {p.name for p in (tmp_path / name / ".generate").iterdir()} for name in ("killed", "whole")
    ]
    assert files[0] == files[1]


def early_restart(folder):
    host = ToyHost()
    for _ in range(30):
        host.step_physics()
    host.save(folder / "early.npz")
    return (folder / "early.npz").read_bytes()


def test_an_unstable_member_is_named(tmp_path):
    host = ToyHost()
    host.state["t"][3, 2] = 361.0
    with pytest.raises(ClimSimError, match=r"toy, member-01: unstable at 0001-01-30"):
        members(tmp_path, made=host)


def test_noise_of_labels_reaches_every_member_and_no_run(tmp_path):
    members(tmp_path / "quiet", days=2 / PER_DAY)
    members(tmp_path / "noisy", days=2 / PER_DAY, noise=(0.1,))
    quiet, noisy = contents(tmp_path / "quiet"), contents(tmp_path / "noisy")
    noise = [noisy[seconds] - quiet[seconds] for seconds in quiet]
    assert len(noise) == 6
    for index, one in enumerate(noise):
        assert 0.05 < one.std() < 0.15
        assert not any(np.allclose(one, other) for other in noise[:index])


def test_a_failure_to_write_ends_the_run(tmp_path, monkeypatch):
    def full(*arguments, **settings):
        raise ClimSimError("no space left")

    monkeypatch.setattr("climsim.online.pairs.write_step_pair", full)
    with pytest.raises(ClimSimError, match="no space left"):
        members(tmp_path, days=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": 0}, "members: expected"),
        ({"stride": 0}, "stride: expected"),
        ({"start": "a.npz", "starts": ["b.npz"]}, "starts: given together with start"),
        ({"starts": ["a.npz", "b.npz"]}, "starts: expected at most members=1"),
        ({"spinup_days": -1}, "spinup_days: expected"),
        ({"spinup_days": 1}, "spinup_days: expected less than days=1, found 1"),
        ({"seasons": 4, "members": 2}, "seasons: expected at most members=2"),
        ({"noise_stride": 4}, "noise_stride=4: expected noise to add pairs with, found none"),
    ],
)
def test_settings_of_members_that_do_not_fit_are_refused(tmp_path, settings, message):
    with pytest.raises(ClimSimError, match=message):
        GenerateConfig(tmp_path, 1, **settings)
