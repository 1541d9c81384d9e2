"""Finer grids and the other radiation: physics and hybrid run, and the water budget closes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from climsim.constants import TIME_STEP, WATER_DENSITY
from climsim.hosts.gcm.config import GcmConfig
from climsim.hosts.gcm.host import GcmHost
from climsim.interfaces import V2
from climsim.online.run import RunConfig, run_online
from climsim.physics.columns import Columns
from climsim.variables import OUTPUTS

STEPS, SPINUP = 4, 5

pytestmark = pytest.mark.slow


class Relaxing(torch.nn.Module):
    """Relaxes temperature to 255 K in ten days and shines on the surface."""

    def __init__(self, outputs: int):
        super().__init__()
        self.outputs: int = outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] != 557:
            raise RuntimeError("another interface")
        y = torch.zeros(x.shape[0], self.outputs, dtype=x.dtype)
        y[:, :60] = (255.0 - x[:, :60]) / 864000.0
        y[:, 360] = 100.0
        y[:, 361] = 300.0
        return y


def atmospheric_water(host):
    inputs = host.inputs()
    total = sum(np.asarray(inputs[f"state_q000{i}"], np.float64) for i in (1, 2, 3))
    ps = np.asarray(inputs["state_ps"], np.float64)
    columns = Columns.between(host.grid.interface_pressure(ps), host.constants)
    return np.average(columns.integral(total), weights=host.grid.area)


@pytest.fixture(
    scope="module",
    params=[
        ("T21", "reduced"),
        pytest.param(("T31", "reduced"), marks=pytest.mark.long),
        ("T10", "rrtmgp"),
    ],
    ids=lambda param: "-".join(param),
)
def host(request, gcm_cache):
    resolution, radiation = request.param
    return GcmHost(GcmConfig(resolution=resolution, radiation=radiation, cache_folder=gcm_cache))


@pytest.fixture
def started(host, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"{host.name}.npz"
    if not path.exists():
        host.save(path)
    host.restore(path)
    return host


def test_start_is_in_balance_and_its_water_budget_closes(started):
    host = started
    assert host.health() is None
    winds, before = np.abs(host.inputs()["state_u"]).max(), atmospheric_water(host)
    gained = rain = 0.0
    for _ in range(STEPS):
        result = host.step_physics()
        falls = WATER_DENSITY * TIME_STEP * result.surface["cam_out_PRECC"]
        rises = TIME_STEP * result.diagnostics["QFLX"]
        rain += np.average(falls, weights=host.grid.area)
        gained += np.average(rises - falls, weights=host.grid.area)
    assert host.health() is None
    assert rain > 0
    # The first steps of a start without memory fill more holes than later ones.
    assert abs(atmospheric_water(host) - before - gained) < 0.02 * rain
    # The jets of a finer grid are a sixth stronger; mountains out of balance with pressure would
    # shake the top within an hour.
    assert np.abs(host.inputs()["state_u"]).max() < 1.3 * winds


def test_hybrid_runs_with_history_and_restart(started, tmp_path):
    assert V2.variables.size() == 557
    path = tmp_path / "made.pt"
    torch.jit.save(torch.jit.script(Relaxing(OUTPUTS.size()).eval()), str(path))
    steps = SPINUP + STEPS
    config = RunConfig(case="run", folder=tmp_path / "run", days=steps / 72, model=path)
    record = run_online(config, host=started)
    assert (record.status, record.sums.coupled_steps) == ("complete", STEPS)
    more = run_online(replace(config, days=(steps + 2) / 72), host=started)
    assert (more.status, more.steps) == ("complete", steps + 2)
    for value in started.inputs().values():
        assert np.isfinite(value).all()
