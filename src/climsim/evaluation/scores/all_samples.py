"""Scores of each output, level by level, over all samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from climsim.arrays import Array
from climsim.evaluation.block import ENERGY_PAIRS, OUTPUT_PAIRS, Block
from climsim.evaluation.metrics import PairStatistics, capped_mean, weighted_mean
from climsim.evaluation.offline_score import SCORED_OUTPUTS, OfflineScore, Totals
from climsim.evaluation.score import ALL, UNDEFINED, Subject, register
from climsim.evaluation.sums import Statistic
from climsim.physics.budgets import energy_unit
from climsim.variables import OUTPUTS

_CAPPED = "negative values count as 0; undefined outputs are left out"


class _OfOutput(OfflineScore):
    """A formula on the sums of an output over all columns, level by level.

    Attributes:
        formula: from the sums (level,) to the values.
    """

    subjects = SCORED_OUTPUTS
    statistics: ClassVar[tuple[Statistic[Block, PairStatistics]]] = (OUTPUT_PAIRS,)
    dims = ("level",)
    weights = "samples"
    formula: ClassVar[Callable[[PairStatistics], Array]]

    def values(self, state: Totals, subject: Subject) -> Array:
        return type(self).formula(state.pooled(self.statistics[0], subject))


@register
class R2(_OfOutput):
    """``1 - SSE/SST`` over all samples and columns (Kaggle)."""

    name = "r2_{output}"
    label = "R$^2$"
    long_name = "R2 over all samples and columns: {what}"
    units = "1"
    comment = UNDEFINED
    formula = PairStatistics.r2


@register
class R2ClimSim(_OfOutput):
    """The same per column over time, then the mean over columns."""

    name = "r2_climsim_{output}"
    label = "R$^2$ per column"
    long_name = "R2 per column over time, then mean over columns: {what}"
    units = "1"
    weights = "columns"
    comment = UNDEFINED

    def values(self, state: Totals, subject: Subject) -> Array:
        sums = state.by_column(OUTPUT_PAIRS, subject)
        return weighted_mean(np.where(sums.undefined, 0.0, sums.r2()), ~sums.undefined, axis=0)


@register
class MeanAbsoluteError(_OfOutput):
    """Mean absolute error."""

    name = "mae_{output}"
    label = "MAE"
    long_name = "mean absolute error: {what}"
    formula = PairStatistics.mae


@register
class RootMeanSquaredError(_OfOutput):
    """Root mean squared error."""

    name = "rmse_{output}"
    label = "RMSE"
    long_name = "root mean squared error: {what}"
    formula = PairStatistics.rmse


@register
class Bias(_OfOutput):
    """Mean of prediction minus truth."""

    name = "bias_{output}"
    label = "bias"
    long_name = "mean of prediction minus truth: {what}"
    formula = PairStatistics.bias


@register
class TruthMean(_OfOutput):
    """Mean of the truth."""

    name = "truth_mean_{output}"
    label = "truth"
    long_name = "mean of the truth: {what}"
    formula = PairStatistics.truth_mean


@register
class TruthDeviation(_OfOutput):
    """Standard deviation of the truth."""

    name = "truth_deviation_{output}"
    label = "standard deviation of the truth"
    long_name = "standard deviation of the truth: {what}"
    formula = PairStatistics.truth_deviation


class _OfEnergy(_OfOutput):
    statistics = (ENERGY_PAIRS,)
    weights = "layer mass, area, energy"
    comment = "ClimSim's weighting: dp/g, area, energy"

    def unit_of(self, subject: Subject) -> str:
        return self.units or energy_unit(subject.name)


@register
class EnergyMeanAbsoluteError(_OfEnergy):
    """Mean absolute error after ClimSim's weighting."""

    name = "mae_energy_{output}"
    label = "MAE, weighted"
    long_name = "mae: {what}"
    formula = PairStatistics.mae


@register
class EnergyRootMeanSquaredError(_OfEnergy):
    """Root mean squared error after ClimSim's weighting."""

    name = "rmse_energy_{output}"
    label = "RMSE, weighted"
    long_name = "rmse: {what}"
    formula = PairStatistics.rmse


@register
class EnergyBias(_OfEnergy):
    """Mean of prediction minus truth after ClimSim's weighting."""

    name = "bias_energy_{output}"
    label = "bias, weighted"
    long_name = "bias: {what}"
    formula = PairStatistics.bias


@register
class EnergyR2(_OfEnergy):
    """``1 - SSE/SST`` after ClimSim's weighting."""

    name = "r2_energy_{output}"
    label = "R$^2$, weighted"
    long_name = "R2, weighted: {what}"
    units = "1"
    comment = UNDEFINED
    formula = PairStatistics.r2


@register
class MeanR2(OfflineScore):
    """Mean of R2 over all outputs and levels, the condensate not counted again."""

    name = "r2_mean"
    label = "R$^2$"
    long_name = "mean R2 over all outputs"
    subjects = ALL
    statistics = (OUTPUT_PAIRS,)
    units = "1"
    weights = "outputs and levels"
    comment = _CAPPED

    def values(self, state: Totals, subject: Subject) -> float:
        return _mean_r2(state.all_columns(OUTPUT_PAIRS).part(_outputs(state)))


@register
class UndefinedOutputs(OfflineScore):
    """Outputs and levels without variance, for which R2 is undefined."""

    name = "undefined_outputs"
    label = "outputs without variance"
    long_name = "outputs without variance, for which R2 is undefined"
    subjects = ALL
    statistics = (OUTPUT_PAIRS,)
    units = "1"
    weights = "none"

    def values(self, state: Totals, subject: Subject) -> int:
        return int(state.all_columns(OUTPUT_PAIRS).part(_outputs(state)).undefined.sum())


@register
class MeanR2OfOutput(OfflineScore):
    """Mean of R2 over the levels of an output."""

    name = "r2_mean_{output}"
    label = "R$^2$"
    long_name = "mean R2: {what}"
    subjects = SCORED_OUTPUTS
    statistics = (OUTPUT_PAIRS,)
    units = "1"
    weights = "levels"
    comment = _CAPPED

    def values(self, state: Totals, subject: Subject) -> float:
        return _mean_r2(state.pooled(OUTPUT_PAIRS, subject))


def _outputs(state: Totals) -> slice:
    """Where the outputs lie on the feature axis of the sums, without the condensate."""
    return slice(0, OUTPUTS.size(state.grid.n_levels))


def _mean_r2(sums: PairStatistics) -> float:
    return capped_mean(sums.r2(), sums.undefined)
