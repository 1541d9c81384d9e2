"""The periods that saved measures are followed over: days or months."""

from __future__ import annotations

import numpy as np

from climsim.results.study import NothingToDrawError, Study

_DAYS_PER_MONTH = 365.0 / 12.0
FEWEST_MONTHS = 3
"""A line over fewer months than these shows less than the days do."""


def time_axis(study: Study) -> tuple[str, str]:
    """Word and axis of the periods that lines are drawn over.

    Months where the runs touch at least FEWEST_MONTHS, else days.

    Raises:
        NothingToDrawError: if there are neither.
    """
    if study.online is None:
        raise NothingToDrawError("no online metrics were given")
    if study.online.sizes.get("month", 0) >= FEWEST_MONTHS or "day" not in study.online.sizes:
        if "month" not in study.online.sizes:
            raise NothingToDrawError("the runs have neither daily nor monthly history files")
        return "monthly", "month"
    return "daily", "day"


def elapsed(study: Study, axis: str) -> tuple[np.ndarray, str]:
    """Horizontal coordinate and its label: days since the start, or the number of the month."""
    assert study.online is not None
    if axis == "month":
        return np.arange(1, study.online.sizes["month"] + 1), "month"
    return study.online["day"].values, "day"


def axis_unit(name: str) -> float:
    """Length of one on the horizontal axis of a measure over days or months [days]."""
    return _DAYS_PER_MONTH if "_monthly_" in name else 1.0
