"""Reliability of a confidence head: the loss it predicts beside the loss that came true."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np

from climsim.arrays import Array
from climsim.evaluation.sums import Sums
from climsim.losses import Described, TrainingLoss
from climsim.variables import TARGETS

logger = logging.getLogger(__name__)

LOSS_EDGES: Final = np.concatenate([[-np.inf], 10.0 ** np.linspace(-8, 2, 41), [np.inf]])
"""Edges of the bins of predicted loss [units of the training loss], 4 a decade."""


@runtime_checkable
class Confident(Described, Protocol):
    """A model that says whether it predicts its loss."""

    confidence: bool


def loss_of_confidence(model: object) -> TrainingLoss | None:
    """The loss that the confidences of a model are predictions of.

    Returns:
        None without a confidence head, or where the file does not say in units of which loss its
        confidences are.
    """
    if not isinstance(model, Confident) or not model.confidence:
        return None
    loss = TrainingLoss.of(model)
    if loss is None:
        logger.warning("the model does not name its training loss: confidences are not scored")
    return loss


@dataclass(frozen=True)
class ConfidenceStatistics(Sums):
    """Mergeable sums of predicted and true loss.

    Attributes:
        count: (feature,) samples.
        predicted: (feature,) sum of the predicted loss.
        true: (feature,) sum of the true loss.
        predicted_squares: (feature,) sum of squares of the predicted loss.
        true_squares: (feature,) sum of squares of the true loss.
        products: (feature,) sum of the products of both.
        bin_count: (target, bin) samples by predicted loss.
        bin_predicted: (target, bin) sum of the predicted loss.
        bin_true: (target, bin) sum of the true loss.
    """

    count: Array
    predicted: Array
    true: Array
    predicted_squares: Array
    true_squares: Array
    products: Array
    bin_count: Array
    bin_predicted: Array
    bin_true: Array

    @classmethod
    def of(cls, predicted: Array, true: Array, levels: int) -> ConfidenceStatistics:
        """Sums over all axes but the last.

        Args:
            predicted: (..., target feature) predicted loss.
            true: (..., target feature) true loss.
            levels: number of levels.
        """
        p = predicted.reshape(-1, predicted.shape[-1]).astype(np.float64)
        t = true.reshape(p.shape)
        shape = (len(TARGETS.names), LOSS_EDGES.size - 1)
        bins = (np.zeros(shape), np.zeros(shape), np.zeros(shape))
        for i, where in enumerate(TARGETS.slices(levels).values()):
            number = np.searchsorted(LOSS_EDGES[1:-1], p[:, where].ravel(), side="right")
            for total, weights in zip(bins, (None, p, t), strict=True):
                chosen = None if weights is None else weights[:, where].ravel()
                total[i] = np.bincount(number, chosen, minlength=shape[1])
        count = np.full(p.shape[1], float(p.shape[0]))
        totals = [values.sum(axis=0) for values in (p, t, p**2, t**2, p * t)]
        return cls(*[count, *totals, *bins])

    def correlation(self) -> Array:
        """Correlation of predicted and true loss (feature,); NaN where either is constant."""
        n = self.count
        covariance = self.products / n - self.predicted * self.true / n**2
        spread = [
            squares / n - (total / n) ** 2
            for squares, total in (
                (self.predicted_squares, self.predicted),
                (self.true_squares, self.true),
            )
        ]
        # Rounding leaves a spread of constant values of either sign near zero.
        floor = [1e-12 * squares / n for squares in (self.predicted_squares, self.true_squares)]
        known = (spread[0] > floor[0]) & (spread[1] > floor[1])
        product = np.where(known, spread[0] * spread[1], 1.0)
        return np.where(known, covariance / np.sqrt(product), np.nan)
