"""Columns of air: the mass of their layers, and integrals over it."""

from __future__ import annotations

from dataclasses import dataclass

from climsim.arrays import Array, namespace
from climsim.constants import PhysicalConstants


def layer_mass(interfaces: Array, constants: PhysicalConstants) -> Array:
    """Mass of each layer per area ``dp / g``.

    Args:
        interfaces: (..., level + 1, column) pressure [Pa], level 0 at the top.
        constants: of the model that the columns are of.

    Returns:
        (..., level, column) [kg m-2].
    """
    mass: Array = interfaces[..., 1:, :] - interfaces[..., :-1, :]
    mass /= constants.gravity
    return mass


@dataclass(frozen=True)
class Columns:
    """What integrals over columns need; `between` makes them from pressures.

    Attributes:
        mass: (..., level, column) or (..., column, level) ``dp / g`` [kg m-2].
        constants: of the model that the columns are of.
        level_axis: axis of the levels in the mass and in every profile that is integrated.
    """

    mass: Array
    constants: PhysicalConstants
    level_axis: int = -2

    @classmethod
    def between(cls, interfaces: Array, constants: PhysicalConstants) -> Columns:
        """Columns (..., level, column); see `layer_mass` for the arguments."""
        return cls(layer_mass(interfaces, constants), constants)

    def levels_last(self) -> Columns:
        """The same columns for profiles (..., column, level)."""
        moved = namespace(self.mass).moveaxis(self.mass, self.level_axis, -1)
        return Columns(moved, self.constants, -1)

    def integral(self, profiles: Array) -> Array:
        """Column integral ``sum(x dp / g)``, (..., column) [unit of the profiles kg m-2]."""
        return (profiles * self.mass).sum(axis=self.level_axis)
