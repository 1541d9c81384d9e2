"""Mergeable statistics of predictions beside truth, and the scores they give.

A score is a formula on sums: the sums of two parts of the data merge into the sums of the whole, so
any chunking and any order give the same score (to rounding). Sums are float64; variances are kept
as mean and sum of squared deviations and merged by Chan's formula, which survives large means.
Undefined scores (no weight, no variance) are NaN: nothing is replaced silently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from climsim.arrays import Array

_CONSTANT_TOLERANCE = 1.0e-10
"""A spread below this fraction of the mean is rounding, not variance [1]."""


@dataclass(frozen=True)
class PairStatistics:
    """Weighted sums over samples of (truth, prediction) pairs, one per entry of the arrays.

    Attributes:
        weight: sum of weights.
        mean: weighted mean of the truth.
        deviation: weighted sum of squared deviations of the truth from its mean.
        error: weighted sum of prediction minus truth.
        absolute: weighted sum of absolute errors.
        squared: weighted sum of squared errors.
    """

    weight: Array
    mean: Array
    deviation: Array
    error: Array
    absolute: Array
    squared: Array

    @classmethod
    def zero(cls, shape: tuple[int, ...]) -> PairStatistics:
        """The statistics of no samples."""
        return cls(*(np.zeros(shape) for _ in fields(cls)))

    @classmethod
    def of(
        cls, truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None
    ) -> PairStatistics:
        """Statistics over the first axis.

        Args:
            truth: (sample, ...).
            prediction: (sample, ...), same shape.
            weights: broadcastable to the shape of ``truth``; 1 if not given.

        Returns:
            Statistics with the shape of the remaining axes.
        """
        t = np.asarray(truth, dtype=np.float64)
        e = np.asarray(prediction, dtype=np.float64) - t
        if weights is None:
            weight, mean = np.full(t.shape[1:], float(t.shape[0])), t.mean(axis=0)
            return cls(
                weight=weight,
                mean=mean,
                deviation=_squares(t - mean),
                error=e.sum(axis=0),
                absolute=np.abs(e).sum(axis=0),
                squared=_squares(e),
            )
        w = np.broadcast_to(np.asarray(weights, dtype=np.float64), t.shape)
        weight = w.sum(axis=0)
        mean = ratio((w * t).sum(axis=0), weight, empty=0.0)
        return cls(
            weight=weight,
            mean=mean,
            deviation=(w * (t - mean) ** 2).sum(axis=0),
            error=(w * e).sum(axis=0),
            absolute=(w * np.abs(e)).sum(axis=0),
            squared=(w * e**2).sum(axis=0),
        )

    @classmethod
    def stack(cls, parts: Sequence[PairStatistics]) -> PairStatistics:
        """Statistics of several groups of samples along a new first axis."""
        return cls(*(np.stack([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def __add__(self, other: PairStatistics) -> PairStatistics:
        weight = self.weight + other.weight
        shift = other.mean - self.mean
        share = ratio(other.weight, weight, empty=0.0)
        return PairStatistics(
            weight=weight,
            mean=self.mean + shift * share,
            deviation=self.deviation + other.deviation + shift**2 * self.weight * share,
            error=self.error + other.error,
            absolute=self.absolute + other.absolute,
            squared=self.squared + other.squared,
        )

    def part(self, where: slice) -> PairStatistics:
        """The entries of a part of the last axis."""
        return PairStatistics(*(getattr(self, f.name)[..., where] for f in fields(self)))

    def grouped(self, groups: NDArray[np.integer], n_groups: int) -> PairStatistics:
        """Merge the entries of the first axis by group.

        Args:
            groups: (first axis,) number of the group of each entry; negative for none.
            n_groups: number of groups.

        Returns:
            Statistics with the first axis replaced by (group,).
        """

        def total(values: Array) -> Array:
            return sums_by_group(values, groups, n_groups)

        weight = total(self.weight)
        mean = ratio(total(self.weight * self.mean), weight, empty=0.0)
        label = np.maximum(np.asarray(groups), 0)
        between = self.weight * (self.mean - mean[label]) ** 2
        return PairStatistics(
            weight=weight,
            mean=mean,
            deviation=total(self.deviation + between),
            error=total(self.error),
            absolute=total(self.absolute),
            squared=total(self.squared),
        )

    def pooled(self) -> PairStatistics:
        """Merge all entries of the first axis."""
        total = self.grouped(np.zeros(self.weight.shape[0], dtype=int), 1)
        return replace(total, **{f.name: getattr(total, f.name)[0] for f in fields(total)})

    @cached_property
    def variance(self) -> Array:
        """Variance of the truth; exactly 0 where it is constant to rounding, or has no weight."""
        variance = ratio(self.deviation, self.weight, empty=0.0)
        # Compared so that the NaN of a truth that is no number stays.
        return np.where(variance <= (_CONSTANT_TOLERANCE * self.mean) ** 2, 0.0, variance)

    @property
    def undefined(self) -> NDArray[np.bool_]:
        """Where R2 has no meaning, because the truth has no variance."""
        return self.variance == 0

    def r2(self) -> Array:
        """Coefficient of determination ``1 - SSE / SST``; NaN where the truth has no variance."""
        sst = np.where(self.undefined, np.nan, self.deviation)
        return 1.0 - self.squared / sst

    def bias(self) -> Array:
        """Mean of prediction minus truth, in the unit of the truth."""
        return ratio(self.error, self.weight)

    def mae(self) -> Array:
        """Mean absolute error, in the unit of the truth."""
        return ratio(self.absolute, self.weight)

    def rmse(self) -> Array:
        """Root mean squared error, in the unit of the truth."""
        return np.sqrt(ratio(self.squared, self.weight))

    def truth_mean(self) -> Array:
        """Mean of the truth."""
        return self.mean

    def truth_deviation(self) -> Array:
        """Standard deviation of the truth."""
        return np.sqrt(self.variance)

    def prediction_mean(self) -> Array:
        """Mean of the prediction, in the unit of the truth."""
        return self.mean + self.bias()


def _squares(values: Array) -> Array:
    return np.einsum("s...,s...->...", values, values)


def sums_by_group(values: Array, groups: NDArray[np.integer], n_groups: int) -> Array:
    """Sums of the entries of the first axis by group.

    A NaN is in the sum of its own group alone, where a product with zeros and ones would spread it.

    Args:
        values: (entry, ...).
        groups: (entry,) number of the group of each entry; negative for none.
        n_groups: number of groups.

    Returns:
        (group, ...).
    """
    label = np.asarray(groups)
    return np.stack([values[label == group].sum(axis=0) for group in range(n_groups)])


def ratio(numerator: Array, denominator: Array, empty: float = np.nan) -> Array:
    """Quotient with ``empty`` where the denominator is 0."""
    some = denominator != 0
    return np.where(some, numerator / np.where(some, denominator, 1.0), empty)


def weighted_mean(values: ArrayLike, weights: ArrayLike, axis: int | tuple[int, ...] = -1) -> Array:
    """Weighted mean along axes; NaN where all weights are 0.

    Args:
        values: any shape.
        weights: any shape that broadcasts with it.
        axis: axes to reduce, of the broadcast shape.
    """
    v, w = np.broadcast_arrays(
        np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    )
    return ratio((v * w).sum(axis=axis), w.sum(axis=axis))


def weighted_rmse(
    values: ArrayLike, reference: ArrayLike, weights: ArrayLike, axis: int | tuple[int, ...] = -1
) -> Array:
    """Weighted root mean squared difference along axes; see `weighted_mean`."""
    difference = np.asarray(values, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return np.sqrt(weighted_mean(difference**2, weights, axis))


def weighted_deviation(values: ArrayLike, weights: ArrayLike, axis: int = -1) -> Array:
    """Weighted standard deviation along an axis, about the weighted mean."""
    v = np.asarray(values, dtype=np.float64)
    mean = np.expand_dims(weighted_mean(v, weights, axis), axis)
    return np.sqrt(weighted_mean((v - mean) ** 2, weights, axis))


CRPS_PAIRS: Final[dict[str, Callable[[int], int]]] = {
    "empirical": lambda m: m**2,
    "fair": lambda m: m * (m - 1),
    "published": lambda m: m * (m - 1) ** 2,
}
"""By what each estimator of the CRPS divides half the sum of distances of m members."""


def crps_ensemble(truth: ArrayLike, members: ArrayLike, estimator: str = "empirical") -> Array:
    """Continuous ranked probability score of an ensemble.

    ``mean|x_i - y| - 1/(2 n) sum_ij |x_i - x_j|`` for m members. Lower is better; same unit as the
    truth. The estimators differ in n:

    - ``empirical``, m^2: the score of the empirical distribution, which is the absolute error of
      one member;
    - ``fair``, m (m - 1): what an ensemble of infinitely many such members has on average;
    - ``published``, m (m - 1)^2: ClimSim's, which takes the mean over the m - 1 gaps between sorted
      members where the fair one takes their sum.

    Args:
        truth: (...).
        members: (member, ...).
        estimator: one of these.

    Returns:
        (...) score; NaN of one member but by the empirical distribution.
    """
    x = np.sort(np.asarray(members, dtype=np.float64), axis=0)
    m = x.shape[0]
    skill = np.abs(x - np.asarray(truth, dtype=np.float64)).mean(axis=0)
    # For sorted members the double sum of |x_i - x_j| is 2 * sum_i (2 i - m + 1) x_i.
    rank = (2 * np.arange(m) - m + 1).reshape(-1, *([1] * (x.ndim - 1)))
    # Halved, as each pair stands twice in the sum of the formula.
    pairs = CRPS_PAIRS[estimator](m)
    distances = (rank * x).sum(axis=0)
    return skill - distances / pairs if pairs else np.full_like(skill, np.nan)


def crps_gaussian(truth: ArrayLike, mean: ArrayLike, deviation: ArrayLike) -> Array:
    """Continuous ranked probability score of a normal distribution.

    ``s (z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi))`` with ``z = (y - mean) / s``.
    Source: Gneiting and Raftery 2007, equation 21 (sign reversed).

    Args:
        truth: (...).
        mean: (...) mean of the distribution.
        deviation: (...) its standard deviation, positive.

    Returns:
        (...) score in the unit of the truth; lower is better.
    """
    s = np.asarray(deviation, dtype=np.float64)
    z = (np.asarray(truth, dtype=np.float64) - np.asarray(mean, dtype=np.float64)) / s
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return s * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))


def capped_mean(scores: ArrayLike, undefined: ArrayLike) -> float:
    """Mean over defined scores with negative ones counted as 0; NaN where none is defined.

    One failing level (R2 of -1000) must not hide what the other levels say. One that is no finite
    number must: left out, a model would gain by failing.

    Args:
        scores: any shape.
        undefined: which of them have no meaning, same shape.
    """
    defined = np.asarray(scores, dtype=np.float64)[~np.asarray(undefined, dtype=bool)]
    if not defined.size or not np.isfinite(defined).all():
        return float("nan")
    return float(np.maximum(defined, 0.0).mean())
