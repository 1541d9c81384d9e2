"""Online scores of every daily and monthly mean: error growth and regional series."""

from __future__ import annotations

import numpy as np

from climsim.arrays import Array
from climsim.evaluation.metrics import weighted_deviation, weighted_mean
from climsim.evaluation.online_run import mass_weighted_rmse
from climsim.evaluation.online_score import (
    LOSSES,
    PROFILE_FIELDS,
    QUANTITIES,
    FirstMonthScore,
    PeriodMeans,
    PeriodScore,
    UnrelatedScore,
)
from climsim.evaluation.regions import REGIONS, band_members
from climsim.evaluation.score import Subject, Subjects, register

_LOW_LEVELS = 5.0e4
"""Levels below this pressure count in the roughness [Pa]."""


@register
class Growth(PeriodScore):
    """Root mean squared difference from the reference, mean by mean."""

    name = "growth_{mean}_{profile}"
    label = "RMSE"
    long_name = "mass-weighted RMSE of {what} against the reference, {mean} means"
    subjects = PROFILE_FIELDS
    dims = ("time",)
    weights = "layer mass, area"

    def values(self, state: PeriodMeans, subject: Subject) -> float | None:
        return _distance(state, subject)


def _distance(state: PeriodMeans, subject: Subject) -> float | None:
    weights = state.reference_mass
    if weights is None or subject.name not in state.run.keys() & state.reference.keys():
        return None
    return mass_weighted_rmse(state.run[subject.name], state.reference[subject.name], weights)


@register
class Unrelated(UnrelatedScore):
    """Root mean squared difference of two days of the reference that share no weather."""

    name = "unrelated_daily_{profile}"
    label = "RMS difference"
    long_name = "mass-weighted RMS difference of {what} between daily means five days apart"
    subjects = PROFILE_FIELDS
    weights = "layer mass, area"

    def values(self, state: PeriodMeans, subject: Subject) -> float | None:
        return _distance(state, subject)


@register
class Roughness(PeriodScore):
    """How far a level lies from the mean of its two neighbours, below 500 hPa, mean by mean.

    Networks that do not damp differences between neighbouring levels let them grow into a zigzag.
    """

    name = "roughness_{mean}_{profile}"
    label = "roughness"
    long_name = "RMS difference of {what} from the mean of the levels above and below, {mean} means"
    subjects = Subjects("profile", tuple(x for x in PROFILE_FIELDS.members if x.name == "T"))
    dims = ("time",)
    weights = "layer mass, area"

    def values(self, state: PeriodMeans, subject: Subject) -> float | None:
        if state.mass is None or subject.name not in state.run:
            return None
        low = state.grid.midpoint_pressure(state.run["PS"]) > _LOW_LEVELS
        weights = np.where(low, state.mass, 0.0)[1:-1]
        field = state.run[subject.name]
        zigzag = field[1:-1] - 0.5 * (field[:-2] + field[2:])
        return float(np.sqrt(weighted_mean(zigzag**2, weights, axis=(0, 1))))


@register
class FirstMonthBias(FirstMonthScore):
    """Area-mean difference from the reference by level, day by day of the first month."""

    name = "first_month_bias_{profile}"
    label = "bias"
    long_name = "area-mean bias of {what}, daily means of the first month"
    subjects = Subjects(
        "profile",
        tuple(x for x in PROFILE_FIELDS.members if x.name in ("T", "Q", "CLDLIQ", "CLDICE")),
    )
    dims = ("first_day", "region", "level")
    weights = "area"

    def values(self, state: PeriodMeans, subject: Subject) -> Array | None:
        if subject.name not in state.run.keys() & state.reference.keys():
            return None
        bias = state.run[subject.name] - state.reference[subject.name]
        area = band_members(state.grid.lat, REGIONS) * state.grid.area
        return weighted_mean(bias, area[:, None, :])


class _Series(PeriodScore):
    subjects = QUANTITIES
    dims = ("region", "time")
    shape = (len(REGIONS),)
    weights = "area"


@register
class SeriesMean(_Series):
    """Mean over each region."""

    name = "series_{mean}_{quantity}_mean"
    label = "mean"
    long_name = "area mean of {what}, {mean} means"

    def values(self, state: PeriodMeans, subject: Subject) -> Array | None:
        if subject.name not in state.series:
            return None
        area = band_members(state.grid.lat, REGIONS) * state.grid.area
        return weighted_mean(state.series[subject.name], area)


@register
class SeriesDeviation(_Series):
    """Standard deviation over the area of each region."""

    name = "series_{mean}_{quantity}_deviation"
    label = "standard deviation"
    long_name = "area deviation of {what}, {mean} means"

    def values(self, state: PeriodMeans, subject: Subject) -> Array | None:
        if subject.name not in state.series:
            return None
        area = band_members(state.grid.lat, REGIONS) * state.grid.area
        values = state.series[subject.name]
        return np.array([weighted_deviation(values, weights) for weights in area])


@register
class LossSeries(PeriodScore):
    """Mean of the losses that a confidence head predicts and, where known, of the true ones.

    The true ones (``DTPHYSLOSS``, ...) are known where the physics ran beside the network.
    """

    name = "confidence_{mean}_{loss}"
    label = "loss"
    long_name = "mass-weighted mean of the {what}, {mean}"
    subjects = LOSSES
    dims = ("time",)
    weights = "layer mass, area"
    saved_if_empty = False

    def values(self, state: PeriodMeans, subject: Subject) -> Array | None:
        if state.mass is None or subject.name not in state.run:
            return None
        return weighted_mean(state.run[subject.name], state.mass, axis=(0, 1))
