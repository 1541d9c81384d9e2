"""Members that step in one program: each gives what it gives alone."""

from dataclasses import replace

import numpy as np
import pytest

from climsim.arrays import Constant
from climsim.cards import LossCard, ModelCard
from climsim.errors import ClimSimError
from climsim.hosts.members import SeparateMembers, means_of_members, of_member, sums_of_members
from climsim.interfaces import V2, V6
from climsim.online import fitting
from climsim.online import run as run_module
from climsim.online.config import EnsembleConfig
from climsim.online.ensemble import run_ensemble
from climsim.online.model import OfMembers
from climsim.online.run import RunConfig, run_online, run_together, steps_done
from climsim.runs.coupling import CouplerOptions
from climsim.runs.record import RunRecord
from climsim.variables import OUTPUTS
from tests.online.test_run import assert_equal_files
from tests.online.toy_host import COLUMNS, LEVELS, ToyHost

FREE = CouplerOptions(strato_water=False, top_levels=0)


class Relaxation:
    """A model that relaxes temperature to a value within two days; from a call on, it breaks."""

    n_levels, confidence = LEVELS, False

    def __init__(self, target, interface=V2, breaks_at=None):
        self.target, self.interface, self.breaks_at = target, interface, breaks_at
        self.card, self.calls = ModelCard(), 0

    def __call__(self, vector):
        self.calls += 1
        output = np.full((len(vector), OUTPUTS.size(LEVELS)), 1e-9, np.float32)
        where = self.interface.variables.slices(LEVELS)["state_t"]
        output[:, :LEVELS] = (self.target - vector[:, where]) / 172800.0
        if self.breaks_at is not None and self.calls >= self.breaks_at:
            output[0, 0] = np.nan
        return output


