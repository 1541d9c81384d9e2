"""Everything that one pass of offline evaluation accumulates, merged by ``+``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from climsim.evaluation.confidence import ConfidenceStatistics
from climsim.evaluation.metrics import PairStatistics, crps_ensemble
from climsim.evaluation.non_finite import NonFinite
from climsim.evaluation.outputs import SCORED, with_condensate
from climsim.evaluation.regions import SURFACE_TYPES
from climsim.grid import ColumnGrid
from climsim.physics.budgets import (
    column_water_residual,
    energy_weight,
    implied_top_radiation,
)
from climsim.variables import OUTPUTS, variable

Array = NDArray[np.floating]

BUDGETS: Final = ("water_residual", "implied_top_radiation")
"""Column budgets that are compared, in order."""
PRECIPITATION_EDGES: Final = np.concatenate(
    [[-np.inf], 10.0 ** np.linspace(-12, -5, 351), [np.inf]]
)
"""Edges of the bins of precipitation from which percentiles are formed [m s-1], 50 a decade."""


@dataclass(frozen=True)
class Block:
    """Pairs of truth and prediction of some steps.

    Attributes:
        truth: (time, column, feature) in the layout of `OUTPUTS`, physical units.
        prediction: likewise.
        surface_pressure: (time, column) [Pa].
        longwave_up: (time, column) upward longwave flux at the surface [W m-2].
        surfaces: (surface, time, column) which samples lie on each of `SURFACE_TYPES`; None if
            unknown.
        confidence: sums of predicted and true loss; None without a confidence head.
        members: (member, time, column, feature) predictions of an ensemble whose mean is
            ``prediction``; None for a single model.
        non_finite: counts of values that are no finite number; None if unknown.
    """

    truth: Array
    prediction: Array
    surface_pressure: Array
    longwave_up: Array
    surfaces: NDArray[np.bool_] | None = None
    confidence: ConfidenceStatistics | None = None
    members: Array | None = None
    non_finite: NonFinite | None = None


@dataclass(frozen=True)
class Accumulator:
    """Mergeable state of an offline evaluation.

    Attributes:
        outputs: statistics (column, feature) of `SCORED` in physical units.
        energy: statistics (column, feature) weighted to W/m2 of an average column.
        budgets: statistics (column, budget) of `BUDGETS`.
        surfaces: statistics (surface, feature) of `SURFACE_TYPES` in physical units.
        rain_count: (bin,) samples in each bin of true precipitation.
        rain_truth: (bin, feature) sum of the truth in it.
        rain_error: (bin, feature) sum of the errors in it.
        steps: number of time steps.
        confidence: sums of predicted and true loss; None without a confidence head.
        ensemble: (2, feature) sums of the CRPS and of the ensemble's variance; None for a single
            model.
        non_finite: counts of values that are no finite number; None if unknown.
    """

    outputs: PairStatistics
    energy: PairStatistics
    budgets: PairStatistics
    surfaces: PairStatistics
    rain_count: Array
    rain_truth: Array
    rain_error: Array
    steps: int
    confidence: ConfidenceStatistics | None = None
    ensemble: Array | None = None
    non_finite: NonFinite | None = None

    @classmethod
    def empty(cls, columns: int, levels: int) -> Accumulator:
        """The state before the first block."""
        size = SCORED.size(levels)
        bins = PRECIPITATION_EDGES.size - 1
        return cls(
            PairStatistics.zero((columns, size)),
            PairStatistics.zero((columns, size)),
            PairStatistics.zero((columns, len(BUDGETS))),
            PairStatistics.zero((len(SURFACE_TYPES), size)),
            np.zeros(bins),
            np.zeros((bins, size)),
            np.zeros((bins, size)),
            0,
        )

    @classmethod
    def of(cls, block: Block, grid: ColumnGrid) -> Accumulator:
        """The state of one block."""
        mass = np.moveaxis(grid.layer_mass(block.surface_pressure), -2, -1)
        weight = _energy_weights(mass, grid.area_weights())
        truth, prediction = (
            with_condensate(x, grid.n_levels) for x in (block.truth, block.prediction)
        )
        rain = truth[..., OUTPUTS.slice("cam_out_PRECC", grid.n_levels).start]
        count, truth_sum, error_sum = _by_precipitation(rain, truth, prediction)
        return cls(
            PairStatistics.of(truth, prediction),
            PairStatistics.of(truth * weight, prediction * weight),
            PairStatistics.of(
                _budgets(truth, mass, block.longwave_up),
                _budgets(prediction, mass, block.longwave_up),
            ),
            _by_surface(truth, prediction, block.surfaces),
            count,
            truth_sum,
            error_sum,
            truth.shape[0],
            block.confidence,
            None
            if block.members is None
            else _ensemble(truth, with_condensate(block.members, grid.n_levels)),
            block.non_finite,
        )

    def __add__(self, other: Accumulator) -> Accumulator:
        return Accumulator(
            self.outputs + other.outputs,
            self.energy + other.energy,
            self.budgets + other.budgets,
            self.surfaces + other.surfaces,
            self.rain_count + other.rain_count,
            self.rain_truth + other.rain_truth,
            self.rain_error + other.rain_error,
            self.steps + other.steps,
            _merged(self.confidence, other.confidence),
            _merged(self.ensemble, other.ensemble),
            _merged(self.non_finite, other.non_finite),
        )


def _merged(first: Any, second: Any) -> Any:
    """Sum of what both have; a state without samples has nothing to add."""
    if first is None:
        return second
    return first if second is None else first + second


def _ensemble(truth: Array, members: Array) -> Array:
    """Sums over samples of the CRPS and of the variance over members (2, feature)."""
    score = crps_ensemble(truth, members)
    variance = members.astype(np.float64).var(axis=0)
    return np.stack([score.sum(axis=(0, 1)), variance.sum(axis=(0, 1))])


def _energy_weights(mass: Array, area_weight: Array) -> Array:
    """Factors (time, column, feature) of ClimSim's weighting for every output."""
    levels = mass.shape[-1]
    weights = np.empty((*mass.shape[:2], SCORED.size(levels)))
    for name, where in SCORED.slices(levels).items():
        factor = energy_weight(name, mass, area_weight)
        weights[..., where] = factor if variable(name).profile else factor[:, None]
    return weights


