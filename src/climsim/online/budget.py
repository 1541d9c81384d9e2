"""Energy and water budgets of the emulated tendencies, and the drift of the global means.

Column integrals are ``sum(x dp / g)`` over levels, so only the vertical coordinate of the host
enters. The delivered surface fluxes of heat and moisture are no part of the emulated tendencies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from climsim.arrays import Array
from climsim.constants import (
    DRY_AIR_HEAT_CAPACITY,
    FUSION_HEAT,
    SECONDS_PER_DAY,
    VAPORIZATION_HEAT,
    WATER_DENSITY,
)
from climsim.grid import ColumnGrid
from climsim.online.hosts.base import Fields, StepResult

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


def water_residual(result: StepResult, mass: Array) -> Array:
    """Water that the emulated tendencies create, (column,) [kg m-2 s-1]; see `BUDGETS`.

    Args:
        result: of the step.
        mass: (level, column) layer mass [kg m-2].
    """
    tendency = sum(np.asarray(result.tendencies[f"ptend_q000{i}"]) for i in (1, 2, 3))
    return (tendency * mass).sum(axis=0) + WATER_DENSITY * result.surface["cam_out_PRECC"]


def column_heating(result: StepResult, mass: Array) -> Array:
    """Energy that the emulated tendencies add, less the fusion heat of snowfall, (column,) [W m-2].

    ``sum((cp dT + Lv dq1 - Lf dq3) dp / g) - Lf rho_w PRECSC``: it equals the net radiation into
    the column when the physics conserves energy.
    """
    tendencies = result.tendencies
    heating = (
        DRY_AIR_HEAT_CAPACITY * np.asarray(tendencies["ptend_t"], dtype=np.float64)
        + VAPORIZATION_HEAT * np.asarray(tendencies["ptend_q0001"], dtype=np.float64)
        - FUSION_HEAT * np.asarray(tendencies["ptend_q0003"], dtype=np.float64)
    )
    snow = FUSION_HEAT * WATER_DENSITY * result.surface["cam_out_PRECSC"]
    return (heating * mass).sum(axis=0) - snow


def step_budgets(result: StepResult, grid: ColumnGrid) -> dict[str, Array]:
    """Residuals of one step by name of `BUDGETS`, in its unit, (column,)."""
    mass = grid.layer_mass(np.asarray(result.inputs["state_ps"], dtype=np.float64))
    heating = column_heating(result, mass)
    surface = (
        result.surface["cam_out_NETSW"]
        + result.surface["cam_out_FLWDS"]
        - result.inputs["cam_in_LWUP"]
    )
    budgets = {
        "water": water_residual(result, mass) * SECONDS_PER_DAY,
        "implied_top_radiation": heating + surface,
    }
    top = result.diagnostics
    if "FSNT" in top and "FLUT" in top:
        budgets["energy"] = heating - (top["FSNT"] - top["FLUT"] - surface)
    budgets |= {n: x for n, x in result.diagnostics.items() if n.startswith(HOST_PREFIX)}
    return budgets


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

    def summary(self) -> dict[str, dict[str, Any]]:
        """Mean, root mean square, unit and meaning of each budget."""
        result = {}
        for name, (first, second, steps) in self.sums.items():
            unit, meaning = BUDGETS.get(name, HOST_CORRECTION)
            rms = float(np.sqrt(second / steps))
            result[name] = {
                "mean": first / steps, "rms": rms, "unit": unit, "steps": int(steps),
                "meaning": meaning,
            }  # fmt: skip
        return result


def global_means(inputs: Fields, surface: Fields, grid: ColumnGrid) -> dict[str, float]:
    """Global means that show a drift.

    Returns:
        ``temperature`` [K] (mass-weighted), ``water`` [kg m-2] (vapour and condensate),
        ``energy`` [J m-2] (``cp T + Lv q1 - Lf q3``, without potential and kinetic energy),
        ``surface_pressure`` [Pa] and ``precipitation`` [mm/day].
    """
    mass = grid.layer_mass(np.asarray(inputs["state_ps"], dtype=np.float64))
    weights = grid.area_weights()
    water = inputs["state_q0001"] + inputs["state_q0002"] + inputs["state_q0003"]
    energy = (
        DRY_AIR_HEAT_CAPACITY * np.asarray(inputs["state_t"], dtype=np.float64)
        + VAPORIZATION_HEAT * inputs["state_q0001"]
        - FUSION_HEAT * inputs["state_q0003"]
    )

    def mean(columns: Array) -> float:
        return float(np.mean(weights * columns))

    rain = surface["cam_out_PRECC"] * 1000.0 * SECONDS_PER_DAY
    return {
        "temperature": mean((inputs["state_t"] * mass).sum(axis=0)) / mean(mass.sum(axis=0)),
        "water": mean((water * mass).sum(axis=0)),
        "energy": mean((energy * mass).sum(axis=0)),
        "surface_pressure": mean(np.asarray(inputs["state_ps"], dtype=np.float64)),
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
