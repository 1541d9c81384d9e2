"""Raw step pairs from a host: values, continuing after a kill, refusals."""

import multiprocessing
import signal
from dataclasses import replace

import netCDF4
import numpy as np
import pytest

from climsim.data.raw.steps import GRID_FILE, list_steps, read_grid_info, read_step
from climsim.errors import ClimSimError
from climsim.online.generate import GenerateConfig, after_physics, generate
from tests.online.toy_host import DT, ToyHost

PER_DAY = 72


def run(folder, days, **host):
    steps = []
    generate(
        GenerateConfig(raw=folder, days=days, host="toy"),
        lambda done, total: steps.append((done, total)),
        host=ToyHost(**host),
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
    grid = read_grid_info(tmp_path / GRID_FILE)
    np.testing.assert_allclose(grid.lat, ToyHost().grid.lat)


def test_a_finished_run_is_not_repeated_and_a_longer_one_continues(tmp_path):
    run(tmp_path, 1)
    assert run(tmp_path, 1) == []
    steps = run(tmp_path, 1.5)
    assert [done for done, _ in steps] == list(range(PER_DAY + 1, PER_DAY * 3 // 2 + 1))


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
    other = GenerateConfig(raw=tmp_path, days=1, host="gcm", host_options={"resolution": "T21"})
    with pytest.raises(ClimSimError, match="choose another folder"):
        generate(other)


def test_an_unstable_host_ends_the_run_with_one_line(tmp_path):
    with pytest.raises(ClimSimError, match=r"unstable at .* T is 511\.5 at column 2") as error:
        run(tmp_path, 1, bad_at_step=3)
    assert "\n" not in str(error.value)
    assert len(list_steps(tmp_path)) == 4


def test_days_must_be_positive(tmp_path):
    with pytest.raises(ClimSimError, match="days: expected a positive number"):
        GenerateConfig(raw=tmp_path, days=0)


def test_the_embedded_model_writes_every_variable_with_its_tendency(gcm, tmp_path):
    start = gcm.date
    generate(GenerateConfig(raw=tmp_path, days=2 / PER_DAY), host=gcm)
    steps = list_steps(tmp_path)
    assert steps[0].date == start
    assert steps[1].seconds - steps[0].seconds == DT
    with netCDF4.Dataset(steps[0].before) as file:
        assert "not E3SM-MMF" in file.source
        assert "advection eulerian" in file.source
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
    with pytest.raises(ClimSimError, match=r"holds step pairs of .*noise"):
        generate(replace(config, noise=(0.2,)), host=ToyHost())
