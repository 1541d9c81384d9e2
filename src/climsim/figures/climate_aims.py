"""How near the embedded model's climate shall be to E3SM-MMF's, and whether it is."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from climsim.arrays import Array
from climsim.constants import DAYS_PER_YEAR, STEPS_PER_DAY
from climsim.figures.climate_sums import Budget

SHOWN: Final = (2.0, 95.0, 218.0, 363.0, 532.0, 702.0, 830.0, 921.0, 993.0)
"""Levels of the table [hPa]."""
TROPOPAUSE: Final = (80.0, 150.0)
"""Range of the tropical tropopause by the coupler's rule [hPa]."""
WATER_RESIDUAL: Final = 0.01
"""Water that may appear from nowhere [mm/day]."""
ENERGY_RESIDUAL: Final = 2.0
"""Energy that may appear from nowhere [W/m2]."""
DRIFT: Final = 1.0
"""Warming of the whole column between equal days of two years [K/year]."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of a variable, (level,) of profiles, (1,) of scalars."""

    mean: Array
    std: Array


@dataclass(frozen=True)
class Aim:
    """How near the climate shall be to the reference.

    Attributes:
        variable: name in the statistics.
        levels: first and last pressure it holds between [hPa], or None for a scalar.
        kind: `difference`, `ratio` (a factor) or `share` (of the reference).
        limit: largest deviation.
    """

    variable: str
    levels: tuple[float, float] | None
    kind: str
    limit: float

    def deviation(self, value: float, reference: float) -> float:
        """How far a mean is from the reference, to be compared with the limit."""
        if self.kind == "ratio":
            return max(value / reference, reference / value)
        gap = abs(value - reference)
        return gap / abs(reference) if self.kind == "share" else gap

    def in_limits(self, value: Array, reference: float) -> Array:
        """How far means are from the reference with its sign, 1 or -1 at the limit."""
        if self.kind == "ratio":
            return np.log(value / reference) / np.log(self.limit)
        whole = abs(reference) if self.kind == "share" else 1.0
        return (value - reference) / (whole * self.limit)

    def chosen_levels(self, pressure: Array) -> list[int]:
        """Those levels of the table that it holds for; none of a scalar.

        Args:
            pressure: of the levels [hPa].
        """
        if self.levels is None:
            return []
        low, high = self.levels
        return [k for k in shown_levels(pressure) if low <= pressure[k] <= high]


@dataclass(frozen=True)
class Checked:
    """An aim beside what a run gave.

    Attributes:
        aim: what is compared, in words.
        limit: the largest deviation, or the range, in words.
        found: the deviation of the worst level, or the value.
        met: whether it is within the limit.
    """

    aim: str
    limit: str
    found: float
    met: bool


class Means(Protocol):
    """What `climate_sums.Sums` gives of a finished run."""

    count: int

    def mean(self, name: str) -> Array:
        """Time mean of an accumulated quantity."""

    def pressure(self) -> Array:
        """Pressure of the levels [hPa]."""

    def budget(self) -> Budget:
        """Residuals and drift."""


AIMS: Final = (
    Aim("state_t", (90.0, 370.0), "difference", 8.0),
    Aim("state_t", (525.0, 1000.0), "difference", 4.0),
    Aim("state_q0001", (210.0, 225.0), "ratio", 3.0),
    Aim("state_q0001", (825.0, 1000.0), "share", 0.12),
    Aim("cam_out_PRECC", None, "share", 0.15),
    Aim("pbuf_LHFLX", None, "share", 0.15),
    Aim("cam_out_FLWDS", None, "difference", 12.0),
    Aim("cam_out_NETSW", None, "difference", 12.0),
)


def read_statistics(path: Path) -> dict[str, Statistics]:
    """Mean and standard deviation by variable.

    A variable of both files of a step counts as it is before the physics, which comes first.

    Args:
        path: CSV with `variable, level, mean, std`.
    """
    rows: dict[str, dict[int, tuple[float, float]]] = {}
    with path.open() as stream:
        for row in csv.DictReader(stream):
            mean, std = (float(row[key] or "nan") for key in ("mean", "std"))
            rows.setdefault(row["variable"], {}).setdefault(int(row["level"] or 0), (mean, std))
    return {
        name: Statistics(
            np.array([mean for _, (mean, _) in sorted(values.items())]),
            np.array([std for _, (_, std) in sorted(values.items())]),
        )
        for name, values in rows.items()
    }


def check_aims(means: Means, reference: dict[str, Statistics]) -> list[Checked]:
    """Each aim with its largest deviation; without a reference those that need none.

    Args:
        means: of a run.
        reference: statistics by variable, may be empty.
    """
    beside = [_against(aim, means, reference[aim.variable]) for aim in AIMS if reference]
    budget, (low, high) = means.budget(), TROPOPAUSE
    height = float(means.mean("tropopause"))
    drift = [_bounded("drift [K/year]", DRIFT, budget.drift)]
    return [
        *beside,
        Checked("tropical tropopause [hPa]", f"{low:g} to {high:g}", height, low <= height <= high),
        _bounded("water from nowhere [mm/day]", WATER_RESIDUAL, budget.water),
        _bounded("energy from nowhere [W/m2]", ENERGY_RESIDUAL, budget.energy),
        # In a part of a year the seasons would count as drift.
        *(drift if means.count >= DAYS_PER_YEAR * STEPS_PER_DAY else ()),
    ]


def _bounded(aim: str, limit: float, value: float) -> Checked:
    return Checked(aim, f"{limit:g}", value, abs(value) <= limit)


def _against(aim: Aim, means: Means, reference: Statistics) -> Checked:
    here = np.atleast_1d(means.mean(f"mean/{aim.variable}"))
    name = aim.variable
    if aim.levels is not None:
        name += f" {aim.levels[0]:g} to {aim.levels[1]:g} hPa"
    chosen = aim.chosen_levels(means.pressure()) or range(len(here))
    worst = max(aim.deviation(float(here[k]), float(reference.mean[k])) for k in chosen)
    return Checked(f"{name}, {aim.kind}", f"{aim.limit:g}", worst, worst <= aim.limit)


def misfits(
    means: Mapping[str, Array], pressure: Array, reference: Mapping[str, Statistics]
) -> dict[str, Array]:
    """How far each aim is missed, in units of its limit and with its sign.

    Args:
        means: by variable, (...) of scalars, (..., level) of profiles.
        pressure: of the levels [hPa].
        reference: statistics by variable.

    Returns:
        (...) by the name of the aim, profiles level by level.
    """
    found: dict[str, Array] = {}
    for aim in AIMS:
        values, wanted = means[aim.variable], reference[aim.variable].mean
        if aim.levels is None:
            found[aim.variable] = aim.in_limits(values, float(wanted[0]))
        for level in aim.chosen_levels(pressure):
            name = f"{aim.variable} {pressure[level]:.0f} hPa"
            found[name] = aim.in_limits(values[..., level], float(wanted[level]))
    return found


def shown_levels(pressure: Array) -> list[int]:
    """Levels nearest to those of the table."""
    return [int(np.abs(pressure - level).argmin()) for level in SHOWN]
