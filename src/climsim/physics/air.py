"""The air of the columns of one state: pressures, masses and heights of its layers, each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from climsim.arrays import Array, double
from climsim.constants import PhysicalConstants
from climsim.grid import ColumnGrid
from climsim.physics.columns import Columns
from climsim.physics.thermodynamics import midpoint_heights


@dataclass(frozen=True)
class Air:
    """Air in columns; what follows from it is computed when it is first asked for, and kept.

    Attributes:
        interfaces: (level + 1, column) pressure [Pa], level 0 at the top, in double precision.
        temperature: (level, column) [K].
        humidity: (level, column) [kg kg-1].
        constants: of the model that the columns are of.
    """

    interfaces: Array
    temperature: Array
    humidity: Array
    constants: PhysicalConstants

    @classmethod
    def of(cls, inputs: Mapping[str, Array], grid: ColumnGrid, constants: PhysicalConstants) -> Air:
        """The air of a state.

        Args:
            inputs: state before physics, profiles (level, column) and ``state_ps`` (column,), of
                one or more members side by side.
            grid: has their levels.
            constants: of the model.
        """
        interfaces = grid.interface_pressure(double(inputs["state_ps"]))
        return cls(interfaces, inputs["state_t"], inputs["state_q0001"], constants)

    @cached_property
    def columns(self) -> Columns:
        """Masses of the layers, for integrals."""
        return Columns.between(self.interfaces, self.constants)

    @cached_property
    def heights(self) -> Array:
        """Height of layer midpoints above the surface, (level, column) [m]."""
        return midpoint_heights(self.temperature, self.humidity, self.interfaces, self.constants)

    def with_copies(self, inputs: Mapping[str, Array]) -> Air:
        """The same air, with all that was computed of it, from copies of its state."""
        copied = replace(self, temperature=inputs["state_t"], humidity=inputs["state_q0001"])
        for name in {"columns", "heights"} & vars(self).keys():
            vars(copied)[name] = vars(self)[name]
        return copied
