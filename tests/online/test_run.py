"""The run loop on the toy host: endings, interruptions, restarts, coupling modes."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from climsim.cards import LossCard, ModelCard
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.evaluation.history import RunHistory
from climsim.evaluation.stability import outcome_of
from climsim.hosts.base import declaration_of
from climsim.interfaces import V2, V6
from climsim.online import fitting
from climsim.online.config import EnsembleConfig
from climsim.online.run import RunConfig, run_online
from climsim.online.status import summarize
from climsim.runs.coupling import CouplerOptions
from climsim.runs.record import RunRecord
from climsim.variables import OUTPUTS, TARGETS
from tests import ROOT
from tests.online.toy_host import COLUMNS, DT, LEVELS, ToyHost, kill_a_run


class ReplayedPhysics:
    """A model that returns the host's own physics: what the coupler then does is all its own."""

    n_levels, confidence = LEVELS, False

    def __init__(self, host, interface=V2):
        self.host, self.interface, self.calls = host, interface, 0
        self.card = ModelCard()

    def __call__(self, vector):
        self.calls += 1
        tendencies, surface = self.host._physics(self.host.inputs())
        fields = {**tendencies, **surface}
        output = np.empty((COLUMNS, OUTPUTS.size(LEVELS)))
        for name, where in OUTPUTS.slices(LEVELS).items():
            output[:, where] = fields[name].T if fields[name].ndim == 2 else fields[name][:, None]
        return output


class BrokenModel(ReplayedPhysics):
    """The same until a call, from which on one value is no number."""

    def __call__(self, vector):
        output = super().__call__(vector)
        if self.calls > 3:
            output[4, 2 * LEVELS + 1] = np.nan
        return output


class Confident(ReplayedPhysics):
    """Is off by 0.5 scaled units in the vapour tendency of level 3, and expects a loss of 0.2."""

    confidence = True

    def __init__(self, host):
        super().__init__(host)
        scale = np.where(np.arange(TARGETS.size(LEVELS)) < 2, 0.0, 1.0e6)
        self.card = ModelCard(loss=LossCard("huber", 1.0, tuple(scale)))

    def __call__(self, vector):
        output = super().__call__(vector)
        output[:, LEVELS + 3] += 0.5e-6
        return np.concatenate([output, np.full((COLUMNS, TARGETS.size(LEVELS)), 0.2)], axis=1)


FREE = CouplerOptions(strato_water=False, top_levels=0)
"""Rules of Hu et al. that change true physics are off; floors, night and positivity are on."""


def config(folder, **changes):
    return replace(RunConfig(case="toy", folder=folder, days=3, host="toy"), **changes)


def coupled(monkeypatch, model, folder, **changes):
    """Run with a model object in the place of a file."""
    path = folder.parent / "model.pt"
    path.write_bytes(b"a model")
    monkeypatch.setattr(fitting, "open_model", lambda *arguments: model)
    changes.setdefault("coupler", FREE)
    return run_online(config(folder, model=path, **changes), host=model.host)