def _budgets(outputs: Array, mass: Array, longwave_up: Array) -> Array:
    """Budgets (time, column, budget) of a vector of outputs."""
    fields = {
        name: outputs[..., where].astype(np.float64)
        if variable(name).profile
        else outputs[..., where.start].astype(np.float64)
        for name, where in OUTPUTS.slices(mass.shape[-1]).items()
    }
    return np.stack(
        [column_water_residual(fields, mass), implied_top_radiation(fields, mass, longwave_up)],
        axis=-1,
    )


def _by_surface(
    truth: Array, prediction: Array, surfaces: NDArray[np.bool_] | None
) -> PairStatistics:
    """Statistics (surface, feature) of the samples on each surface type; empty where unknown."""
    size = truth.shape[-1]
    if surfaces is None:
        return PairStatistics.zero((len(SURFACE_TYPES), size))
    parts = [
        PairStatistics.of(truth[chosen], prediction[chosen])
        if chosen.any()
        else PairStatistics.zero((size,))
        for chosen in surfaces
    ]
    return PairStatistics.stack(parts)


def _by_precipitation(rain: Array, truth: Array, prediction: Array) -> tuple[Array, Array, Array]:
    """Samples, and sums of truth and error, in each bin of true precipitation (time, column)."""
    size = truth.shape[-1]
    bins = np.searchsorted(PRECIPITATION_EDGES[1:-1], rain.ravel(), side="right")
    n_bins = PRECIPITATION_EDGES.size - 1
    # A sparse sum: most samples share few bins, and a loop over bins would read the data 350 times.
    samples = np.arange(rain.size)
    choose = sparse.csr_matrix((np.ones(rain.size), (bins, samples)), shape=(n_bins, rain.size))
    sums, guesses = (choose @ x.reshape(-1, size) for x in (truth, prediction))
    return np.bincount(bins, minlength=n_bins).astype(np.float64), sums, guesses - sums
