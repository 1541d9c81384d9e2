"""Pairs at visited states: what drives, what labels, segments, restarts, refusals."""

import multiprocessing
import signal
from dataclasses import replace

import netCDF4
import numpy as np
import pytest

from climsim.cards import ModelCard
from climsim.data.raw.steps import list_steps, read_step
from climsim.errors import ClimSimError
from climsim.files import read_json, write_json
from climsim.hosts.base import declaration_of
from climsim.interfaces import V2, V6
from climsim.online import fitting
from climsim.online.collect import collect
from climsim.online.coupler import CouplerOptions
from climsim.online.pairs_config import CollectConfig
from climsim.variables import OUTPUTS

from .toy_host import COLUMNS, DT, LEVELS, ToyHost

OPEN = CouplerOptions(spinup_steps=2, strato_water=False, positivity=False, top_levels=0)
STEPS = 12


class Warming:
    """A model that warms every cell by 0.6 K a step and leaves all else as it is."""

    n_levels, confidence = LEVELS, False

    def __init__(self, interface=V2, rate=0.6 / DT):
        self.interface, self.rate, self.card = interface, rate, ModelCard()

    def __call__(self, vector):
        output = np.zeros((COLUMNS, OUTPUTS.size(LEVELS)))
        output[:, OUTPUTS.slices(LEVELS)["ptend_t"]] = self.rate
        return output


