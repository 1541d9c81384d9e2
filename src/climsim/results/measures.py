"""A score of one variable, as the saved metrics name it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray

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

    def shown(self, data: xarray.Dataset) -> xarray.DataArray:
        """Saved values in the display unit of the variable."""
        return self.quantity.shown(data[self.key])

    def known(self, data: xarray.Dataset) -> bool:
        """Whether it is saved and finite anywhere."""
        return self.key in data and bool(np.isfinite(data[self.key].values).any())
