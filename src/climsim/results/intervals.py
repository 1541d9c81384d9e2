"""A number with the interval in which chance may have put it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEVEL: Final = 0.95
"""Confidence of intervals [1]."""
SEED: Final = 20251120
"""Of the samples of a bootstrap: equal metrics give equal intervals."""


@dataclass(frozen=True)
class Interval:
    """A number and its interval.

    Attributes:
        value: the number; NaN where it is not defined.
        low: lower end of the interval.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the sign of the number is more than chance."""
        return self.low > 0 or self.high < 0
