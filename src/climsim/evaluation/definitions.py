"""Choices of the online scores where the paper's definition and a better one differ.

The paper's is the default everywhere; the other is a named option, and the saved metrics say in
their attributes which one was taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from climsim.validation import one_of, whole

COUPLER, WMO = "coupler", "wmo"
EQUAL, LENGTH = "equal", "length"
LEFT_OUT, COUNTED = "left_out", "counted"
_MEANINGS: Final[dict[str, dict[str, str]]] = {
    "tropopause": {
        COUPLER: "time mean of the nominal pressure of the lowest level with p <= 400 hPa and a "
        "gradient of potential temperature above 10 K/km, the rule of the coupler (paper)",
        WMO: "time mean of the lapse-rate tropopause of the World Meteorological Organization "
        "(option)",
    },
    "month_weights": {
        EQUAL: "means count equally (paper)",
        LENGTH: "means are weighted by their length (option)",
    },
    "first_month": {
        LEFT_OUT: "without the first month (paper)",
        COUNTED: "with the first month (option)",
    },
}


@dataclass(frozen=True)
class Definitions:
    """Which definitions the online scores follow.

    Attributes:
        tropopause: ``coupler`` or ``wmo``.
        month_weights: ``equal`` or ``length``, of the means that a time mean is over.
        first_month: ``left_out`` of zonal biases over months, or ``counted``.
        years: years that time means and distributions are over; 0 for all that the reference has.
    """

    tropopause: str = COUPLER
    month_weights: str = EQUAL
    first_month: str = LEFT_OUT
    years: int = 0

    def __post_init__(self) -> None:
        for key, known in _MEANINGS.items():
            one_of(key, getattr(self, key), known)
        whole("years", self.years)

    def notes(self) -> dict[str, str]:
        """Each choice in words, by its key: for the attributes of the metrics."""
        return {key: meanings[getattr(self, key)] for key, meanings in _MEANINGS.items()}
