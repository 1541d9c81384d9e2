"""Whether a run is well: global means, warnings, and how it left its physical bounds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

from climsim.runs.budgets import daily_trend


@dataclass(frozen=True)
class HealthReport:
    """The worst violation of physical bounds in a state.

    Attributes:
        variable: name of the offending variable.
        column: index of the column.
        level: index of the level, or None for a scalar.
        value: the offending value.
        bounds: the allowed range.
    """

    variable: str
    column: int
    level: int | None
    value: float
    bounds: tuple[float, float]

    def __str__(self) -> str:
        """In words, such as ``T is 511.5 at column 2, level 3, expected 130 to 360``."""
        level = "" if self.level is None else f", level {self.level}"
        low, high = self.bounds
        return (
            f"{self.variable} is {self.value:g} at column {self.column}{level}, "
            f"expected {low:g} to {high:g}"
        )


@dataclass(frozen=True)
class Instability(HealthReport):
    """The violation that ended a run, with its time and place.

    Attributes:
        step: number of the step.
        date: that the run had reached.
        lat: of the column [degrees north].
        lon: of the column [degrees east].
    """

    step: int | None = None
    date: str | None = None
    lat: float | None = None
    lon: float | None = None

    def __str__(self) -> str:
        """In words, such as ``T = 511.5 in column 2, level 3``."""
        level = "" if self.level is None else f", level {self.level}"
        return f"{self.variable} = {self.value:.4g} in column {self.column}{level}"

    def to_dict(self) -> dict[str, object]:
        """Plain values; JSON has no number for what is not finite."""
        value = self.value if math.isfinite(self.value) else str(self.value)
        return {**asdict(self), "value": value, "bounds": list(self.bounds)}


@dataclass
class RunHealth:
    """How a run fares.

    Attributes:
        daily: global means at the end of each day.
        warnings: what looked suspicious, in words.
        instability: where the run became unstable and its host knows it.
    """

    daily: list[dict[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    instability: Instability | None = None

    def drift(self) -> dict[str, float]:
        """Trends per day of the global means over the last 30 days at most."""
        names = ("temperature", "water", "energy", "surface_pressure")
        return {f"{n}_per_day": daily_trend(self.daily, n) for n in names}

    def to_dict(self) -> dict[str, object]:
        """Plain values, for the file of the record."""
        instability = None if self.instability is None else self.instability.to_dict()
        return {"daily": self.daily, "warnings": self.warnings, "instability": instability}
