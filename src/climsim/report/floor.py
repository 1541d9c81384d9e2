"""Errors as multiples of internal variability: how far two runs with full physics are apart."""

from __future__ import annotations

import math

import numpy as np
import xarray

from climsim.results.study import Study
from climsim.results.time_axis import DAYS, MONTHS

_FIELD = "T"
_MEAN = f"rmse_mean_{_FIELD}"


def over_floor(error: float, floor: float) -> float:
    """An error over that of the second run with full physics.

    Returns:
        NaN where either is unknown, or the second run does not differ from the reference.
    """
    return error / floor if floor > 0 else math.nan


def error_over_floor(study: Study, run: xarray.Dataset | None) -> float:
    """RMSE of the time mean of T of a run over that of the floor; NaN where either is unknown."""
    floor = study.floor()
    if run is None or floor is None or _MEAN not in run:
        return math.nan
    return over_floor(float(run[_MEAN]), float(floor[_MEAN]))


def full_physics_is_the_same(study: Study) -> bool:
    """Whether the second run with full physics differs from the reference nowhere in T."""
    floor = study.floor()
    if floor is None:
        return False
    names = (_MEAN, *(axis.growth(_FIELD).key for axis in (DAYS, MONTHS)))
    errors = np.concatenate([np.ravel(floor[name].values) for name in names if name in floor])
    known = errors[np.isfinite(errors)]
    return known.size > 0 and not known.any()
