"""One block of offline evaluation, and the statistics that its scores are formulas on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from climsim.arrays import Array
from climsim.constants import E3SM
from climsim.evaluation.confidence import ConfidenceStatistics
from climsim.evaluation.metrics import CRPS_PAIRS, PairStatistics, crps_ensemble
from climsim.evaluation.non_finite import NonFinite
from climsim.evaluation.outputs import SCORED, with_condensate
from climsim.evaluation.regions import SURFACE_TYPES
from climsim.evaluation.sums import Statistic, Sums
from climsim.grid import ColumnGrid
from climsim.physics.budgets import (
    column_water_residual,
    energy_weight,
    implied_top_radiation,
)
from climsim.physics.columns import Columns
from climsim.variables import OUTPUTS, variable

BUDGETS: Final = ("water_residual", "implied_top_radiation")
"""Column budgets that are compared, in order."""
PRECIPITATION_EDGES: Final = np.concatenate(
    [[-np.inf], 10.0 ** np.linspace(-12, -5, 351), [np.inf]]
)
"""Edges of the bins of precipitation from which percentiles are formed [m s-1], 50 a decade."""
PREDICTED_EDGES: Final = np.concatenate([[-np.inf], 10.0 ** np.linspace(-12, -5, 1401), [np.inf]])
"""Those of predicted precipitation, of which the first is no rain [m s-1], 200 a decade."""


@dataclass(frozen=True)
class Block:
    """Pairs of truth and prediction of some steps.

    Attributes:
        grid: the columns and levels.
        truth: (time, column, feature) in the layout of `OUTPUTS`, physical units.
        prediction: likewise.
        surface_pressure: (time, column) [Pa].
        longwave_up: (time, column) upward longwave flux at the surface [W m-2].
        surfaces: (surface, time, column) which samples lie on each of `SURFACE_TYPES`; None if
            unknown.
        losses: predicted and true loss (time, column, target feature) in units of the training
            loss; None without a confidence head.
        members: (member, time, column, feature) predictions of an ensemble whose mean is
            ``prediction``; None for a single model.
        non_finite: counts of values that are no finite number; None if unknown.
    """

    grid: ColumnGrid
    truth: Array
    prediction: Array
    surface_pressure: Array
    longwave_up: Array
    surfaces: NDArray[np.bool_] | None = None
    losses: tuple[Array, Array] | None = None
    members: Array | None = None
    non_finite: NonFinite | None = None

    @cached_property
    def air(self) -> Columns:
        """The columns (time, column, level), with E3SM's constants as in the papers' scores."""
        interfaces = self.grid.interface_pressure(self.surface_pressure)
        return Columns.between(interfaces, E3SM).levels_last()

    @cached_property
    def scored_truth(self) -> Array:
        """The truth (time, column, feature) in the layout of `SCORED`."""
        return with_condensate(self.truth, self.grid.n_levels)

    @cached_property
    def scored_prediction(self) -> Array:
        """The prediction, likewise."""
        return with_condensate(self.prediction, self.grid.n_levels)


@dataclass(frozen=True)
class Steps(Sums):
    """Number of time steps.

    Attributes:
        count: steps of all columns.
    """

    count: int


@dataclass(frozen=True)
class RainStatistics(Sums):
    """Sums in each bin of true precipitation.

    Attributes:
        count: (bin,) samples.
        truth: (bin, feature) sum of the truth.
        error: (bin, feature) sum of the errors.
    """

    count: Array
    truth: Array
    error: Array


@dataclass(frozen=True)
class PredictedRainStatistics(Sums):
    """Sums in each bin of predicted precipitation.

    Attributes:
        count: (bin,) samples.
        weight: (bin,) sum of the areas of their columns.
        error: (bin, feature) sum of area times error.
    """

    count: Array
    weight: Array
    error: Array


@dataclass(frozen=True)
class LossSums(Sums):
    """Sums of losses over time.

    Attributes:
        count: steps.
        predicted: (column, target feature) sum of the predicted loss.
        true: (column, target feature) sum of the true loss.
    """

    count: int
    predicted: Array
    true: Array


@dataclass(frozen=True)
class EnsembleStatistics(Sums):
    """Sums over the samples of an ensemble.

    Attributes:
        count: samples.
        crps: (estimator, feature) sum of the continuous ranked probability score by each of
            `CRPS_PAIRS`.
        variance: (feature,) sum of the variance over members.
    """

    count: int
    crps: Array
    variance: Array


BlockStatistic = Statistic[Block, PairStatistics]


def _outputs(block: Block) -> PairStatistics:
    return PairStatistics.of(block.scored_truth, block.scored_prediction)


def _energy(block: Block) -> PairStatistics:
    weight = _energy_weights(block.air, block.grid.area_weights())
    return PairStatistics.of(block.scored_truth * weight, block.scored_prediction * weight)


def _energy_weights(air: Columns, area_weight: Array) -> Array:
    """Factors (time, column, feature) of ClimSim's weighting for every output."""
    levels = air.mass.shape[-1]
    weights = np.empty((*air.mass.shape[:2], SCORED.size(levels)))
    for name, where in SCORED.slices(levels).items():
        factor = energy_weight(name, air, area_weight)
        weights[..., where] = factor if variable(name).profile else factor[:, None]
    return weights


def _column_budgets(block: Block) -> PairStatistics:
    air, longwave_up = block.air, block.longwave_up
    return PairStatistics.of(
        _budgets(block.truth, air, longwave_up), _budgets(block.prediction, air, longwave_up)
    )


