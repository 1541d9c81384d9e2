"""Online scores of the distribution of precipitation."""

from __future__ import annotations

import numpy as np

from climsim.arrays import Array
from climsim.evaluation.online_score import PrecipitationScore
from climsim.evaluation.precipitation import PrecipitationCounts
from climsim.evaluation.score import ALL, Subject, register


class _OfSurfaces(PrecipitationScore):
    subjects = ALL
    weights = "area, samples"


@register
class PrecipitationFrequency(_OfSurfaces):
    """Share of area and time in each bin, by surface type, from the finest stream."""

    name = "precipitation_frequency"
    label = "frequency"
    long_name = "fraction of area and time by precipitation"
    units = "1"
    dims = ("surface", "rain_bin")

    def values(self, state: PrecipitationCounts, subject: Subject) -> Array:
        return state.frequency()


@register
class PrecipitationDensity(_OfSurfaces):
    """Density in bins of 4 mm/day from -2 to 178, by surface type (paper)."""

    name = "precipitation_density"
    label = "density"
    long_name = "density of precipitation"
    units = "(mm d-1)-1"
    dims = ("surface", "rain_step")
    weights = "area times time-mean surface fraction, samples"

    def values(self, state: PrecipitationCounts, subject: Subject) -> Array:
        return state.density()


@register
class PrecipitationQuantile(_OfSurfaces):
    """Quantiles, likewise."""

    name = "precipitation_quantile"
    label = "quantile"
    long_name = "quantile of precipitation"
    units = "mm d-1"
    dims = ("surface", "quantile")

    def values(self, state: PrecipitationCounts, subject: Subject) -> Array:
        return state.quantiles()


@register
class LargestPrecipitation(_OfSurfaces):
    """Largest value, likewise."""

    name = "precipitation_largest"
    label = "largest"
    long_name = "largest precipitation"
    units = "mm d-1"
    dims = ("surface",)
    weights = "none"

    def values(self, state: PrecipitationCounts, subject: Subject) -> Array:
        return np.where(np.isfinite(state.largest), state.largest, np.nan)
