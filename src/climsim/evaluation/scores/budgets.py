"""Scores of the column budgets of prediction and truth."""

from __future__ import annotations

from typing import Final

import numpy as np

from climsim.arrays import Array
from climsim.evaluation.block import BUDGET_PAIRS, BUDGETS
from climsim.evaluation.metrics import weighted_mean
from climsim.evaluation.offline_score import OfflineScore, Totals
from climsim.evaluation.score import Subject, Subjects, register

_SUBJECTS: Final = Subjects(
    "budget",
    (
        Subject(BUDGETS[0], "kg m-2 s-1", "water created by the emulated physics in a column"),
        Subject(BUDGETS[1], "W m-2", "net downward radiation at the top implied by energy"),
    ),
)


class _OfBudget(OfflineScore):
    subjects = _SUBJECTS
    statistics = (BUDGET_PAIRS,)
    weights = "area"


@register
class BudgetTruth(_OfBudget):
    """Global mean of the column budget of the truth."""

    name = "{budget}_truth"
    label = "truth"
    long_name = "global mean of the truth: {what}"

    def values(self, state: Totals, subject: Subject) -> np.float64:
        return _global_mean(state[BUDGET_PAIRS].mean, state, subject)


@register
class BudgetPrediction(_OfBudget):
    """Global mean of the column budget of the prediction."""

    name = "{budget}_prediction"
    label = "prediction"
    long_name = "global mean of the prediction: {what}"

    def values(self, state: Totals, subject: Subject) -> np.float64:
        return _global_mean(state[BUDGET_PAIRS].prediction_mean(), state, subject)


@register
class BudgetRmse(_OfBudget):
    """Root mean squared error of the budget of a column."""

    name = "{budget}_rmse"
    label = "RMSE of a column"
    long_name = "root mean squared error of a column: {what}"
    weights = "samples"

    def values(self, state: Totals, subject: Subject) -> np.float64:
        return state.all_columns(BUDGET_PAIRS).rmse()[BUDGETS.index(subject.name)]


@register
class BudgetZonalBias(_OfBudget):
    """Zonal-mean bias of the column budget."""

    name = "{budget}_bias_zonal"
    label = "bias"
    long_name = "zonal-mean bias: {what}"
    dims = ("latitude",)
    weights = "samples"

    def values(self, state: Totals, subject: Subject) -> Array:
        bias = state.by_latitude(state[BUDGET_PAIRS]).bias()
        return bias[:, BUDGETS.index(subject.name)]


def _global_mean(values: Array, state: Totals, subject: Subject) -> np.float64:
    mean = weighted_mean(values, state.grid.area[:, None], axis=0)
    return np.float64(mean[BUDGETS.index(subject.name)])