def _budgets(outputs: Array, air: Columns, longwave_up: Array) -> Array:
    """Budgets (time, column, budget) of a vector of outputs."""
    fields = {
        name: outputs[..., where].astype(np.float64)
        if variable(name).profile
        else outputs[..., where.start].astype(np.float64)
        for name, where in OUTPUTS.slices(air.mass.shape[-1]).items()
    }
    return np.stack(
        [column_water_residual(fields, air), implied_top_radiation(fields, air, longwave_up)],
        axis=-1,
    )


def _by_surface(block: Block) -> PairStatistics:
    """Statistics (surface, feature) of the samples on each surface type; empty where unknown."""
    truth, prediction, surfaces = block.scored_truth, block.scored_prediction, block.surfaces
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


def _by_precipitation(block: Block) -> RainStatistics:
    levels = block.grid.n_levels
    rain = block.truth[..., OUTPUTS.slice("cam_out_PRECC", levels).start]
    size = block.scored_truth.shape[-1]
    bins = np.searchsorted(PRECIPITATION_EDGES[1:-1], rain.ravel(), side="right")
    n_bins = PRECIPITATION_EDGES.size - 1
    # A sparse sum: most samples share few bins, and a loop over bins would read the data 350 times.
    samples = np.arange(rain.size)
    choose = sparse.csr_matrix((np.ones(rain.size), (bins, samples)), shape=(n_bins, rain.size))
    truth, prediction = (
        choose @ x.reshape(-1, size) for x in (block.scored_truth, block.scored_prediction)
    )
    count = np.bincount(bins, minlength=n_bins).astype(np.float64)
    return RainStatistics(count, truth, prediction - truth)


def _by_predicted_precipitation(block: Block) -> PredictedRainStatistics:
    levels = block.grid.n_levels
    rain = block.prediction[..., OUTPUTS.slice("cam_out_PRECC", levels).start]
    bins = np.searchsorted(PREDICTED_EDGES[1:-1], rain.ravel(), side="right")
    shape = (PREDICTED_EDGES.size - 1, rain.size)
    area = np.broadcast_to(block.grid.area, rain.shape).ravel()
    weigh = sparse.csr_matrix((area, (bins, np.arange(rain.size))), shape=shape)
    error = block.scored_prediction.astype(np.float64) - block.scored_truth
    # Sorted behind the heaviest rain, where its errors must not count as those of a prediction.
    error[np.isnan(rain)] = np.nan
    count = np.bincount(bins, minlength=shape[0]).astype(np.float64)
    weight = np.bincount(bins, area, minlength=shape[0]).astype(np.float64)
    return PredictedRainStatistics(count, weight, weigh @ error.reshape(rain.size, -1))


def _ensemble(block: Block) -> EnsembleStatistics | None:
    if block.members is None:
        return None
    members = with_condensate(block.members, block.grid.n_levels)
    truth = block.scored_truth
    scores = np.stack([crps_ensemble(truth, members, name).sum(axis=(0, 1)) for name in CRPS_PAIRS])
    variance = members.astype(np.float64).var(axis=0)
    count = truth.shape[0] * truth.shape[1]
    return EnsembleStatistics(count, scores, variance.sum(axis=(0, 1)))


OUTPUT_PAIRS: Final = BlockStatistic("outputs", _outputs)
"""(column, feature) of `SCORED` in physical units."""
ENERGY_PAIRS: Final = BlockStatistic("energy", _energy)
"""(column, feature) of `SCORED`, weighted to W/m2 of an average column."""
BUDGET_PAIRS: Final = BlockStatistic("budgets", _column_budgets)
"""(column, budget) of `BUDGETS`."""
SURFACE_PAIRS: Final = BlockStatistic("surfaces", _by_surface)
"""(surface, feature) of `SURFACE_TYPES` in physical units."""
RAIN: Final[Statistic[Block, RainStatistics]] = Statistic("rain", _by_precipitation)
"""By bin of the true precipitation."""
PREDICTED_RAIN: Final[Statistic[Block, PredictedRainStatistics]] = Statistic(
    "predicted rain", _by_predicted_precipitation
)
"""By bin of the predicted precipitation."""
ENSEMBLE: Final[Statistic[Block, EnsembleStatistics]] = Statistic("ensemble", _ensemble)
"""Of ensembles only."""


def _confidence(block: Block) -> ConfidenceStatistics | None:
    if block.losses is None:
        return None
    return ConfidenceStatistics.of(*block.losses, block.grid.n_levels)


def _losses_by_column(block: Block) -> LossSums | None:
    if block.losses is None:
        return None
    predicted, true = (loss.astype(np.float64).sum(axis=0) for loss in block.losses)
    return LossSums(block.truth.shape[0], predicted, true)


def _non_finite(block: Block) -> NonFinite | None:
    return block.non_finite


def _steps(block: Block) -> Steps:
    return Steps(block.truth.shape[0])


CONFIDENCE: Final[Statistic[Block, ConfidenceStatistics]] = Statistic("confidence", _confidence)
"""Of models with a confidence head only."""
LOSSES: Final[Statistic[Block, LossSums]] = Statistic("losses by column", _losses_by_column)
"""Of models with a confidence head only."""
NON_FINITE: Final[Statistic[Block, NonFinite]] = Statistic("non_finite", _non_finite)
"""Of values that are no finite number; no score."""
STEPS: Final[Statistic[Block, Steps]] = Statistic("steps", _steps)
"""Of time steps; no score."""
