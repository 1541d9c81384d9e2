"""Count, mean, deviations and extremes of samples, as parts that merge in any order.

Parts are float64; two merge by the formula of Chan, Golub and LeVeque (1979), so any chunking and
order gives the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Double
from climsim.normalization import POSITIVE_THRESHOLD

_CACHED_SAMPLES = 2048
"""Samples taken at once: few enough for their float64 copies to stay in the cache."""


@dataclass(frozen=True)
class Moments:
    """A mergeable part: count, mean, squared deviations, extremes of each position.

    Attributes:
        count: samples.
        mean: (level,) or ().
        squares: sum of squared deviations from the mean, likewise.
        min: likewise.
        max: likewise.
    """

    count: Double
    mean: Double
    squares: Double
    min: Double
    max: Double

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Moments:
        """Moments of samples along the first axis.

        Args:
            values: (sample, level) or (sample,).
        """
        pieces = range(0, values.shape[0], _CACHED_SAMPLES)
        parts = (cls._of_piece(values[k : k + _CACHED_SAMPLES]) for k in pieces)
        return reduce(cls.__add__, parts, cls.empty(values.shape[1:]))

    @classmethod
    def _of_piece(cls, values: NDArray[np.floating]) -> Moments:
        data = np.asarray(values, dtype=np.float64)
        mean = data.mean(axis=0)
        return cls(
            np.full(mean.shape, float(data.shape[0])),
            mean,
            np.square(data - mean).sum(axis=0),
            data.min(axis=0),
            data.max(axis=0),
        )

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Moments:
        """The neutral element of merging."""
        zero = np.zeros(shape)
        return cls(zero, zero, zero, np.full(shape, np.inf), np.full(shape, -np.inf))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        safe = np.maximum(count, 1)
        delta = other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * other.count / safe,
            self.squares + other.squares + np.square(delta) * self.count * other.count / safe,
            np.minimum(self.min, other.min),
            np.maximum(self.max, other.max),
        )

    def over_levels(self) -> Moments:
        """Moments of all positions taken together."""
        parts = (
            Moments(
                *(field[k] for field in (self.count, self.mean, self.squares, self.min, self.max))
            )
            for k in range(self.mean.size)
        )
        return reduce(Moments.__add__, parts)

    @property
    def std(self) -> Double:
        """Standard deviation of the population; nan without a sample."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.squares / np.where(self.count > 0, self.count, np.nan))


def positive_moments(values: NDArray[np.floating]) -> Moments:
    """Count and mean of the values above the threshold, per level; no other moment."""
    data = np.asarray(values, dtype=np.float64)
    above = data > POSITIVE_THRESHOLD
    count = above.sum(axis=0).astype(np.float64)
    mean = np.where(above, data, 0.0).sum(axis=0) / np.maximum(count, 1)
    zero = np.zeros_like(mean)
    return Moments(count, mean, zero, zero, zero)
