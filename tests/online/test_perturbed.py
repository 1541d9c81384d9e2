"""Members that differ in their parameters, side by side; a toy model takes the place of jcm."""

from types import SimpleNamespace
from typing import NamedTuple

import cftime
import jax.numpy as jnp
import numpy as np
import pytest

from climsim.errors import ClimSimError
from climsim.hosts.gcm import dynamics, perturbed
from climsim.hosts.gcm.clock import device_clock
from climsim.hosts.gcm.host import Snapshot
from climsim.hosts.gcm.state import Advanced


class Radiation(NamedTuple):
    """What the toy radiation remembers: steps since its call, and the last temperature."""

    step: jnp.ndarray
    last: jnp.ndarray

    def copy(self, **changes):
        """The same with other fields."""
        return self._replace(**changes)


def toy_step(core, state, carry, forcing, clock, *, clear_sky):
    """Warm by a parameter; rain is what the radiation counts, sunlight what the clock says."""
    count, temperature = carry["radiation"].step, state["t"]
    flat = jnp.ones(2)
    surface = {"cam_out_PRECC": count * flat, "cam_out_FLWDS": flat, "cam_out_NETSW": flat}
    diagnostics = dict.fromkeys(("LHFLX", "SHFLX", "FLUT", "CLDTOT", "CLDLOW", "CLDHGH"), flat)
    diagnostics["FSNT"] = (86400.0 * (clock.day - forcing) + clock.second) * flat
    out = {"surface": surface, "diagnostics": diagnostics}
    remembered = Radiation(count + 1, temperature)
    return Advanced({"t": temperature + core}, {"radiation": remembered}, out)


@pytest.fixture
def members(monkeypatch):
    """Two sets with two starts each, the second an hour before midnight."""
    monkeypatch.setattr(perturbed, "full_step", toy_step)
    monkeypatch.setattr(perturbed, "with_parameters", lambda core, values: values["warming"])
    monkeypatch.setattr(
        dynamics,
        "grid_state",
        lambda core, state: SimpleNamespace(
            # Unequal columns and levels, to be weighted 3 to 1.
            temperature=state["t"] + jnp.array([[[0.0, 4.0]], [[10.0, 10.0]]]),
            specific_humidity=jnp.full((2, 1, 2), 0.01),
        ),
    )
    day = device_clock(cftime.DatetimeNoLeap(1, 3, 1)).day
    core = SimpleNamespace(forcing=jnp.int32(day))
    host = SimpleNamespace(
        core=core, grid=SimpleNamespace(area_weights=lambda: np.array([1.5, 0.5]))
    )
    dates = (cftime.DatetimeNoLeap(1, 3, 1), cftime.DatetimeNoLeap(1, 3, 1, 23))
    starts = []
    for temperature, date in zip((200.0, 300.0), dates, strict=True):
        carry = {"radiation": Radiation(jnp.int32(7), jnp.float32(0.0))}
        starts.append(Snapshot({"t": jnp.float32(temperature)}, carry, carry, date, 0))
    return perturbed.PerturbedMembers(host, starts, [{"warming": 1.0}, {"warming": 2.0}])


def test_means_are_by_set_start_and_level_and_members_differ_by_their_parameters(members):
    means = members.run(3)
    # The mean of the temperatures before each of three steps is that before the second.
    begun = np.array([[201.0, 301.0], [202.0, 302.0]])
    np.testing.assert_allclose(means["state_t"], begun[..., None] + [1.0, 10.0], rtol=1e-6)
    np.testing.assert_allclose(members.run(1)["state_t"][1, 0], [207.0, 216.0], rtol=1e-6)


def test_members_call_the_radiation_together_and_have_dates_of_their_own(members):
    means = members.run(6)
    np.testing.assert_allclose(means["cam_out_PRECC"], 2.5)
    np.testing.assert_allclose(means["FSNT"], [[3000.0, 85800.0]] * 2)
    again = members.run(1)
    np.testing.assert_allclose(again["cam_out_PRECC"], 6.0)
    np.testing.assert_allclose(again["FSNT"], [[7200.0, 90000.0]] * 2)


def test_dead_sets_resume_from_the_states_of_the_first_with_parameters_of_their_own(members):
    members.run(2)
    members.restart(np.array([False, True]))
    members.take([{"warming": 0.0}, {"warming": 5.0}])
    np.testing.assert_allclose(members.run(1)["state_t"][:, :, 1], [[212.0, 312.0]] * 2)
    np.testing.assert_allclose(members.run(1)["state_t"][1, :, 1], [217.0, 317.0])
    with pytest.raises(ClimSimError, match="expected 2 sets of parameters, found 1"):
        members.take([{"warming": 0.0}])
