"""Distributions of precipitation as mergeable histograms weighted by area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.constants import MM_PER_DAY
from climsim.evaluation.regions import SURFACES

EDGES: Final = np.concatenate([[0.0], 10.0 ** np.linspace(-2, 3, 51), [np.inf]])
"""Edges of the bins [mm/day]: 10 a decade from 0.01 to 1000, one below, one above."""
STEPS: Final = np.arange(-2.0, 180.0, 4.0)
"""Edges of the bins of the density [mm/day]: -2 to 178 in steps of 4, as in the paper."""
QUANTILES: Final = (0.5, 0.9, 0.99, 0.999, 0.9999)
"""Quantiles of the tails [1]."""


@dataclass(frozen=True)
class PrecipitationCounts:
    """Area-weighted histogram by surface type, merged by ``+``.

    Attributes:
        weight: (surface, bin) sum of areas.
        amount: (surface, bin) sum of area times precipitation [mm/day].
        largest: (surface,) largest value [mm/day]; -inf without samples.
        stepped: (surface, step) sum of areas times surface fractions in the bins of `STEPS`.
    """

    weight: Array
    amount: Array
    largest: Array
    stepped: Array

    @classmethod
    def zero(cls) -> PrecipitationCounts:
        """The histogram of no samples."""
        shape, steps = (len(SURFACES), EDGES.size - 1), (len(SURFACES), STEPS.size - 1)
        nothing = np.full(len(SURFACES), -np.inf)
        return cls(np.zeros(shape), np.zeros(shape), nothing, np.zeros(steps))

    @classmethod
    def of(
        cls, rate: Array, area: Array, surfaces: NDArray[np.bool_], weights: Array
    ) -> PrecipitationCounts:
        """Histogram of one field.

        Args:
            rate: (column,) precipitation [m s-1]; negative values count as 0 but in the density.
            area: (column,).
            surfaces: (surface, column) which columns count as which type.
            weights: (surface, column) area times surface fraction, for the density.
        """
        stepped = [np.histogram(rate * MM_PER_DAY, STEPS, weights=row)[0] for row in weights]
        value = np.maximum(rate, 0.0) * MM_PER_DAY
        bins = np.searchsorted(EDGES[1:-1], value, side="right")
        n = EDGES.size - 1

        def count(weights: Array) -> Array:
            return np.bincount(bins, weights, minlength=n).astype(np.float64)

        weight = np.stack([count(area * member) for member in surfaces])
        amount = np.stack([count(area * member * value) for member in surfaces])
        largest = np.where(surfaces, value, -np.inf).max(axis=1)
        return cls(weight, amount, largest, np.stack(stepped))

    def __add__(self, other: PrecipitationCounts) -> PrecipitationCounts:
        return PrecipitationCounts(
            self.weight + other.weight,
            self.amount + other.amount,
            np.maximum(self.largest, other.largest),
            self.stepped + other.stepped,
        )

    def frequency(self) -> Array:
        """Fraction of area and time in each bin (surface, bin); NaN where a type has no area."""
        total = self.weight.sum(axis=1, keepdims=True)
        return np.where(total > 0, self.weight / np.where(total > 0, total, 1.0), np.nan)

    def density(self) -> Array:
        """Density (surface, step) of the samples within `STEPS` [(mm/day)-1]; NaN without any."""
        total = self.stepped.sum(axis=1, keepdims=True) * np.diff(STEPS)
        return np.where(total > 0, self.stepped / np.where(total > 0, total, 1.0), np.nan)

    def quantiles(self) -> Array:
        """Precipitation at `QUANTILES` (surface, quantile) [mm/day], log-linear within a bin."""
        frequency = self.frequency()
        result = np.full((len(SURFACES), len(QUANTILES)), np.nan)
        for i, row in enumerate(frequency):
            if np.isfinite(row).all():
                result[i] = [self._quantile(row, q, self.largest[i]) for q in QUANTILES]
        return result

    @staticmethod
    def _quantile(frequency: Array, quantile: float, largest: float) -> float:
        cumulated = np.cumsum(frequency)
        bin_ = min(int(np.searchsorted(cumulated, quantile)), frequency.size - 1)
        inside = (quantile - (cumulated[bin_] - frequency[bin_])) / max(frequency[bin_], 1e-300)
        low, high = max(EDGES[bin_], 1e-3), min(EDGES[bin_ + 1], largest)
        if high <= low:
            return float(high)
        return float(low * (high / low) ** np.clip(inside, 0, 1))
