"""Scores of each output, level by level, over all samples."""

from __future__ import annotations

import numpy as np

from climsim.arrays import Array
from climsim.evaluation.block import ENERGY_PAIRS, OUTPUT_PAIRS
from climsim.evaluation.metrics import capped_mean, weighted_mean
from climsim.evaluation.offline_score import SCORED_OUTPUTS, OfflineScore, Totals
from climsim.evaluation.score import ALL, UNDEFINED, Subject, register
from climsim.physics.budgets import energy_unit
from climsim.variables import OUTPUTS

_CAPPED = "negative values count as 0; undefined outputs are left out"


class _OfOutput(OfflineScore):
    subjects = SCORED_OUTPUTS
    statistics = (OUTPUT_PAIRS,)
    dims = ("level",)
    weights = "samples"


@register
class R2(_OfOutput):
    """``1 - SSE/SST`` over all samples and columns (Kaggle)."""

    name = "r2_{output}"
    long_name = "R2 over all samples and columns: {what}"
    units = "1"
    comment = UNDEFINED

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.pooled(OUTPUT_PAIRS, subject).r2()


@register
class R2ClimSim(_OfOutput):
    """The same per column over time, then the mean over columns."""

    name = "r2_climsim_{output}"
    long_name = "R2 per column over time, then mean over columns: {what}"
    units = "1"
    weights = "columns"
    comment = UNDEFINED

    def values(self, state: Totals, subject: Subject) -> Array:
        by_column = state.by_column(OUTPUT_PAIRS, subject).r2()
        defined = np.isfinite(by_column)
        return weighted_mean(np.where(defined, by_column, 0.0), defined, axis=0)


@register
class MeanAbsoluteError(_OfOutput):
    """Mean absolute error."""

    name = "mae_{output}"
    long_name = "mean absolute error: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.pooled(OUTPUT_PAIRS, subject).mae()


@register
class RootMeanSquaredError(_OfOutput):
    """Root mean squared error."""

    name = "rmse_{output}"
    long_name = "root mean squared error: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.pooled(OUTPUT_PAIRS, subject).rmse()


@register
class Bias(_OfOutput):
    """Mean of prediction minus truth."""

    name = "bias_{output}"
    long_name = "mean of prediction minus truth: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.pooled(OUTPUT_PAIRS, subject).bias()


@register
class TruthMean(_OfOutput):
    """Mean of the truth."""

    name = "truth_mean_{output}"
    long_name = "mean of the truth: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.pooled(OUTPUT_PAIRS, subject).mean


@register
class TruthDeviation(_OfOutput):
    """Standard deviation of the truth."""

    name = "truth_deviation_{output}"
    long_name = "standard deviation of the truth: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return np.sqrt(state.pooled(OUTPUT_PAIRS, subject).variance)


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
    long_name = "mae: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.pooled(ENERGY_PAIRS, subject).mae()


@register
class EnergyRootMeanSquaredError(_OfEnergy):
    """Root mean squared error after ClimSim's weighting."""

    name = "rmse_energy_{output}"
    long_name = "rmse: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.pooled(ENERGY_PAIRS, subject).rmse()


@register
class EnergyBias(_OfEnergy):
    """Mean of prediction minus truth after ClimSim's weighting."""

    name = "bias_energy_{output}"
    long_name = "bias: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.pooled(ENERGY_PAIRS, subject).bias()


@register
class EnergyR2(_OfEnergy):
    """``1 - SSE/SST`` after ClimSim's weighting."""

    name = "r2_energy_{output}"
    long_name = "R2, weighted: {what}"
    units = "1"
    comment = UNDEFINED

    def values(self, state: Totals, subject: Subject) -> Array:
        return state.pooled(ENERGY_PAIRS, subject).r2()


@register
class MeanR2(OfflineScore):
    """Mean of R2 over all outputs and levels, the condensate not counted again."""

    name = "r2_mean"
    long_name = "mean R2 over all outputs"
    subjects = ALL
    statistics = (OUTPUT_PAIRS,)
    units = "1"
    weights = "outputs and levels"
    comment = _CAPPED

    def values(self, state: Totals, subject: Subject) -> float:
        outputs = slice(0, OUTPUTS.size(state.grid.n_levels))
        return capped_mean(state.all_columns(OUTPUT_PAIRS).r2()[outputs])


@register
class UndefinedOutputs(OfflineScore):
    """Outputs and levels without variance, for which R2 is undefined."""

    name = "undefined_outputs"
    long_name = "outputs without variance, for which R2 is undefined"
    subjects = ALL
    statistics = (OUTPUT_PAIRS,)
    units = "1"
    weights = "none"

    def values(self, state: Totals, subject: Subject) -> int:
        outputs = slice(0, OUTPUTS.size(state.grid.n_levels))
        return int((state.all_columns(OUTPUT_PAIRS).variance[outputs] == 0).sum())


@register
class MeanR2OfOutput(OfflineScore):
    """Mean of R2 over the levels of an output."""

    name = "r2_mean_{output}"
    long_name = "mean R2: {what}"
    subjects = SCORED_OUTPUTS
    statistics = (OUTPUT_PAIRS,)
    units = "1"
    weights = "levels"
    comment = _CAPPED

    def values(self, state: Totals, subject: Subject) -> float:
        return capped_mean(state.pooled(OUTPUT_PAIRS, subject).r2())
