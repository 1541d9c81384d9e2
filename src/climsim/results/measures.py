"""A score of one variable, as the saved metrics name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray

from climsim.evaluation.metrics import capped_mean
from climsim.evaluation.score import Score, score_of
from climsim.results.quantities import Quantity, quantity


@dataclass(frozen=True)
class Measure:
    """A score of one variable.

    Attributes:
        score: name of the score, such as ``rmse_mean``.
        variable: name of the quantity that it is of, such as ``T``.
    """

    score: str
    variable: str

    @property
    def key(self) -> str:
        """Name of the saved variable."""
        return f"{self.score}_{self.variable}"

    @property
    def quantity(self) -> Quantity:
        """How the variable is written."""
        return quantity(self.variable)

    @property
    def definition(self) -> Score[Any] | None:
        """What is registered under its name; None for what is not (any more)."""
        return score_of(self.score, self.variable)

    @property
    def dimensionless(self) -> bool:
        """Whether its values have no unit, whatever the variable."""
        return self.definition is not None and self.definition.units == "1"

    @property
    def unit(self) -> str:
        """Unit on the axis."""
        return "1" if self.dimensionless else self.quantity.unit

    @property
    def label(self) -> str:
        """What an axis of its values is called, with the unit."""
        name = score_label(self.score)
        return name if self.dimensionless else f"{name} ({self.unit})"

    def shown(self, data: xarray.Dataset) -> xarray.DataArray:
        """Saved values in the display unit of the variable."""
        return self.in_display_unit(data[self.key])

    def in_display_unit(self, values: xarray.DataArray) -> xarray.DataArray:
        """Values in the display unit of the variable; those without a unit as they are."""
        return values if self.dimensionless else self.quantity.shown(values)

    def known(self, data: xarray.Dataset) -> bool:
        """Whether it is saved and finite anywhere."""
        return self.key in data and bool(np.isfinite(data[self.key].values).any())


def mean_skill(scores: xarray.DataArray, errors: xarray.DataArray) -> float:
    """Mean of R2 over the levels on which the truth has variance, negative values as 0.

    Args:
        scores: (level,) R2, or one value.
        errors: RMSE or bias of the same: a number where R2 has no meaning, NaN where predictions
            were none, which makes the mean NaN.
    """
    undefined = np.isnan(scores.values) & np.isfinite(errors.values)
    return capped_mean(scores.values, undefined)


def score_label(score: str) -> str:
    """What axes and headings call a score, whatever it is of.

    Args:
        score: name of the score, such as ``rmse_mean``.
    """
    definition = score_of(score)
    return definition.label if definition is not None and definition.label else score
