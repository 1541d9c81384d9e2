"""What a record keeps of the budgets of a run: sums over its steps, units and meanings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

HOST_PREFIX = "host_"
"""Diagnostics with this prefix are corrections that the host itself made; kept as budgets."""
BUDGETS = {
    "water": (
        "mm/day",
        "column integral of dq1 + dq2 + dq3, plus precipitation: what the emulated tendencies "
        "create out of nothing",
    ),
    "network_water": (
        "mm/day",
        "the same of the network's own output, before the rules of the coupler; precipitation "
        "below zero counts as none",
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


@dataclass
class BudgetSums:
    """Mean and root mean square of residuals over columns and steps; area-weighted, mergeable."""

    sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, means: Mapping[str, float], squares: Mapping[str, float]) -> None:
        """Add one step.

        Args:
            means: area-weighted mean of the residual, by name.
            squares: the same of its square.
        """
        for name, mean in means.items():
            total = self.sums.setdefault(name, [0.0, 0.0, 0.0])
            total[0] += mean
            total[1] += squares[name]
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
