"""The coupler on the embedded model: the true physics tendencies reproduce the full-physics run.

A run with full physics is recorded step by step; a hybrid run is then handed those tendencies by a
model that plays them back, through the whole chain of interface, coupler and run loop.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from climsim.cards import ModelCard
from climsim.interfaces import V2
from climsim.online import fitting
from climsim.online.run import RunConfig, run_online
from climsim.runs.coupling import CouplerOptions
from climsim.variables import OUTPUTS

STEPS, SPINUP = 18, 5
DAYS = STEPS / 72
EXACT = CouplerOptions(spinup_steps=SPINUP, strato_water=False, top_levels=0)
"""The two rules that change true physics are off; floors, night and positivity stay on."""


class PlayedBack:
    """A model that returns the tendencies of a recorded run, step by step."""

    interface, confidence = V2, False

    def __init__(self, results, levels):
        self.results, self.n_levels = iter(results), levels
        self.card = ModelCard()

    def __call__(self, vector):
        result = next(self.results)
        fields = {**result.tendencies, **result.surface}
        output = np.empty((vector.shape[0], OUTPUTS.size(self.n_levels)), dtype=np.float32)
        for name, where in OUTPUTS.slices(self.n_levels).items():
            output[:, where] = fields[name].T if fields[name].ndim == 2 else fields[name][:, None]
        return output


@pytest.fixture(scope="module")
def truth(gcm_session, tmp_path_factory):
    """A run with full physics, and what each of its steps did."""
    host, start = gcm_session
    folder = tmp_path_factory.mktemp("truth")
    host.restore(start)
    run_online(RunConfig(case="run", folder=folder, days=DAYS), host=host)
    host.restore(start)
    return folder, [host.step_physics() for _ in range(STEPS)]


def replay(gcm, truth, folder, monkeypatch, options):
    path = folder / "model.pt"
    path.write_bytes(b"plays back")
    model = PlayedBack(truth[1][SPINUP:], gcm.grid.n_levels)
    monkeypatch.setattr(fitting, "open_model", lambda *arguments: model)
    config = RunConfig(case="run", folder=folder / "run", days=DAYS, model=path, coupler=options)
    return run_online(config, host=gcm)


def daily(folder):
    (path,) = folder.glob("run.eam.h1.*.nc")
    with xr.open_dataset(path) as data:
        return data.load()


def test_true_tendencies_through_the_coupler_reproduce_full_physics(
    gcm, truth, tmp_path, monkeypatch
):
    record = replay(gcm, truth, tmp_path, monkeypatch, EXACT)
    assert (record.status, record.sums.coupled_steps) == ("complete", STEPS - SPINUP)
    expected, found = daily(truth[0]), daily(tmp_path / "run")
    # In the storm tracks a thousandth of a kelvin changes LHFLX by nearly a tenth of a W/m2.
    limits = {"T": 1e-3, "U": 3e-3, "Q": 1e-6, "PS": 0.5, "LHFLX": 0.08, "LWUP": 0.02, "TMQ": 1e-3}
    for name, limit in limits.items():
        assert float(abs(found[name] - expected[name]).max()) < limit, name
    # Vapour that the surface hands to an empty lowest layer is mixed upward in the same step: the
    # emulated term alone then takes more than the layer held, and the coupler raises it.
    short = [overdrawn(result) for result in truth[1][SPINUP:]]
    raised = np.any(short, axis=0)
    gaps = {}
    for name in ("DTPHYS", "DQ1PHYS", "DQ2PHYS", "DQ3PHYS", "DUPHYS", "PRECT"):
        gap, scale = abs(found[name] - expected[name]).values, float(abs(expected[name]).max())
        compared = gap[:, ~raised] if name == "DQ1PHYS" else gap
        gaps[name] = float(compared.max()) / scale
    assert max(gaps.values()) < 1e-3, gaps
    for rule in ("floor:cam_out_PRECC", "night:cam_out_NETSW"):
        assert record.sums.corrections[rule] == 0
    # Where a layer hardly falls short, rounding decides, which differs between processors.
    raised_cells = sum(mask.sum() for mask in short)
    assert record.sums.corrections["positivity:ptend_q0001"] == pytest.approx(raised_cells, abs=2)
    for result, mask in zip(truth[1][SPINUP:], short, strict=True):
        assert not mask[:-1].any()
        assert (result.inputs["state_q0001"][mask] < 1e-6).all()
        assert (result.inputs["pbuf_LHFLX"][mask[-1]] > 0.0).all()


def overdrawn(result):
    """Cells that the emulated term takes more vapour from than they hold, (level, column)."""
    return result.inputs["state_q0001"] + 1200.0 * result.tendencies["ptend_q0001"] < 0.0


def test_rules_of_the_stratosphere_change_true_physics_only_a_little(
    gcm, truth, tmp_path, monkeypatch
):
    options = CouplerOptions(spinup_steps=SPINUP)
    record = replay(gcm, truth, tmp_path, monkeypatch, options)
    assert record.status == "complete"
    assert record.sums.corrections["strato_water:ptend_q0001"] > 0
    expected, found = daily(truth[0]), daily(tmp_path / "run")
    difference = found["T"] - expected["T"]
    assert 0 < float(np.sqrt((difference**2).mean())) < 1e-3
    assert float(abs(difference).max()) < 0.05


def test_run_that_goes_on_gives_the_files_of_an_undisturbed_one(gcm, gcm_session, truth, tmp_path):
    half = RunConfig(case="run", folder=tmp_path / "run", days=DAYS / 2)
    run_online(half, host=gcm)
    gcm.restore(gcm_session[1])
    gcm.step_physics()  # wherever the host is, the restart point decides
    record = run_online(replace(half, days=DAYS), host=gcm)
    assert record.steps == STEPS
    expected, found = daily(truth[0]), daily(tmp_path / "run")
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_model_that_heats_without_bound_ends_the_run_as_unstable(gcm, truth, tmp_path, monkeypatch):
    heating = {n: np.zeros_like(x) for n, x in truth[1][0].tendencies.items()}
    heating["ptend_t"][30, 7] = 0.1
    results = [replace(truth[1][0], tendencies=heating)] * STEPS
    options = CouplerOptions(spinup_steps=2)
    record = replay(gcm, (truth[0], results), tmp_path, monkeypatch, options)
    assert record.status == "unstable"
    assert record.message.startswith("unstable after 0.0")
    assert record.health.instability.variable == "state_t"
    assert record.health.instability.value > 360.0
    with xr.open_dataset(tmp_path / "run" / "run.last_day.nc") as data:
        assert data.sizes["time"] == record.steps
        np.testing.assert_allclose(data["ptend_t"][-1, 30, 7], 0.1, rtol=1e-4)
    assert daily(tmp_path / "run")["T"].shape == (1, gcm.grid.n_levels, gcm.grid.n_columns)


def test_water_budget_of_the_recorded_tendencies_closes(truth):
    from climsim.runs.record import RunRecord

    budgets = RunRecord.open(truth[0]).sums.budgets.summary()
    assert abs(budgets["water"]["mean"]) < 0.01
    assert abs(budgets["energy"]["mean"]) < 1.0


class HandMade(torch.nn.Module):
    """Made without this project: relaxes temperature to 255 K in ten days, rains a little."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.inputs: int = inputs
        self.outputs: int = outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] != self.inputs:
            raise RuntimeError("another interface")
        y = torch.zeros(x.shape[0], self.outputs, dtype=x.dtype, device=x.device)
        y[:, :60] = (255.0 - x[:, :60]) / 864000.0
        y[:, 360] = 150.0
        y[:, 361] = 300.0
        y[:, 363] = 1.0e-8
        return y


@pytest.mark.parametrize(
    ("interface", "sizes", "confident"),
    [("v2", (557, 368), False), ("v6", (1519, 368), False), ("v2", (557, 676), True)],
)
def test_torchscript_file_of_anyone_runs(gcm, tmp_path, interface, sizes, confident):
    path = tmp_path / "made.pt"
    torch.jit.save(torch.jit.script(HandMade(*sizes).eval()), str(path))
    config = RunConfig(case="run", folder=tmp_path / "run", days=8 / 72, model=path)
    record = run_online(config, host=gcm)
    assert (record.status, record.sums.coupled_steps) == ("complete", 3)
    data = daily(tmp_path / "run")
    assert ("DTPHYSCONF" in data) == confident
    assert np.isfinite(data["T"]).all()
    with xr.open_dataset(tmp_path / "run" / "run.eam.h2.0002-01-01-00000.nc") as hourly:
        # The third hour holds coupled steps alone.
        np.testing.assert_allclose(hourly["PRECT"][2], 1.0e-8, rtol=1e-5)
