"""Budgets of single steps of a host, and global means that show a drift."""

from __future__ import annotations

import numpy as np

from climsim.arrays import Array, Fields, at_least, double
from climsim.constants import MM_PER_DAY, SECONDS_PER_DAY
from climsim.hosts.base import StepResult
from climsim.online.stepper import StepOutcome
from climsim.physics.budgets import (
    column_water_residual,
    implied_top_radiation,
    moist_energy,
)
from climsim.physics.columns import Columns
from climsim.physics.condensate import total_water
from climsim.runs.budgets import HOST_PREFIX

_IN_BUDGETS = (
    "ptend_t",
    "ptend_q0001",
    "ptend_q0002",
    "ptend_q0003",
    "cam_out_PRECC",
    "cam_out_PRECSC",
    "cam_out_NETSW",
    "cam_out_FLWDS",
)
"""Outputs of a step that its budgets are made of."""


def step_budgets(result: StepResult, columns: Columns) -> dict[str, Array]:
    """Residuals of one step by name of `BUDGETS`, in its unit, (column,).

    Args:
        result: of the step.
        columns: of the air before it.
    """
    given = {**result.tendencies, **result.surface}
    outputs = _doubles({name: given[name] for name in _IN_BUDGETS})
    implied = implied_top_radiation(outputs, columns, result.inputs["cam_in_LWUP"])
    budgets = {
        "water": column_water_residual(outputs, columns) * SECONDS_PER_DAY,
        "implied_top_radiation": implied,
    }
    top = result.diagnostics
    if "FSNT" in top and "FLUT" in top:
        budgets["energy"] = implied - (top["FSNT"] - top["FLUT"])
    budgets |= {n: x for n, x in result.diagnostics.items() if n.startswith(HOST_PREFIX)}
    return budgets


def network_budgets(outcome: StepOutcome) -> dict[str, Array]:
    """Residuals of the network's own output by name of `BUDGETS`, (column,); none without one."""
    network = outcome.network
    if network is None:
        return {}
    rain = at_least(network.surface["cam_out_PRECC"], 0.0)
    outputs = {**network.tendencies, "cam_out_PRECC": rain}
    return {"network_water": column_water_residual(outputs, outcome.air.columns) * SECONDS_PER_DAY}


def _doubles(fields: Fields) -> Fields:
    return {name: double(values) for name, values in fields.items()}


def global_means(
    inputs: Fields, surface: Fields, columns: Columns, area_weights: Array
) -> dict[str, float]:
    """Global means that show a drift.

    Args:
        inputs: state before physics.
        surface: outputs at the surface.
        columns: of the air before physics.
        area_weights: (column,) areas over their mean [1].

    Returns:
        ``temperature`` [K] (mass-weighted), ``water`` [kg m-2] (vapour and condensate),
        ``energy`` [J m-2] (``cp T + Lv q1 - Lf q3``, without potential and kinetic energy),
        ``surface_pressure`` [Pa] and ``precipitation`` [mm/day].
    """
    state = _doubles(inputs)

    def mean(values: Array) -> float:
        return float(np.mean(area_weights * values))

    rain = surface["cam_out_PRECC"] * MM_PER_DAY
    mass = mean(columns.mass.sum(axis=columns.level_axis))
    return {
        "temperature": mean(columns.integral(state["state_t"])) / mass,
        "water": mean(columns.integral(total_water(state, "state_"))),
        "energy": mean(columns.integral(moist_energy(state, "state_", columns.constants))),
        "surface_pressure": mean(state["state_ps"]),
        "precipitation": mean(rain),
    }
