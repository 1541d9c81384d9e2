"""Budgets of the steps of a run for its record, and the drift of the global means."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from climsim.arrays import Array, Fields
from climsim.constants import SECONDS_PER_DAY, PhysicalConstants
from climsim.grid import ColumnGrid
from climsim.hosts.base import StepResult
from climsim.physics.budgets import (
    column_heating,
    column_water_residual,
    implied_top_radiation,
    moist_energy,
    surface_radiation,
)
from climsim.physics.columns import Columns
from climsim.physics.condensate import total_water

HOST_PREFIX = "host_"
"""Diagnostics with this prefix are corrections that the host itself made; kept as budgets."""
BUDGETS = {
    "water": (
        "mm/day",
        "column integral of dq1 + dq2 + dq3, plus precipitation: what the emulated tendencies "
        "create out of nothing",
    ),
    "energy": (
        "W m-2",
        "column integral of cp dT + Lv dq1 - Lf dq3, minus Lf times snowfall, minus net radiation "
        "into the column (FSNT - FLUT at the top, NETSW + FLWDS - LWUP at the surface); only "
        "where the host gives FSNT and FLUT, that is with its own physics",
    ),
    "implied_top_radiation": (
        "W m-2",
        "net downward radiation at the top that would close the column's energy: the same "
        "integral minus Lf times snowfall, plus net radiation into the surface",
    ),
}
"""Unit and meaning of each budget in the record."""
HOST_CORRECTION = ("as the host gives it", "a correction that the host made, by its own name")


def step_budgets(
    result: StepResult, grid: ColumnGrid, constants: PhysicalConstants
) -> dict[str, Array]:
    """Residuals of one step by name of `BUDGETS`, in its unit, (column,).

    Args:
        result: of the step.
        grid: the host's columns.
        constants: the host's.
    """
    columns = Columns.between(_interfaces(result.inputs, grid), constants)
    outputs = _doubles({**result.tendencies, **result.surface})
    longwave_up = result.inputs["cam_in_LWUP"]
    budgets = {
        "water": column_water_residual(outputs, columns) * SECONDS_PER_DAY,
        "implied_top_radiation": implied_top_radiation(outputs, columns, longwave_up),
    }
    top = result.diagnostics
    if "FSNT" in top and "FLUT" in top:
        absorbed = top["FSNT"] - top["FLUT"] - surface_radiation(outputs, longwave_up)
        budgets["energy"] = column_heating(outputs, columns) - absorbed
    budgets |= {n: x for n, x in result.diagnostics.items() if n.startswith(HOST_PREFIX)}
    return budgets


def _interfaces(inputs: Fields, grid: ColumnGrid) -> Array:
    return grid.interface_pressure(np.asarray(inputs["state_ps"], dtype=np.float64))


def _doubles(fields: Fields) -> Fields:
    return {name: np.asarray(values, dtype=np.float64) for name, values in fields.items()}


@dataclass
class BudgetSums:
    """Mean and root mean square of residuals over columns and steps; area-weighted, mergeable."""

    sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, budgets: dict[str, Array], weights: Array) -> None:
        """Add one step.

        Args:
            budgets: residuals by name, (column,).
            weights: (column,) areas divided by their mean.
        """
        for name, value in budgets.items():
            total = self.sums.setdefault(name, [0.0, 0.0, 0.0])
            total[0] += float(np.mean(weights * value))
            total[1] += float(np.mean(weights * value**2))
            total[2] += 1.0

    def summary(self) -> dict[str, dict[str, float | int | str]]:
        """Mean, root mean square, unit and meaning of each budget."""
        result: dict[str, dict[str, float | int | str]] = {}
        for name, (first, second, steps) in self.sums.items():
            unit, meaning = BUDGETS.get(name, HOST_CORRECTION)
            rms = float(np.sqrt(second / steps))
            result[name] = {
                "mean": first / steps,
                "rms": rms,
                "unit": unit,
                "steps": int(steps),
                "meaning": meaning,
            }
        return result


def global_means(
    inputs: Fields, surface: Fields, grid: ColumnGrid, constants: PhysicalConstants
) -> dict[str, float]:
    """Global means that show a drift.

    Args:
        inputs: state before physics.
        surface: outputs at the surface.
        grid: the host's columns.
        constants: the host's.

    Returns:
        ``temperature`` [K] (mass-weighted), ``water`` [kg m-2] (vapour and condensate),
        ``energy`` [J m-2] (``cp T + Lv q1 - Lf q3``, without potential and kinetic energy),
        ``surface_pressure`` [Pa] and ``precipitation`` [mm/day].
    """
    columns = Columns.between(_interfaces(inputs, grid), constants)
    weights = grid.area_weights()
    state = _doubles(inputs)

    def mean(values: Array) -> float:
        return float(np.mean(weights * values))

    rain = surface["cam_out_PRECC"] * 1000.0 * SECONDS_PER_DAY
    mass = mean(columns.mass.sum(axis=columns.level_axis))
    return {
        "temperature": mean(columns.integral(state["state_t"])) / mass,
        "water": mean(columns.integral(total_water(state, "state_"))),
        "energy": mean(columns.integral(moist_energy(state, "state_", constants))),
        "surface_pressure": mean(state["state_ps"]),
        "precipitation": mean(rain),
    }


def daily_trend(days: list[dict[str, float]], name: str, window: int = 30) -> float:
    """Slope per day of a daily global mean over the last days, by least squares.

    Args:
        days: global means by day, each with its ``day``.
        name: of the global mean.
        window: number of days at most.

    Returns:
        Slope in the unit of the mean per day; 0 with fewer than two days.
    """
    recent = days[-window:]
    if len(recent) < 2:
        return 0.0
    x = np.array([d["day"] for d in recent])
    y = np.array([d[name] for d in recent])
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())
