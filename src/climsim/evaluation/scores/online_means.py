"""Online scores of the time mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from climsim.arrays import Array
from climsim.evaluation.derived import RAIN_BY_SURFACE, TROPOPAUSE
from climsim.evaluation.metrics import weighted_mean, weighted_rmse
from climsim.evaluation.online_run import mass_weighted_rmse
from climsim.evaluation.online_score import (
    LOSSES,
    PROFILE_FIELDS,
    SURFACE_FIELDS,
    TimeMeans,
    TimeMeanScore,
)
from climsim.evaluation.regions import zonal_mean
from climsim.evaluation.score import ALL, Subject, Subjects, register


class _OfPair(TimeMeanScore):
    """A score of a field that the run and the reference both hold."""

    weights = "area"

    def values(self, state: TimeMeans, subject: Subject) -> ArrayLike | None:
        pair = state.pair(subject)
        return None if pair is None else self.compared(*pair, state)

    def compared(self, run: Array, reference: Array, state: TimeMeans) -> ArrayLike | None:
        """The formula, where both hold the field; None where its weights are unknown."""
        raise NotImplementedError


class _ZonalMean(TimeMeanScore):
    weights = "area"

    def values(self, state: TimeMeans, subject: Subject) -> Array | None:
        return state.zonal(subject.name) if subject.name in state.mean.run else None


@register
class MeanRmse(_OfPair):
    """Root mean squared error of the time mean of a field with levels."""

    name = "rmse_mean_{profile}"
    label = "RMSE"
    long_name = "mass-weighted RMSE of time-mean {what}"
    subjects = PROFILE_FIELDS
    weights = "layer mass, area"
    comment = "{month_weights}"

    def compared(self, run: Array, reference: Array, state: TimeMeans) -> float | None:
        mass = state.mass
        return None if mass is None else mass_weighted_rmse(run, reference, mass)


@register
class MeanRmseByLevel(_OfPair):
    """The same by level."""

    name = "rmse_profile_{profile}"
    label = "RMSE"
    long_name = "RMSE by level of time-mean {what}"
    subjects = PROFILE_FIELDS
    dims = ("level",)

    def compared(self, run: Array, reference: Array, state: TimeMeans) -> Array:
        return weighted_rmse(run, reference, state.grid.area)


@register
class ZonalBias(TimeMeanScore):
    """Zonal mean of the run minus that of the reference, in bins of 10 degrees of latitude."""

    name = "zonal_bias_{profile}"
    label = "zonal-mean bias"
    long_name = "zonal-mean bias of time-mean {what}"
    subjects = PROFILE_FIELDS
    dims = ("level", "latitude")
    weights = "area"
    comment = "{first_month}; {month_weights}"

    def values(self, state: TimeMeans, subject: Subject) -> Array | None:
        return _zonal_bias(state, subject)


@register
class ZonalMean(_ZonalMean):
    """Zonal mean of a field with levels."""

    name = "zonal_mean_{profile}"
    label = "zonal mean"
    long_name = "zonal mean of time-mean {what}"
    subjects = PROFILE_FIELDS
    dims = ("level", "latitude")
    weights = "area"


@register
class SurfaceMap(TimeMeanScore):
    """Time mean of a field without levels."""

    name = "map_{surface_field}"
    label = "time mean"
    long_name = "time mean of {what}"
    subjects = SURFACE_FIELDS
    dims = ("column",)
    weights = "length of the means"

    def values(self, state: TimeMeans, subject: Subject) -> Array | None:
        return state.mean.run.get(subject.name)


@register
class SurfaceZonalMean(_ZonalMean):
    """Zonal mean of a field without levels."""

    name = "zonal_mean_{surface_field}"
    label = "zonal mean"
    long_name = "zonal mean of {what}"
    subjects = SURFACE_FIELDS
    dims = ("latitude",)
    weights = "area"


@register
class SurfaceRmse(_OfPair):
    """Root mean squared error of the time mean of a field without levels."""

    name = "rmse_mean_{surface_field}"
    label = "RMSE"
    long_name = "RMSE of time-mean {what}"
    subjects = SURFACE_FIELDS

    def compared(self, run: Array, reference: Array, state: TimeMeans) -> float:
        return float(weighted_rmse(run, reference, state.grid.area))


@register
class RainBySurface(TimeMeanScore):
    """Zonal mean of precipitation over each surface type, mean by mean, then over time."""

    name = "zonal_precipitation_by_surface"
    label = "zonal mean"
    long_name = "zonal mean of precipitation by surface type"
    subjects = ALL
    units = "m s-1"
    dims = ("surface", "latitude")
    weights = "area times surface fraction"
    comment = "{month_weights}"

    def values(self, state: TimeMeans, subject: Subject) -> Array | None:
        return state.mean.run.get(RAIN_BY_SURFACE)


@register
class LossByLevel(TimeMeanScore):
    """Area mean of a predicted or true loss by level."""

    name = "confidence_profile_{loss}"
    label = "loss"
    long_name = "area mean of the time-mean {what}"
    subjects = LOSSES
    dims = ("level",)
    weights = "area"
    comment = "in units of the training loss"

    def values(self, state: TimeMeans, subject: Subject) -> Array | None:
        found = state.mean.run.get(subject.name)
        return None if found is None else weighted_mean(found, state.grid.area)


@register
class LossZonalMean(_ZonalMean):
    """Zonal mean of a predicted or true loss."""

    name = "zonal_mean_{loss}"
    label = "loss"
    long_name = "zonal mean of the time-mean {what}"
    subjects = LOSSES
    dims = ("level", "latitude")
    comment = "in units of the training loss"


@register
class Tropopause(TimeMeanScore):
    """Zonal mean of the pressure of the tropopause of the reference (`tropopause`)."""

    name = "tropopause"
    label = "tropopause"
    long_name = "zonal mean of the tropopause pressure of the reference"
    subjects = ALL
    units = "Pa"
    dims = ("latitude",)
    weights = "area"
    comment = "{tropopause}"
    of_reference = True

    def values(self, state: TimeMeans, subject: Subject) -> Array | None:
        return _tropopause(state)


@register
class TroposphericBias(TimeMeanScore):
    """Largest zonal-mean bias below the tropopause, of `T` and `Q`."""

    name = "tropospheric_bias_{profile}"
    label = "largest bias"
    long_name = "largest zonal-mean tropospheric bias of {what}"
    subjects = Subjects("profile", tuple(x for x in PROFILE_FIELDS.members if x.name in ("T", "Q")))
    weights = "area"

    def values(self, state: TimeMeans, subject: Subject) -> float | None:
        bias, tropopause = _zonal_bias(state, subject), _tropopause(state)
        if bias is None or tropopause is None:
            return None
        grid = state.grid
        pressure = zonal_mean(
            grid.midpoint_pressure(state.mean.reference["PS"]), grid.lat, grid.area
        )
        below = np.where(pressure > tropopause, np.abs(bias), np.nan)
        return float(np.nanmax(below)) if np.isfinite(below).any() else np.nan


def _zonal_bias(state: TimeMeans, subject: Subject) -> Array | None:
    if state.pair(subject) is None:
        return None
    return state.zonal(subject.name) - state.zonal(subject.name, reference=True)


def _tropopause(state: TimeMeans) -> Array | None:
    """Zonal-mean pressure (latitude,) of the reference's tropopause, over columns that have one."""
    grid, reference = state.grid, state.mean.reference
    if TROPOPAUSE not in reference:
        return None
    column = reference[TROPOPAUSE]
    found = np.isfinite(column)
    return zonal_mean(np.where(found, column, 0.0), grid.lat, grid.area * found)