class InterruptedOnce(ToyHost):
    """The first of its copies alone interrupts the run."""

    def another(self):
        return ToyHost()


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Files in the place of models: their names say what `open_model` then gives."""

    def made(path, *_):
        target, _, breaks_at = path.stem.partition("-")
        breaks = int(breaks_at) if breaks_at else None
        return Relaxation(float(target), V6 if path.suffix == ".v6" else V2, breaks)

    monkeypatch.setattr(fitting, "open_model", made)

    def file(name):
        path = tmp_path / name
        path.write_bytes(name.encode())
        return path

    return file


def config(folder, **changes):
    base = RunConfig(case=folder.name, folder=folder, days=1.5, host="toy", coupler=FREE)
    return replace(base, **changes)


def members(folder, files, **changes):
    seeds = (1, 2, 3)
    return [
        config(folder / f"m{i}", model=files[i], perturbation_seed=seeds[i], **changes)
        for i in range(3)
    ]


@pytest.mark.parametrize("suffix", [".pt", ".v6"])
def test_members_together_give_the_files_and_records_of_members_alone(tmp_path, models, suffix):
    files = [models(f"{target}{suffix}") for target in (250, 250, 260)]
    together = run_together(members(tmp_path / "together", files), host=ToyHost())
    for found, one in zip(together, members(tmp_path / "alone", files), strict=True):
        alone = run_online(one, host=ToyHost())
        assert_equal_files(tmp_path / "together" / one.case, one.folder)
        assert (found.status, found.steps, found.about.together) == ("complete", 108, 3)
        assert found.sums.corrections == alone.sums.corrections
        assert found.sums.added == pytest.approx(alone.sums.added)
        assert found.health.daily == [pytest.approx(day) for day in alone.health.daily]
        assert found.sums.budgets.sums["water"] == pytest.approx(alone.sums.budgets.sums["water"])
    assert together[0].health.daily != together[1].health.daily


def test_member_that_leaves_its_bounds_ends_alone(tmp_path, models):
    files = [models("250.pt"), models("251-40.pt"), models("600.pt")]
    records = run_together(members(tmp_path / "together", files), host=ToyHost())
    assert [record.status for record in records] == ["complete", "unstable", "unstable"]
    assert records[1].steps == FREE.spinup_steps + 39
    trouble = records[1].health.instability
    assert trouble.variable == "ptend_t"
    assert np.isnan(trouble.value)
    assert FREE.spinup_steps < records[2].steps < 108
    for index, one in enumerate(members(tmp_path / "alone", files)):
        alone = run_online(one, host=ToyHost())
        assert (records[index].steps, records[index].status) == (alone.steps, alone.status)
        assert str(records[index].health.instability) == str(alone.health.instability)
        assert_equal_files(tmp_path / "together" / one.case, one.folder)


def test_interrupted_members_continue_together_to_the_same_files(tmp_path, models):
    files = [models(f"{target}.v6") for target in (250, 255, 260)]
    parts = members(tmp_path / "parts", files, restart_days=0.25)
    with pytest.raises(KeyboardInterrupt):
        run_together(parts, host=InterruptedOnce(interrupt_at_step=50))
    assert [RunRecord.open(one.folder).status for one in parts] == ["interrupted"] * 3
    assert [steps_done(one.folder) for one in parts] == [51] * 3
    run_together(parts, host=ToyHost())
    for one in members(tmp_path / "alone", files):
        run_online(one, host=ToyHost())
        assert_equal_files(tmp_path / "parts" / one.case, one.folder)


def test_complete_members_are_left_out(tmp_path, models):
    files = [models(f"{target}.pt") for target in (250, 251, 252)]
    asked = members(tmp_path, files)
    run_online(asked[1], host=ToyHost())
    written = (asked[1].folder / "record.json").read_bytes()
    records = run_together(asked, host=ToyHost())
    assert [record.about.together for record in records] == [2, 1, 2]
    assert (asked[1].folder / "record.json").read_bytes() == written


def test_ensemble_steps_its_members_in_groups(tmp_path, models, monkeypatch):
    files = tuple(models(f"{target}.pt") for target in (250, 251, 252))
    monkeypatch.setattr(run_module, "build_host", lambda *_: ToyHost())
    monkeypatch.setattr("climsim.online.ensemble.batch_runner", lambda _: None)
    monkeypatch.setattr("climsim.online.ensemble.require_taken", lambda *_: None)
    done = []
    report = run_ensemble(
        EnsembleConfig(
            case="toy", folder=tmp_path / "e", days=0.5, host="toy", models=files, together=2,
            coupler=FREE,
        ),
        lambda step, total: done.append((step, total)),
    )  # fmt: skip
    assert [record.about.together for record in report.records] == [2, 2, 1]
    assert done[-1] == (72, 72)
    assert str(report) == "3 members: 3 complete"


def test_models_of_different_interfaces_do_not_step_together():
    with pytest.raises(ClimSimError, match="one interface to step together, found v2 and v6"):
        OfMembers([Relaxation(250.0), Relaxation(250.0, V6)])


def test_models_of_different_losses_do_not_step_together_beside_the_physics():
    first, second = Relaxation(250.0), Relaxation(250.0)
    first.card = ModelCard(loss=LossCard("huber", 1.0, (1.0, 2.0)))
    second.card = ModelCard(loss=LossCard("huber", 1.0, (1.0, 3.0)))
    OfMembers([first, second])
    OfMembers([first, first], compared=True)
    with pytest.raises(ClimSimError, match=r"models of one training loss .* other scales"):
        OfMembers([first, second], compared=True)


def test_members_with_the_physics_beside_them_need_one_loss(tmp_path, models, monkeypatch):
    files = [models(f"{target}.pt") for target in (250, 251, 252)]
    made = fitting.open_model

    def of_own_loss(path, *rest):
        model = made(path, *rest)
        model.card = ModelCard(loss=LossCard("huber", model.target, ()))
        return model

    monkeypatch.setattr(fitting, "open_model", of_own_loss)
    watching = replace(FREE, watch_physics=True)
    with pytest.raises(ClimSimError, match=r"huber \(delta 250\) and huber \(delta 251\)"):
        run_together(members(tmp_path, files, coupler=watching), host=ToyHost())


def test_each_model_of_another_time_step_is_named(tmp_path, models, monkeypatch, caplog):
    files = [models(f"{target}.pt") for target in (250, 251, 252)]
    made = fitting.open_model

    def of_own_step(path, *rest):
        model = made(path, *rest)
        model.card = ModelCard(time_step=1200.0 if model.target == 250 else model.target)
        return model

    monkeypatch.setattr(fitting, "open_model", of_own_step)
    run_together(members(tmp_path, files, days=0.25), host=ToyHost())
    for step in (251, 252):
        assert f"trained on steps of {step} s" in caplog.text


def test_members_of_one_model_that_follow_each_other_are_one_call():
    first, second = Relaxation(250.0), Relaxation(260.0)
    vector = np.random.default_rng(0).uniform(200, 300, (6, V2.variables.size(LEVELS)))
    joined = OfMembers([first, first, second])(vector)
    assert (first.calls, second.calls) == (1, 1)
    np.testing.assert_array_equal(joined[4:], second(vector[4:]))
    np.testing.assert_array_equal(joined[:4], first(vector[:4]))


def test_means_and_sums_of_members_are_those_of_their_columns():
    fields = {"a": np.arange(12.0).reshape(2, 6), "b": np.arange(6.0)}
    weights = np.array([0.5, 1.5])
    means = means_of_members(fields, 3, Constant(weights))
    assert means.names == ("a", "b")
    assert means.values[1, 1] == np.mean(weights * [2.0, 3.0])
    assert means.values[0, 2] == np.mean(weights * [[4.0, 5.0], [10.0, 11.0]])
    np.testing.assert_array_equal(sums_of_members(fields, 3).values[:, 0], [0 + 1 + 6 + 7, 1.0])
    assert means_of_members({}, 3).values is None
    np.testing.assert_array_equal(of_member(fields, 2, 3)["a"], [[4, 5], [10, 11]])


def test_members_at_different_dates_are_refused():
    hosts = [ToyHost(), ToyHost()]
    hosts[1].step_physics()
    with pytest.raises(ClimSimError, match="members: expected one date"):
        _ = SeparateMembers(hosts).date
    assert SeparateMembers([ToyHost(), ToyHost()]).inputs()["state_t"].shape == (
        LEVELS,
        2 * COLUMNS,
    )
