"""Scores of each output over a part of the samples: latitudes, surfaces, bands, rain."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.evaluation.block import OUTPUT_PAIRS, PREDICTED_RAIN, RAIN, SURFACE_PAIRS
from climsim.evaluation.metrics import PairStatistics, capped_mean, ratio, sums_by_group
from climsim.evaluation.offline_score import (
    PERCENTILE_EDGES,
    RAIN_DECILES,
    SCORED_OUTPUTS,
    SCORED_TENDENCIES,
    OfflineScore,
    Totals,
)
from climsim.evaluation.regions import UPPER_PRESSURE
from climsim.evaluation.score import Subject, register

_BINS: Final = "percentiles from 50 logarithmic bins a decade"


class _Section(OfflineScore):
    subjects = SCORED_OUTPUTS
    statistics = (OUTPUT_PAIRS,)
    dims = ("latitude", "level")


class _ZonalSection(_Section):
    """Area mean in bins of latitude of a formula on the sums of each column.

    Attributes:
        formula: from the sums (column, level) to the values.
    """

    weights = "area"
    formula: ClassVar[Callable[[PairStatistics], Array]]

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.zonal(type(self).formula(state.by_column(OUTPUT_PAIRS, subject)))


@register
class SectionR2(_Section):
    """``1 - SSE/SST`` in bins of 10 degrees of latitude."""

    name = "r2_section_{output}"
    label = "R$^2$"
    long_name = "R2 in bins of latitude: {what}"
    units = "1"
    weights = "samples"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.by_latitude(state.by_column(OUTPUT_PAIRS, subject)).r2()


@register
class SectionColumnR2(_Section):
    """Area mean in these bins of R2 per column over time (paper)."""

    name = "r2_section_columns_{output}"
    label = "R$^2$"
    long_name = "area mean of R2 per column in bins of latitude: {what}"
    units = "1"
    weights = "area"

    def values(self, state: Totals, subject: Subject) -> Array:
        sums = state.by_column(OUTPUT_PAIRS, subject)
        return state.zonal(sums.r2(), sums.undefined)


@register
class SectionBias(_ZonalSection):
    """Zonal-mean bias in these bins."""

    name = "bias_section_{output}"
    label = "bias"
    long_name = "zonal-mean bias: {what}"
    formula = PairStatistics.bias


@register
class SectionTruth(_ZonalSection):
    """Zonal mean of the truth in these bins."""

    name = "truth_section_{output}"
    label = "truth"
    long_name = "zonal mean of the truth: {what}"
    formula = PairStatistics.truth_mean


class _OfSurface(OfflineScore):
    subjects = SCORED_OUTPUTS
    statistics = (SURFACE_PAIRS,)
    dims = ("surface", "level")
    weights = "samples"
    formula: ClassVar[Callable[[PairStatistics], Array]]

    def values(self, state: Totals, subject: Subject) -> Array:
        return type(self).formula(state.by_column(SURFACE_PAIRS, subject))


@register
class SurfaceR2(_OfSurface):
    """``1 - SSE/SST`` over the columns of which more than half is land, open ocean or sea ice."""

    name = "r2_surface_{output}"
    label = "R$^2$"
    long_name = "R2 by surface type: {what}"
    units = "1"
    formula = PairStatistics.r2


@register
class SurfaceBias(_OfSurface):
    """Mean of prediction minus truth over these columns."""

    name = "bias_surface_{output}"
    label = "bias"
    long_name = "bias by surface type: {what}"
    formula = PairStatistics.bias


class _ByPrecipitation(OfflineScore):
    subjects = SCORED_OUTPUTS
    statistics = (RAIN,)
    dims = ("percentile", "level")
    weights = "samples"
    comment = _BINS


@register
class BiasByPrecipitation(_ByPrecipitation):
    """Mean error by percentile of the true precipitation."""

    name = "bias_by_precipitation_{output}"
    label = "mean error"
    long_name = "mean error by percentile of precipitation: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return percentile_means(state[RAIN].count, state[RAIN].error[:, state.slice(subject)])


@register
class TruthByPrecipitation(_ByPrecipitation):
    """Mean of the truth by percentile of the true precipitation."""

    name = "truth_by_precipitation_{output}"
    label = "truth"
    long_name = "mean of the truth by percentile of precipitation: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return percentile_means(state[RAIN].count, state[RAIN].truth[:, state.slice(subject)])


@register
class BiasByPredictedPrecipitation(OfflineScore):
    """Mean error without rain, and in the deciles of active rain of the prediction (paper)."""

    name = "bias_by_predicted_precipitation_{output}"
    label = "mean error"
    long_name = "mean error by predicted precipitation: {what}"
    subjects = SCORED_OUTPUTS
    statistics = (PREDICTED_RAIN,)
    dims = ("rain_decile", "level")
    weights = "area"
    comment = "deciles of the samples with rain, from 200 logarithmic bins a decade"

    def values(self, state: Totals, subject: Subject) -> Array:
        sums = state[PREDICTED_RAIN]
        groups = decile_groups(sums.count)
        error, weight = (
            sums_by_group(x, groups, len(RAIN_DECILES))
            for x in (sums.error[:, state.slice(subject)], sums.weight[:, None])
        )
        return ratio(error, weight)


@register
class RegionR2(OfflineScore):
    """Mean of R2 over levels, by band of latitude, above and below 400 hPa."""

    name = "r2_region_{output}"
    label = "R$^2$"
    long_name = "mean R2 by region: {what}"
    subjects = SCORED_TENDENCIES
    statistics = (OUTPUT_PAIRS,)
    units = "1"
    dims = ("band", "layer")
    weights = "levels"

    def values(self, state: Totals, subject: Subject) -> Array:
        grid = state.grid
        sums = state.by_band(OUTPUT_PAIRS).part(state.slice(subject))
        upper = grid.midpoint_pressure(np.array([grid.p0]))[:, 0] < UPPER_PRESSURE
        return np.array(
            [
                [capped_mean(r2[side], undefined[side]) for side in (upper, ~upper)]
                for r2, undefined in zip(sums.r2(), sums.undefined, strict=True)
            ]
        )


def decile_groups(counts: Array) -> NDArray[np.intp]:
    """Which of `RAIN_DECILES` each bin of predicted precipitation falls into.

    A sample is in a decile if it does not exceed the quantile at its end, which NumPy interpolates
    between the samples in order; that of the middle sample of a bin holds for the bin.

    Args:
        counts: (bin,) samples in ascending bins, of which the first is no rain.
    """
    active = counts[1:]
    middle = np.cumsum(active) - 0.5 * (active + 1)
    position = 10 * middle / max(active.sum() - 1, 1)
    return np.concatenate([[0], np.clip(np.ceil(position - 1e-9), 1, 10)]).astype(np.intp)


def percentile_groups(counts: Array) -> NDArray[np.intp]:
    """Which percentile bin each bin of precipitation falls into.

    Args:
        counts: (bin,) samples in ascending bins.

    Returns:
        (bin,) number of the percentile bin of the middle of the bin; -1 for empty bins.
    """
    share = 100.0 * (np.cumsum(counts) - 0.5 * counts) / max(counts.sum(), 1.0)
    group = np.searchsorted(PERCENTILE_EDGES[1:-1], share, side="right")
    return np.where(counts > 0, group, -1)


def percentile_means(counts: Array, sums: Array) -> Array:
    """Means in each percentile bin of precipitation; NaN in empty ones.

    Args:
        counts: (bin,) samples in ascending bins.
        sums: (bin, feature) sums over these.

    Returns:
        (percentile, feature).
    """
    groups, n_groups = percentile_groups(counts), len(PERCENTILE_EDGES) - 1
    total, count = (sums_by_group(x, groups, n_groups) for x in (sums, counts[:, None]))
    return ratio(total, count)
