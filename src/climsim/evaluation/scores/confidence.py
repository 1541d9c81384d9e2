"""Reliability of a confidence head: the loss it predicts beside the loss that came true."""

from __future__ import annotations

import numpy as np

from climsim.arrays import Array
from climsim.evaluation.block import CONFIDENCE, LOSSES
from climsim.evaluation.offline_score import SCORED_TARGETS, OfflineScore, Totals
from climsim.evaluation.score import ALL, Subject, register
from climsim.variables import TARGETS


class _ByLoss(OfflineScore):
    subjects = ALL
    statistics = (CONFIDENCE,)
    units = "1"
    dims = ("target", "loss_bin")
    weights = "samples"


@register
class PredictedLoss(_ByLoss):
    """Mean loss that a confidence head predicts, by bin of predicted loss."""

    name = "confidence_predicted"
    label = "predicted loss"
    long_name = "mean predicted loss by bin of predicted loss"
    comment = "in units of the training loss"

    def values(self, state: Totals, subject: Subject) -> Array:
        return _bin_means(state[CONFIDENCE].bin_predicted, state[CONFIDENCE].bin_count)


@register
class TrueLoss(_ByLoss):
    """Mean loss that came true, by bin of predicted loss."""

    name = "confidence_true"
    label = "true loss"
    long_name = "mean true loss by bin of predicted loss"
    comment = "in units of the training loss"

    def values(self, state: Totals, subject: Subject) -> Array:
        return _bin_means(state[CONFIDENCE].bin_true, state[CONFIDENCE].bin_count)


@register
class LossCount(_ByLoss):
    """Samples by bin of predicted loss."""

    name = "confidence_count"
    label = "samples"
    long_name = "samples by bin of predicted loss"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state[CONFIDENCE].bin_count


@register
class LossCorrelation(OfflineScore):
    """Correlation of predicted and true loss; NaN where either is constant."""

    name = "confidence_correlation_{target}"
    label = "correlation"
    long_name = "correlation of predicted and true loss of {name}"
    subjects = SCORED_TARGETS
    statistics = (CONFIDENCE,)
    units = "1"
    dims = ("level",)
    weights = "samples"

    def values(self, state: Totals, subject: Subject) -> Array:
        return state[CONFIDENCE].correlation()[TARGETS.slice(subject.name, state.grid.n_levels)]


class _Section(OfflineScore):
    subjects = SCORED_TARGETS
    statistics = (LOSSES,)
    units = "1"
    dims = ("latitude", "level")
    weights = "area"
    comment = "in units of the training loss"


@register
class PredictedLossSection(_Section):
    """Zonal mean of the loss that a confidence head predicts."""

    name = "confidence_section_{target}"
    label = "predicted loss"
    long_name = "zonal mean of the predicted loss of {name}"

    def values(self, state: Totals, subject: Subject) -> Array:
        where = TARGETS.slice(subject.name, state.grid.n_levels)
        return state.zonal(state[LOSSES].predicted[:, where] / state[LOSSES].count)


@register
class TrueLossSection(_Section):
    """Zonal mean of the loss that came true."""

    name = "true_loss_section_{target}"
    label = "true loss"
    long_name = "zonal mean of the true loss of {name}"

    def values(self, state: Totals, subject: Subject) -> Array:
        where = TARGETS.slice(subject.name, state.grid.n_levels)
        return state.zonal(state[LOSSES].true[:, where] / state[LOSSES].count)


def _bin_means(sums: Array, count: Array) -> Array:
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