def contents(folder):
    """Every history file, by name, as plain arrays."""
    found = {}
    for path in sorted(folder.glob("*.nc")):
        with xr.open_dataset(path, decode_times=False) as data:
            found[path.name] = {n: v.values for n, v in data.variables.items()}
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run of three days with full physics."""
    folder = tmp_path_factory.mktemp("whole")
    run_online(config(folder), host=ToyHost())
    return folder


def assert_equal_files(folder, other):
    first, second = contents(folder), contents(other)
    assert first.keys() == second.keys()
    assert first
    for name, variables in first.items():
        assert variables.keys() == second[name].keys()
        for variable, value in variables.items():
            np.testing.assert_array_equal(value, second[name][variable], err_msg=name)


def test_seed_that_is_none_is_refused_before_the_run(tmp_path):
    with pytest.raises(ClimSimError, match=r"perturbation_seed: expected a whole number >= 0"):
        config(tmp_path, perturbation_seed=-1)
    with pytest.raises(ClimSimError, match=r"seeds\[1\]: expected a whole number >= 0, found -3"):
        EnsembleConfig(case="a", folder=tmp_path, days=1, seeds=(1, -3))


def test_full_physics_run_is_complete_with_all_its_files(tmp_path):
    seen = []
    record = run_online(config(tmp_path), lambda *p: seen.append(p), host=ToyHost())
    assert record.status == "complete"
    assert record.steps == 216
    assert seen[-1] == (216, 216)
    names = {p.name for p in tmp_path.glob("*.nc")}
    assert names == {
        "toy.eam.h0.0001-01.nc", "toy.eam.h0.0001-02.nc",
        *(f"toy.eam.{s}.0001-{d}-00000.nc" for s in ("h1", "h2")
          for d in ("01-30", "01-31", "02-01")),
    }  # fmt: skip
    saved = json.loads((tmp_path / "record.json").read_text())
    assert saved["status"] == "complete"
    assert saved["sypd"] > 0
    assert len(saved["daily"]) == 3
    assert not (tmp_path / "restart" / "last_day.bin").exists()


def test_true_physics_through_the_coupler_reproduces_the_full_physics_run(
    tmp_path, monkeypatch, whole
):
    model = ReplayedPhysics(ToyHost())
    record = coupled(monkeypatch, model, tmp_path / "replayed")
    assert record.sums.coupled_steps == 216 - 5
    assert model.host.calls == {"physics": 0, "step_physics": 5, "step_emulated": 211}
    truth, replayed = contents(whole), contents(tmp_path / "replayed")
    for name, variables in replayed.items():
        for variable, value in variables.items():
            np.testing.assert_allclose(value, truth[name][variable], rtol=2e-6, err_msg=variable)
    assert sum(record.sums.corrections.values()) == 0


def test_memory_of_the_expanded_interface_is_exact_over_a_kill(tmp_path, monkeypatch):
    class Recalling(ReplayedPhysics):
        """Lets the tendencies of t-1 and t-2 into the result."""

        def __call__(self, vector):
            output = super().__call__(vector)
            return output * (1 + 0.1 * np.tanh(1e4 * vector[:, 6 * LEVELS : 7 * LEVELS].sum()))

    monkeypatch.chdir(tmp_path)
    coupled(monkeypatch, Recalling(ToyHost(), V6), tmp_path / "whole")
    short = coupled(monkeypatch, Recalling(ToyHost(), V6), tmp_path / "parts", days=2)
    assert short.steps == 144
    record = coupled(monkeypatch, Recalling(ToyHost(), V6), tmp_path / "parts")
    assert record.steps == 216
    assert_equal_files(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("step", [10, 100, 215])
def test_run_killed_at_any_step_continues_exactly(tmp_path, step, whole):
    parts = tmp_path / "parts"
    kill_a_run(config(parts), step)
    assert RunRecord.open(parts).status == "running"
    host = ToyHost()
    record = run_online(config(parts), host=host)
    assert record.status == "complete"
    assert host.calls["step_physics"] == 216 - 72 * (step // 72)
    assert_equal_files(whole, parts)
    first, second = RunRecord.open(whole), record
    assert first.health.daily == second.health.daily
    assert first.sums.budgets.sums == second.sums.budgets.sums


def test_restart_points_inside_a_day_and_an_hour_continue_exactly(tmp_path, whole):
    parts = tmp_path / "parts"
    interval = 31 * DT / SECONDS_PER_DAY
    kill_a_run(config(parts, restart_days=interval), 100)
    host = ToyHost()
    run_online(config(parts, restart_days=interval), host=host)
    assert host.calls["step_physics"] == 216 - 93
    assert_equal_files(whole, parts)


def test_interrupt_leaves_a_run_that_continues_from_that_step(tmp_path, whole):
    parts = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        run_online(config(parts), host=ToyHost(interrupt_at_step=50))
    stopped = RunRecord.open(parts)
    assert (stopped.status, stopped.steps) == ("interrupted", 51)
    host = ToyHost()
    run_online(config(parts), host=host)
    assert host.calls["step_physics"] == 216 - 51
    assert_equal_files(whole, parts)


def test_complete_run_does_nothing_when_run_again(tmp_path):
    run_online(config(tmp_path), host=ToyHost())
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    host = ToyHost()
    record = run_online(config(tmp_path), host=host)
    assert record.status == "complete"
    assert sum(host.calls.values()) == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(("days", "dt", "steps"), [(0.1, DT, 7), (1.005, DT, 72), (1, 1000.0, 86)])
def test_days_that_are_no_whole_number_of_steps_are_done_once(tmp_path, days, dt, steps):
    assert run_online(config(tmp_path, days=days), host=ToyHost(dt=dt)).steps == steps
    host = ToyHost(dt=dt)
    record = run_online(config(tmp_path, days=days), host=host)
    assert (record.status, record.steps) == ("complete", steps)
    assert sum(host.calls.values()) == 0
    outcome = outcome_of(RunHistory.open(tmp_path))
    assert outcome.days >= outcome.days_wanted == days


def test_less_than_a_step_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ClimSimError, match=r"days: expected at least one step of 1200 s .* 0\.001"):
        run_online(config(tmp_path / "run", days=0.001), host=ToyHost())
    assert not (tmp_path / "run").exists()


def test_more_days_extend_a_complete_run(tmp_path, whole):
    run_online(config(tmp_path / "parts", days=1.5), host=ToyHost())
    run_online(config(tmp_path / "parts"), host=ToyHost())
    assert_equal_files(whole, tmp_path / "parts")


def test_unstable_run_ends_cleanly_and_says_where(tmp_path):
    host = ToyHost(bad_at_step=100)
    record = run_online(config(tmp_path), host=host)
    assert record.status == "unstable"
    assert record.message == "unstable after 1.40 days"
    trouble = record.health.instability
    assert (trouble.variable, trouble.column, trouble.level) == ("T", 2, 3)
    assert (trouble.step, trouble.value) == (101, 511.5)
    assert trouble.lat == host.grid.lat[2]
    assert "toy.eam.h0.0001-01.nc" in contents(tmp_path)
    last_day = contents(tmp_path)["toy.last_day.nc"]
    np.testing.assert_array_equal(last_day["step"], np.arange(29, 101))
    assert last_day["state_t"].shape == (72, LEVELS, COLUMNS)
    assert run_online(config(tmp_path), host=ToyHost()).status == "unstable"


def test_run_shorter_than_a_day_dumps_only_the_steps_it_had(tmp_path):
    record = run_online(config(tmp_path), host=ToyHost(bad_at_step=4))
    assert record.steps == 5
    np.testing.assert_array_equal(contents(tmp_path)["toy.last_day.nc"]["step"], np.arange(5))


def test_last_day_is_whole_after_a_kill_a_day_ago(tmp_path):
    kill_a_run(config(tmp_path / "parts"), 120)
    run_online(config(tmp_path / "parts"), host=ToyHost(bad_at_step=150))
    run_online(config(tmp_path / "whole"), host=ToyHost(bad_at_step=150))
    assert_equal_files(tmp_path / "whole", tmp_path / "parts")


def test_last_day_begins_at_the_restart_point_after_a_kill_within_it(tmp_path):
    kill_a_run(config(tmp_path), 120)
    run_online(config(tmp_path), host=ToyHost(bad_at_step=130))
    np.testing.assert_array_equal(contents(tmp_path)["toy.last_day.nc"]["step"], range(72, 131))


def test_last_day_is_whole_after_an_interrupt(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_online(config(tmp_path / "parts"), host=ToyHost(interrupt_at_step=120))
    for name in ("parts", "whole"):
        run_online(config(tmp_path / name), host=ToyHost(bad_at_step=130))
    assert_equal_files(tmp_path / "whole", tmp_path / "parts")


def test_last_day_is_whole_after_a_failure(tmp_path):
    class Failing(ToyHost):
        def health(self):
            if self.step_number == 120:
                raise ValueError("out of memory")
            return super().health()

    with pytest.raises(ValueError, match="out of memory"):
        run_online(config(tmp_path), host=Failing())
    run_online(config(tmp_path), host=ToyHost(bad_at_step=130))
    np.testing.assert_array_equal(contents(tmp_path)["toy.last_day.nc"]["step"], range(59, 131))


def test_model_output_that_is_no_number_ends_the_run_as_unstable(tmp_path, monkeypatch):
    model = BrokenModel(ToyHost())
    record = coupled(monkeypatch, model, tmp_path / "broken")
    assert record.status == "unstable"
    assert record.health.instability.variable == "ptend_q0002"
    assert (record.health.instability.column, record.health.instability.level) == (4, 1)
    assert record.steps == 5 + 3
    assert (
        json.loads((tmp_path / "broken" / "record.json").read_text())["instability"]["value"]
        == "nan"
    )
    health = summarize(tmp_path / "broken").health
    assert health.endswith("ptend_q0002 = nan in column 4, level 1")


def test_perturbed_start_differs_by_its_seed_only(tmp_path):
    folders = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", None)):
        run_online(config(tmp_path / name, days=0.5, perturbation_seed=seed), host=ToyHost())
        folders[name] = contents(tmp_path / name)["toy.eam.h0.0001-01.nc"]["T"]
    np.testing.assert_array_equal(folders["a"], folders["b"])
    assert not np.array_equal(folders["a"], folders["c"])
    assert not np.array_equal(folders["a"], folders["d"])


def test_start_file_of_the_host_is_where_the_run_begins(tmp_path):
    host = ToyHost()
    for _ in range(40):
        host.step_physics()
    host.save(tmp_path / "start")
    record = run_online(config(tmp_path / "run", start=tmp_path / "start"), host=ToyHost())
    assert record.about.start == host.date.isoformat()


def test_ramp_and_partial_coupling_run_both_physics_and_model(tmp_path, monkeypatch):
    model = ReplayedPhysics(ToyHost())
    options = replace(FREE, partial_variables=("ptend_t",), ramp="linear", ramp_linear_steps=10)
    coupled(monkeypatch, model, tmp_path / "both", coupler=options, days=1)
    assert model.host.calls == {"physics": 67, "step_physics": 5, "step_emulated": 67}
    run_online(config(tmp_path / "truth", days=1), host=ToyHost())
    truth, both = contents(tmp_path / "truth"), contents(tmp_path / "both")
    name = "toy.eam.h1.0001-01-30-00000.nc"
    np.testing.assert_allclose(both[name]["T"], truth[name]["T"], rtol=1e-6)


def test_predicted_confidence_stands_beside_the_true_loss(tmp_path, monkeypatch):
    options = replace(FREE, watch_physics=True)
    model = Confident(ToyHost())
    record = coupled(monkeypatch, model, tmp_path / "run", coupler=options, days=1)
    assert model.host.calls["physics"] == 67
    daily = contents(tmp_path / "run")["toy.eam.h1.0001-01-30-00000.nc"]
    np.testing.assert_allclose(daily["DQNPHYSCONF"], 0.2, rtol=1e-6)
    np.testing.assert_allclose(daily["DQ1PHYSLOSS"][0, 3], 0.5 * 0.5**2, rtol=1e-4)
    np.testing.assert_allclose(daily["DQ1PHYSLOSS"][0, 4], 0.0, atol=1e-9)
    np.testing.assert_allclose(daily["DTPHYSLOSS"], 0.0, atol=1e-9)
    means = record.sums.mean_losses()
    assert means["predicted"]["ptend_u"] == pytest.approx(0.2)
    assert means["true"]["ptend_q0001"] == pytest.approx(0.125 / LEVELS)
    saved = json.loads((tmp_path / "run" / "record.json").read_text())
    assert saved["mean_losses"] == means


def test_confidence_is_recorded_without_physics_and_the_true_loss_is_not(tmp_path, monkeypatch):
    model = Confident(ToyHost())
    coupled(monkeypatch, model, tmp_path / "run", days=1)
    assert model.host.calls["physics"] == 0
    daily = contents(tmp_path / "run")["toy.eam.h1.0001-01-30-00000.nc"]
    assert "DTPHYSCONF" in daily
    assert not [name for name in daily if name.endswith("LOSS")]


def test_watched_physics_does_not_change_the_run(tmp_path, monkeypatch):
    for name in ("watched", "not"):
        options = replace(FREE, watch_physics=name == "watched")
        coupled(monkeypatch, ReplayedPhysics(ToyHost()), tmp_path / name, coupler=options, days=1)
    assert_equal_files(tmp_path / "watched", tmp_path / "not")


def test_drift_of_a_global_mean_is_warned_of_once(tmp_path):
    class Warming(ToyHost):
        def _advance(self, tendencies, surface, diagnostics):
            self.state["t"] += 0.5 / 72
            return super()._advance(tendencies, surface, diagnostics)

        def _physics(self, inputs):
            tendencies, surface = super()._physics(inputs)
            return {n: 0 * x for n, x in tendencies.items()}, surface

    record = run_online(config(tmp_path, days=8, streams=()), host=Warming())
    (warning,) = [w for w in record.health.warnings if "temperature" in w]
    assert warning.startswith("day 5: global mean temperature drifts by +0.49")
    assert not [w for w in record.health.warnings if "water" in w or "pressure" in w]
    quiet = run_online(config(tmp_path / "quiet", days=6, streams=()), host=Still())
    assert not quiet.health.warnings


class Still(ToyHost):
    """Nothing changes."""

    def _advance(self, tendencies, surface, diagnostics):
        zero = {n: 0 * x for n, x in tendencies.items()}
        before = {n: x.copy() for n, x in self.state.items()}
        result = super()._advance(zero, surface, diagnostics)
        self.state = before
        return result


def test_folder_of_another_run_is_refused(tmp_path):
    run_online(config(tmp_path, days=0.5), host=ToyHost())
    with pytest.raises(ClimSimError, match=r"holds another run: perturbation_seed was None, now 4"):
        run_online(config(tmp_path, days=0.5, perturbation_seed=4), host=ToyHost())


@pytest.mark.parametrize("bad", ["nothing there", "no restart file"])
def test_start_that_failed_is_replaced_by_the_right_one(tmp_path, bad):
    start = tmp_path / "start.npz"
    ToyHost().save(start)
    wrong = tmp_path / "wrong.npz"
    if bad == "no restart file":
        wrong.write_bytes(b"no restart file")
    folder = tmp_path / "run"
    with pytest.raises((OSError, ValueError, ClimSimError)):
        run_online(config(folder, days=0.1, start=wrong), host=ToyHost())
    assert not folder.exists()
    record = run_online(config(folder, days=0.1, start=start), host=ToyHost())
    assert (record.status, record.about.config["start"]) == ("complete", str(start))


def test_run_that_left_history_is_not_replaced_though_its_record_has_no_steps(tmp_path):
    kill_a_run(config(tmp_path, restart_days=2), 80)
    assert RunRecord.open(tmp_path).steps == 0
    with pytest.raises(ClimSimError, match="holds another run: perturbation_seed"):
        run_online(config(tmp_path, restart_days=2, perturbation_seed=4), host=ToyHost())


def test_run_is_continued_from_a_start_file_that_moved(tmp_path):
    start, moved = tmp_path / "start.npz", tmp_path / "moved.npz"
    ToyHost().save(start)
    folder = tmp_path / "run"
    run_online(config(folder, days=0.1, start=start), host=ToyHost())
    start.rename(moved)
    longer = config(folder, days=0.2, start=moved)
    assert run_online(longer, host=ToyHost()).steps == round(0.2 * 72)
    other = ToyHost()
    other.step_physics()
    other.save(tmp_path / "other.npz")
    with pytest.raises(ClimSimError, match="holds another run: start was"):
        run_online(replace(longer, start=tmp_path / "other.npz"), host=ToyHost())


def test_second_process_in_the_folder_is_refused(tmp_path):
    class Nosy(ToyHost):
        def step_physics(self):
            run_online(config(tmp_path), host=ToyHost())

    with pytest.raises(ClimSimError, match="another process runs this case"):
        run_online(config(tmp_path), host=Nosy())


def test_spinup_too_short_for_the_interface_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ClimSimError, match=r"coupler\.spinup_steps: expected 2 or more"):
        coupled(
            monkeypatch, ReplayedPhysics(ToyHost(), V6), tmp_path / "run",
            coupler=replace(FREE, spinup_steps=1),
        )  # fmt: skip


def test_failing_host_leaves_a_record_that_says_so(tmp_path):
    class Failing(ToyHost):
        def health(self):
            raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory"):
        run_online(config(tmp_path), host=Failing())
    record = RunRecord.open(tmp_path)
    assert (record.status, record.message) == ("failed", "out of memory")
    assert run_online(config(tmp_path), host=ToyHost()).status == "complete"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"days": 0}, "days: expected a positive, finite number"),
        ({"device": "tpu"}, "device: expected one of .*, found 'tpu'"),
        ({"threads": -1}, "threads: expected a whole number >= 0"),
        ({"case": "a/b"}, "case: expected a name of letters"),
        ({"streams": ("h7",)}, "streams: expected one of h0, h1, h2, found 'h7'"),
        ({"restart_days": -1.0}, "restart_days: expected a positive"),
        ({"hourly_fields": ("PS",), "streams": ("h0",)}, "hourly_fields: expected h2 among"),
    ],
)
def test_configuration_out_of_range_names_its_key(tmp_path, changes, message):
    with pytest.raises(ClimSimError, match=message):
        config(tmp_path, **changes)


@pytest.mark.parametrize("bad", ["model", "start", "host", "option"])
def test_refused_run_leaves_no_folder(tmp_path, bad):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"something else")
    changes = {"model": {"model": wrong}, "start": {"start": wrong}, "host": {"host": "none"}}
    changes = changes.get(bad, {"host": "gcm", "host_options": {"resolution": "T11"}})
    host = None if "host" in changes else ToyHost()
    with pytest.raises((ClimSimError, ValueError)):
        run_online(config(tmp_path / "a" / "run", **changes), host=host)
    assert [path.name for path in tmp_path.iterdir()] == ["wrong"]


def test_refused_run_leaves_a_folder_that_was_there(tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"something else")
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="pickle"):
        run_online(config(tmp_path / "run", start=wrong), host=ToyHost())
    assert list((tmp_path / "run").iterdir()) == []


def test_unknown_host_lists_the_known_ones(tmp_path):
    with pytest.raises(ClimSimError, match="unknown host 'toy': expected one of"):
        run_online(config(tmp_path))


def test_missing_model_file_is_named(tmp_path):
    with pytest.raises(ClimSimError, match=r"none\.pt: no such file"):
        run_online(config(tmp_path, model=tmp_path / "none.pt"), host=ToyHost())


FULL_DISK = """
import sys, resource
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (173000, 173000))  # room for the last day, not for a file
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from tests.online.toy_host import ToyHost
from climsim.online.run import RunConfig, run_online
run_online(RunConfig(case="toy", folder=Path(sys.argv[1]), days=1, host="toy"), host=ToyHost())
"""


def test_file_that_cannot_be_written_stops_the_run_without_half_products(tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode != 0
    record = RunRecord.open(tmp_path)
    assert record.status == "failed"
    assert "toy.eam.h" in record.message
    assert "could not be written" in record.message
    assert not list(tmp_path.rglob(".partial-*"))
    assert run_online(config(tmp_path, days=1), host=ToyHost()).status == "complete"


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"provides": set(ToyHost().inputs()) - {"pbuf_ozone"}},
            "host toy: expected it to provide pbuf_ozone for a model with the interface v2",
        ),
        (
            {"provides": {"state_t"}},
            "host toy: expected it to provide cam_in_ALDIF, cam_in_ALDIR",
        ),
        (
            {"requires": {"ptend_t", "ptend_o3"}},
            "host toy: requires ptend_o3, which a model with the interface v2 does not give",
        ),
        ({"provides": "state_t"}, "host toy: expected its provides to be names of variables"),
        ({"emulated_processes": {"rain"}}, "host toy: emulated_processes: expected names among"),
    ],
)
def test_host_that_does_not_fit_the_model_is_refused_before_the_first_step(
    tmp_path, monkeypatch, declared, message
):
    host = ToyHost()
    for name, value in declared.items():
        setattr(host, name, value)
    with pytest.raises(ClimSimError, match=f"^{message}"):
        coupled(monkeypatch, ReplayedPhysics(host), tmp_path / "run")
    assert host.step_number == 0


def test_host_that_declares_less_than_its_history_takes_is_refused_without_a_model(tmp_path):
    host = ToyHost()
    host.provides = set(host.inputs()) - {"cam_in_LWUP"}
    with pytest.raises(ClimSimError, match=r"provide cam_in_LWUP for its history and budgets"):
        run_online(config(tmp_path), host=host)


def test_what_the_toy_provides_is_what_every_host_is_taken_to_provide():
    assert declaration_of(ToyHost()).provides <= set(ToyHost().inputs())
