"""How far the inputs of a column lie from those that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from climsim.arrays import Array, Constant, double
from climsim.data.statistics.statistics import Statistics, VariableStatistics
from climsim.errors import ClimSimError
from climsim.interfaces import Interface


@dataclass(frozen=True)
class Novelty:
    """The mean squared distance from the mean, in standard deviations.

    It is the square of Mahalanobis' distance with a diagonal covariance, over the number of
    features; over training data its mean is 1. Features that never varied are left out.

    Attributes:
        mean: (feature,) of the training data.
        std: (feature,) of the training data.
    """

    mean: Array
    std: Array

    @classmethod
    def of(
        cls, statistics: Mapping[str, VariableStatistics], interface: Interface, levels: int
    ) -> Novelty:
        """Lay statistics out as the vectors of an interface."""
        slices = interface.variables.slices(levels)
        mean, std = (np.empty(interface.variables.size(levels)) for _ in range(2))
        for name, where in slices.items():
            mean[where], std[where] = statistics[name].mean, statistics[name].std
        return cls(mean, std)

    @classmethod
    def from_file(cls, path: Path, interface: Interface, levels: int) -> Novelty:
        """Read statistics and lay them out.

        Raises:
            ClimSimError: if they lack a variable of the interface or have other levels.
        """
        statistics = Statistics.open(path)
        if statistics.n_levels != levels:
            raise ClimSimError(
                f"coupler.mixing_statistics={path}: expected statistics on {levels} levels, as the "
                f"host has, found {statistics.n_levels}: give those that the model was trained with"
            )
        missing = [name for name in interface.variables.names if name not in statistics]
        if missing:
            raise ClimSimError(
                f"coupler.mixing_statistics={path}: expected every input of the interface "
                f"{interface.name}, found no {', '.join(missing[:3])}: make them from a store "
                "with all variables"
            )
        return cls.of(statistics, interface, levels)

    def __call__(self, vector: Array) -> Array:
        """Novelty of each column, (column,) float64.

        Args:
            vector: (column, feature) that the model takes.
        """
        values = double(vector)
        varied, mean, std = (constant.like(values) for constant in self._varied)
        squares: Array = ((values[:, varied] - mean) / std) ** 2
        return squares.mean(axis=1)

    @cached_property
    def _varied(self) -> tuple[Constant, Constant, Constant]:
        """Which features varied, their means and standard deviations."""
        varied = np.flatnonzero(self.std > 0)
        return Constant(varied), Constant(self.mean[varied]), Constant(self.std[varied])
