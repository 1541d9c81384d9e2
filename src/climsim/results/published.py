"""What the best published run achieved: the values that members are measured against."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.constants import MM_PER_DAY
from climsim.results.measures import Measure

PUBLISHED: Final[dict[Measure, tuple[str, float]]] = {
    Measure("tropospheric_bias", "T"): ("largest tropospheric zonal-mean bias of T", 2.0),
    Measure("tropospheric_bias", "Q"): ("largest tropospheric zonal-mean bias of Q", 1.0e-3),
    Measure("rmse_mean", "PRECT"): ("RMSE of precipitation", 0.96 / MM_PER_DAY),
}
"""Measure: name in words, and value [K, kg kg-1, m s-1] of the mean over five years.

Source: Hu et al. 2025 (as cited by Lin et al. 2025).
"""
STATE_OF_THE_ART: Final[dict[str, float]] = {
    "T": 0.98,
    "Q": 0.25,
    "CLDLIQ": 5.39,
    "CLDICE": 2.09,
    "U": 1.68,
    "V": 0.77,
}
"""Global RMSE of five-year means of the best run before the study, by field.

In the units of `climsim.results.quantities`: K, g kg-1, mg kg-1, m s-1. Source: Lin et al. 2025,
from the runs of Hu et al. 2025.
"""


def beats_state_of_the_art(members: xarray.Dataset, name: str) -> NDArray[np.bool_]:
    """Which members (run,) have a smaller RMSE of the time mean of a field, to two digits.

    Args:
        members: online metrics along ``run``.
        name: one of `STATE_OF_THE_ART`.
    """
    rounded = np.round(Measure("rmse_mean", name).shown(members).values, 2)
    return np.asarray(rounded < STATE_OF_THE_ART[name])
