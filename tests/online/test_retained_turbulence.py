"""Turbulence left to the host: what is emulated, and that both halves make full physics again."""

import numpy as np
import pytest

from climsim.data.raw.ranges import outside_range
from climsim.hosts.gcm.config import GcmConfig
from climsim.hosts.gcm.host import GcmHost
from climsim.online.pairs import after_physics

STEPS = 4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host(gcm_cache):
    return GcmHost(GcmConfig(cache_folder=gcm_cache))


@pytest.fixture(scope="module")
def truth(host, tmp_path_factory):
    """Results of the first steps of full physics, the temperature after each, and their start."""
    start = tmp_path_factory.mktemp("retained") / "start.npz"
    host.save(start)
    results, temperatures = [], []
    for _ in range(STEPS):
        results.append(host.step_physics())
        temperatures.append(np.asarray(host.inputs()["state_t"]))
    return start, results, temperatures


def test_true_tendencies_and_the_hosts_turbulence_reproduce_full_physics(host, truth):
    start, results, temperatures = truth
    host.restore(start)
    for result, expected in zip(results, temperatures, strict=True):
        host.step_emulated(result.tendencies, result.surface)
        assert np.abs(np.asarray(host.inputs()["state_t"]) - expected).max() < 3e-3


def test_state_after_the_emulated_term_alone_holds_no_negative_water(host, truth):
    _, results, _ = truth
    for result in results:
        assert outside_range(after_physics(result, host.dt)) == {}


def test_turbulence_is_no_part_of_what_is_emulated(truth, gcm):
    """Near the ground turbulence changes the wind of every column, convection that of few."""
    _, results, _ = truth
    kept = np.asarray(results[-1].tendencies["ptend_u"])[-5:]
    emulated = np.asarray(gcm.physics().tendencies["ptend_u"])[-5:]
    assert np.median(np.abs(kept)) < 1e-3 * np.median(np.abs(emulated))
