"""The periods that saved measures are followed over: days or months."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray

from climsim.arrays import Array
from climsim.results.measures import Measure
from climsim.results.study import NothingToDrawError, Study

FEWEST_MONTHS: Final = 3
"""A line over fewer months than these shows less than the days do."""


@dataclass(frozen=True)
class TimeAxis:
    """An axis of means that follow each other.

    Attributes:
        word: kind of the means, as the names of scores hold it: ``daily`` or ``monthly``.
        name: of the axis: ``day`` or ``month``.
        days: length of one on the axis [days].
    """

    word: str
    name: str
    days: float

    def growth(self, variable: str) -> Measure:
        """Error of a field against the reference, mean by mean."""
        return Measure(f"growth_{self.word}", variable)

    def unrelated(self, variable: str) -> Measure:
        """How far two means of the reference are apart that share no weather."""
        return Measure(f"unrelated_{self.word}", variable)

    def elapsed(self, data: xarray.Dataset | xarray.DataArray) -> Array:
        """Days since the start, or the number of the month, of the means of some metrics."""
        if self.name == "month":
            return np.arange(1.0, data.sizes["month"] + 1)
        return np.asarray(data[self.name].values)


DAYS: Final = TimeAxis("daily", "day", 1.0)
MONTHS: Final = TimeAxis("monthly", "month", 365.0 / 12.0)


def time_axis(study: Study) -> TimeAxis:
    """Periods that lines are drawn over: months where runs touch FEWEST_MONTHS, else days.

    Raises:
        NothingToDrawError: if there are neither.
    """
    if study.online is None:
        raise NothingToDrawError("no online metrics were given")
    if study.online.sizes.get("month", 0) >= FEWEST_MONTHS or "day" not in study.online.sizes:
        if "month" not in study.online.sizes:
            raise NothingToDrawError("the runs have neither daily nor monthly history files")
        return MONTHS
    return DAYS
