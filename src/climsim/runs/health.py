"""When the state of a run leaves its physical bounds."""

from __future__ import annotations

from dataclasses import dataclass


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
