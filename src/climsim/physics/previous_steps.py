"""Features of a step that come from earlier ones: what dynamics did, and what physics did.

With ``before`` and ``after`` the state around the physics of a step: the large-scale forcing is
``(before(t) - after(t-1)) / dt``, the physics tendency ``(after(t-1) - before(t-1)) / dt``; the
prefix ``tm_`` marks both one step earlier. Source: Hu et al. 2025 (arXiv 2407.00124).
"""

from __future__ import annotations

from collections.abc import Mapping

from climsim.arrays import Array, Fields, as_array, double
from climsim.physics.condensate import quantity, total_water
from climsim.variables import EARLIER_SCALARS

WATER = ("q0001", "q0002", "q0003")
"""Vapour, cloud liquid, cloud ice."""
EARLIER = "tm_"
"""Prefix of the features that lie one step further back."""


def large_scale_state(fields: Mapping[str, Array], prefix: str = "state_") -> Fields:
    """Temperature, total water and eastward wind: what dynamics is known by.

    Args:
        fields: states or tendencies by name, profiles.
        prefix: of the names of temperature, water and wind.

    Returns:
        ``t``, ``q0``, ``u`` in float64: the differences of states cancel most digits.
    """
    found = {k: double(fields[prefix + k]) for k in ("t", *WATER, "u")}
    return {"t": found["t"], "q0": total_water(found, ""), "u": found["u"]}


def large_scale_forcing(before: Fields, previous_after: Fields, time_step: float) -> Fields:
    """Change between the physics of one step and the next.

    Args:
        before: `large_scale_state` before the physics at t.
        previous_after: `large_scale_state` after the physics at t-1.
        time_step: physics time step dt [s].

    Returns:
        ``state_t_dyn`` [K/s], ``state_q0_dyn`` [kg/kg/s], ``state_u_dyn`` [m/s2].
    """
    return {f"state_{k}_dyn": (before[k] - previous_after[k]) / time_step for k in before}


def physics_features(tendencies: Fields, names: tuple[str, ...], prefix: str = "") -> Fields:
    """Physics tendencies of a step as features of the next.

    Args:
        tendencies: of the step by name, profiles.
        names: short ones of the variables wanted, such as ``t`` and ``qn``.
        prefix: of the names of the tendencies.

    Returns:
        ``state_*_prvphy`` in the unit of the tendencies.
    """
    return {f"state_{k}_prvphy": as_array(quantity(tendencies, prefix + k)) for k in names}


def earlier_scalars(inputs: Mapping[str, Array]) -> Fields:
    """Boundary inputs of a step as features of the next, ``tm_state_ps`` and so on.

    Args:
        inputs: of the step, by name.
    """
    return {name: as_array(inputs[name.removeprefix(EARLIER)]) for name in EARLIER_SCALARS}


def one_step_earlier(features: Fields) -> Fields:
    """The features under the names that they have one step later."""
    return {EARLIER + name: value for name, value in features.items()}