@pytest.fixture
def run(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    path.write_bytes(b"a model")
    config = CollectConfig(
        raw=tmp_path / "raw", segments=1, days=STEPS / 72, model=path, coupler=OPEN, host="toy",
        start_amplitude=0.0,
    )  # fmt: skip

    def make(model=None, host=None, host_name="toy", **changes):
        monkeypatch.setattr(fitting, "open_model", lambda *arguments: model or Warming())
        changed = replace(config, host=host_name, **changes)
        return collect(changed, host=host or ToyHost())

    make.raw = config.raw
    return make


def pairs(folder):
    return [read_step(step.before) for step in list_steps(folder)]


def temperatures(folder):
    return np.array([pair.before["state_t"] for pair in pairs(folder)])


def test_the_model_drives_and_the_physics_labels(run):
    (segment,) = run()
    assert (segment.pairs, segment.steps, segment.end) == (STEPS, STEPS, "complete")
    host = ToyHost()
    for step, pair in enumerate(pairs(run.raw)):
        np.testing.assert_allclose(pair.before["state_t"], host.inputs()["state_t"])
        label = host.physics()
        heating = (pair.after["state_t"] - pair.before["state_t"]) / DT
        np.testing.assert_allclose(heating, label.tendencies["ptend_t"], atol=1e-8)
        np.testing.assert_allclose(pair.after["cam_out_PRECC"], label.surface["cam_out_PRECC"])
        if step < OPEN.spinup_steps:
            host.step_physics()
        else:
            still = {name: 0.0 * value for name, value in label.tendencies.items()}
            still["ptend_t"] = still["ptend_t"] + 0.6 / DT
            host.step_emulated(still, {n: 0.0 * x for n, x in label.surface.items()})


def test_files_say_who_drove_and_have_years_of_their_own(run):
    host = ToyHost()
    host.emulated_processes = {"turbulence", "clouds"}
    run(segments=2, first_year=500, host=host)
    found = list_steps(run.raw)
    assert {read_step(step.before).date.year for step in found} == {500, 502}
    first, second = (read_step(found[i].before).date for i in (0, STEPS))
    assert (first.month, first.day, first.hour) == (second.month, second.day, second.hour)
    with netCDF4.Dataset(found[0].before) as file:
        assert "states visited by model model.pt, labelled by its own physics" in file.source
        assert file.emulated_processes == "clouds, turbulence"


def test_segments_start_from_the_given_states_in_turn_with_noise_of_their_own(run, tmp_path):
    starts = []
    for number in range(2):
        host = ToyHost()
        for _ in range(5 * number):
            host.step_physics()
        host.save(tmp_path / f"start{number}.npz")
        starts.append((tmp_path / f"start{number}.npz", host.inputs()["state_t"]))
    run(segments=3, starts=tuple(path for path, _ in starts), start_amplitude=0.01)
    found = temperatures(run.raw).reshape(3, STEPS, LEVELS, COLUMNS)[:, 0]
    for segment, start in enumerate((0, 1, 0)):
        distance = np.abs(found[segment] - starts[start][1])
        assert 0.001 < distance.max() < 0.05
    assert not np.array_equal(found[0], found[2])


def test_a_start_that_is_no_restart_file_is_refused_before_there_is_a_file(run, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"nothing of a host")
    with pytest.raises(ValueError, match="pickle"):  # what the toy says of it
        run(segments=1, starts=(tmp_path / "bad.npz",))
    assert not run.raw.exists()


def test_missing_statistics_of_the_mixing_are_named_before_a_host_is_built(run, monkeypatch):
    monkeypatch.setattr("climsim.online.collect.build_host", None)
    mixed = replace(OPEN, mixing="novelty", mixing_high=3.0, mixing_statistics="none.nc")
    with pytest.raises(ClimSimError, match=r"mixing_statistics: none\.nc: no such file"):
        run(coupler=mixed)


def test_every_nth_step_is_kept_and_the_path_is_the_same(run, tmp_path):
    run()
    run(raw=tmp_path / "thin", stride=5)
    np.testing.assert_array_equal(temperatures(tmp_path / "thin"), temperatures(run.raw)[::5])


def test_noise_is_seen_by_the_label_alone(run, tmp_path):
    run()
    run(raw=tmp_path / "noisy", noise=(0.1, 1.0))
    change = (temperatures(tmp_path / "noisy") - temperatures(run.raw)).std(axis=(1, 2))
    assert sorted({round(float(np.log10(value))) for value in change}) == [-1, 0]
    host = ToyHost()
    for pair in pairs(tmp_path / "noisy"):
        heating = (pair.after["state_t"] - pair.before["state_t"]) / DT
        expected, _ = host._physics(pair.before)
        np.testing.assert_allclose(heating, expected["ptend_t"], atol=1e-8)


def test_physics_drives_its_share_of_the_steps(run):
    host = ToyHost()
    run(host=host, days=2.0, physics_share=0.25, stride=144)
    emulated = 144 - 2 - (host.calls["step_physics"] - 2)
    assert 142 * 0.6 < emulated < 142 * 0.9


def test_a_segment_ends_before_the_state_is_absurd_and_the_next_one_begins(run):
    first, second = run(Warming(rate=20.0 / DT), segments=2)
    assert first.end.startswith("unstable: ")
    assert "360" in first.end
    assert first.pairs == second.pairs < STEPS
    assert temperatures(run.raw).max() < 360.0


def test_a_model_that_gives_what_is_no_number_ends_its_segment(run):
    (segment,) = run(Warming(rate=np.nan))
    assert segment.pairs == OPEN.spinup_steps + 1
    assert "ptend_t" in segment.end


def test_nothing_but_absurd_states_is_an_error(run):
    host = ToyHost()
    host.state["t"][3, 2] = 511.5
    with pytest.raises(ClimSimError, match=r"not one state of 1 .* T is 511.5 at column 2"):
        run(host=host)


def test_a_model_with_memory_is_given_what_the_host_did(run):
    seen = []

    class Remembering(Warming):
        def __call__(self, vector):
            seen.append(vector[:, V6.variables.slices(LEVELS)["state_t_prvphy"]].copy())
            return super().__call__(vector)

    run(Remembering(V6), coupler=replace(OPEN, spinup_steps=3))
    np.testing.assert_allclose(seen[1], 0.6 / DT, rtol=1e-5)
    with pytest.raises(ClimSimError, match=r"coupler.spinup_steps: expected 2 or more"):
        run(Remembering(V6), raw=run.raw.parent / "short", coupler=replace(OPEN, spinup_steps=1))


def killed(folder, step):
    collect(
        CollectConfig(raw=folder, segments=3, days=STEPS / 72, host="toy", start_amplitude=0.1),
        host=ToyHost(kill_at_step=step),
    )


def test_a_killed_record_is_completed_with_the_same_pairs(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=killed, args=(tmp_path / "a", 7))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert len(list_steps(tmp_path / "a")) == 8
    for name in ("a", "b"):
        killed(tmp_path / name, None)
    np.testing.assert_array_equal(temperatures(tmp_path / "a"), temperatures(tmp_path / "b"))


def test_less_than_a_step_is_refused_and_leaves_nothing(run):
    with pytest.raises(ClimSimError, match=r"days: expected at least one step of 1200 s .* 0\.001"):
        run(days=0.001)
    assert not run.raw.exists()


def test_a_second_process_in_the_folder_is_refused(run):
    class Nosy(ToyHost):
        def physics(self):
            run()

    with pytest.raises(ClimSimError, match="another process collects these step pairs"):
        run(host=Nosy())


def test_more_segments_are_added_and_another_record_is_refused(run):
    assert len(run()) == 1
    before = temperatures(run.raw)
    assert len(run(segments=2)) == 2
    np.testing.assert_array_equal(temperatures(run.raw)[:STEPS], before)
    with pytest.raises(ClimSimError, match=r"stride was 1, now 2: choose another folder"):
        run(segments=3, stride=2)


def test_a_host_of_a_file_is_known_by_its_whole_path(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = run.raw / ".collect" / "record.json"
    run(host_name="toy.py:build_host")
    record = read_json(path)
    assert record["identity"]["host"] == f"{tmp_path}/toy.py:build_host"
    record["identity"]["host"] = "toy.py:build_host"
    write_json(path, record)
    assert len(run(segments=2, host_name="toy.py:build_host")) == 2
    with pytest.raises(ClimSimError, match=r"other step pairs: host was '/.*, now 'toy'"):
        run(segments=3)


def test_noise_that_is_left_out_makes_another_record(run):
    run(cloud_noise=(0.5,))
    with pytest.raises(ClimSimError, match=r"cloud_noise was \[0\.5\], now None: choose another"):
        run(segments=2)


def test_a_damaged_record_is_refused_by_its_path(run):
    run()
    path = run.raw / ".collect" / "record.json"
    write_json(path, {**read_json(path), "segments": [{"year": 1}]})
    with pytest.raises(ClimSimError, match=r"record\.json: expected the record .* found a damaged"):
        run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segments": 0}, "segments: expected a whole number >= 1, found 0"),
        ({"stride": 0}, "stride: expected a whole number >= 1, found 0"),
        ({"days": 0.0}, "days: expected a positive, finite number, found 0"),
        ({"days": 400.0}, "days: expected at most a year, found 400"),
        ({"physics_share": 1.5}, "physics_share: expected a number from 0 to 1, found 1.5"),
        ({"noise": (-0.1,)}, "noise: expected a finite number >= 0 K, found -0.1"),
        (
            {"first_year": 9999, "segments": 2},
            "first_year: expected years up to 9999 for 2",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(run, changes, message):
    with pytest.raises(ClimSimError, match=message):
        run(**changes)


def test_a_host_without_a_field_of_the_pairs_is_refused_before_the_first_step(tmp_path):
    host = ToyHost()
    host.provides = declaration_of(host).provides - {"pbuf_ozone"}
    config = CollectConfig(raw=tmp_path / "raw", segments=1, days=1, host="toy")
    with pytest.raises(ClimSimError, match=r"host toy: .* provide pbuf_ozone for its step pairs"):
        collect(config, host=host)
    assert not list((tmp_path / "raw").rglob("*.nc"))


def test_noise_on_humidity_and_wind_is_labelled_by_the_physics(run, tmp_path):
    run()
    run(raw=tmp_path / "noisy", humidity_noise=(0.1,), wind_noise=(2.0,), cloud_noise=(0.5,))
    quiet, noisy = pairs(run.raw), pairs(tmp_path / "noisy")
    share = np.array([b.before["state_q0001"] / a.before["state_q0001"] - 1
                      for a, b in zip(quiet, noisy, strict=True)])  # fmt: skip
    assert share.std() == pytest.approx(0.1, rel=0.15)
    for name in ("state_u", "state_v"):
        change = np.array([b.before[name] - a.before[name]
                           for a, b in zip(quiet, noisy, strict=True)])  # fmt: skip
        assert change.std() == pytest.approx(2.0, rel=0.15)
    liquid, noisy_liquid = (np.array([pair.before["state_q0002"] for pair in record])
                            for record in (quiet, noisy))  # fmt: skip
    factor = noisy_liquid[liquid > 0] / liquid[liquid > 0]
    assert np.log(factor).std() == pytest.approx(0.5, rel=0.15)
    np.testing.assert_array_equal(temperatures(tmp_path / "noisy"), temperatures(run.raw))
    host = ToyHost()
    for pair in noisy:
        drying = (pair.after["state_q0001"] - pair.before["state_q0001"]) / DT
        np.testing.assert_allclose(drying, host._physics(pair.before)[0]["ptend_q0001"], atol=1e-11)
    with netCDF4.Dataset(list_steps(tmp_path / "noisy")[0].before) as file:
        assert (
            "noise of [0.1] of the humidity, [2.0] m/s, [0.5] of the logarithm of cloud, labelled"
            in file.source
        )
