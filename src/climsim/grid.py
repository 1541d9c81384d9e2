"""The column grid and the hybrid vertical coordinate, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climsim.arrays import Array, Constant, Double, Fields, as_array, namespace
from climsim.constants import REFERENCE_PRESSURE
from climsim.errors import ClimSimError

GRID_AXES = {
    "lat": "column",
    "lon": "column",
    "area": "column",
    "hyam": "level",
    "hybm": "level",
    "hyai": "interface",
    "hybi": "interface",
}
"""Fields of a grid and their axes, in the order in which files hold them."""
_POLE = 90.0 + 1e-6
"""Largest latitude, with room for rounding [degrees]."""
_REFERENCE_PRESSURES = (5.0e4, 2.0e5)
"""Between these lies the reference pressure of any Earth-like model [Pa]."""


@dataclass(frozen=True)
class ColumnGrid:
    """Where the columns lie and how pressure follows from surface pressure.

    Attributes:
        lat: (column,) latitude [degrees north].
        lon: (column,) longitude [degrees east].
        area: (column,) area [steradian].
        hyam: (level,) hybrid A coefficient at midpoints [1], level 0 at the model top.
        hybm: (level,) hybrid B coefficient at midpoints [1].
        hyai: (level + 1,) hybrid A coefficient at interfaces [1].
        hybi: (level + 1,) hybrid B coefficient at interfaces [1].
        p0: reference pressure [Pa].
    """

    lat: Array
    lon: Array
    area: Array
    hyam: Array
    hybm: Array
    hyai: Array
    hybi: Array
    p0: float = REFERENCE_PRESSURE

    def __post_init__(self) -> None:
        for name in GRID_AXES:
            value = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, value)
            if value.ndim != 1 or not np.isfinite(value).all():
                raise ClimSimError(
                    f"grid: {name}: expected a vector of finite numbers, found shape {value.shape}"
                )
        columns = {self.lat.size, self.lon.size, self.area.size}
        if len(columns) != 1:
            raise ClimSimError(
                f"grid: expected lat, lon and area of one length, found {sorted(columns)}"
            )
        n = self.hyam.size
        if self.hybm.size != n or self.hyai.size != n + 1 or self.hybi.size != n + 1:
            raise ClimSimError(
                f"grid: expected {n} midpoints and {n + 1} interfaces, found hybm "
                f"{self.hybm.size}, hyai {self.hyai.size}, hybi {self.hybi.size}"
            )
        if (self.area <= 0).any():
            raise ClimSimError(f"grid: area: expected positive numbers, found {self.area.min():g}")
        self._check_values()

    def _check_values(self) -> None:
        """Refuse values that no latitude, reference pressure or order of levels has."""
        furthest = np.abs(self.lat).max()
        if furthest > _POLE:
            raise ClimSimError(
                f"grid: lat: expected -90 to 90 degrees, found {furthest:g}: are lat and lon "
                "swapped?"
            )
        low, high = _REFERENCE_PRESSURES
        if not low <= self.p0 <= high:
            raise ClimSimError(
                f"grid: P0 is {self.p0:g}, expected about {REFERENCE_PRESSURE:g} Pa: is it in hPa?"
            )
        for a, b in (("hyam", "hybm"), ("hyai", "hybi")):
            if (np.diff(getattr(self, a) + getattr(self, b)) <= 0).any():
                raise ClimSimError(
                    f"grid: expected {a} + {b} to increase with level, from the model top to the "
                    "surface, found a decrease: are the levels upside down?"
                )

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.lat.size

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return self.hyam.size

    def midpoint_pressure(self, surface_pressure: Array) -> Array:
        """Pressure at midpoints ``hyam P0 + hybm ps`` [Pa].

        Args:
            surface_pressure: (..., column) [Pa].

        Returns:
            (..., level, column) [Pa].
        """
        return self._pressure_of_midpoints(surface_pressure)

    def interface_pressure(self, surface_pressure: Array) -> Array:
        """Pressure at interfaces, (..., level + 1, column) [Pa]; see `midpoint_pressure`."""
        return self._pressure_of_interfaces(surface_pressure)

    @cached_property
    def _pressure_of_midpoints(self) -> _HybridPressure:
        return _HybridPressure.of(self.hyam, self.hybm, self.p0)

    @cached_property
    def _pressure_of_interfaces(self) -> _HybridPressure:
        return _HybridPressure.of(self.hyai, self.hybi, self.p0)

    @cached_property
    def _places(self) -> dict[str, Constant]:
        return {name: Constant(values) for name, values in place_features(self.lat).items()}

    def places(self, members: int, other: Array) -> Fields:
        """What a network sees of where columns lie, see `place_features`.

        Args:
            members: of a climate model, whose columns lie side by side.
            other: an array of the library and on the device where the features are wanted.

        Returns:
            (member x column,) by name.
        """
        xp = namespace(other)
        there = {name: values.like(other) for name, values in self._places.items()}
        return {name: xp.tile(values, (members,)) for name, values in there.items()}

    def area_weights(self) -> Array:
        """Column areas divided by their mean, (column,) [1]."""
        return self.area / self.area.mean()


def place_features(latitude: Array) -> dict[str, Double]:
    """What a network sees of where columns lie.

    Args:
        latitude: (column,) [degrees north].

    Returns:
        ``clat`` and ``slat`` [1], cosine and sine of the latitude; ``icol``, the number of the
        column from 1.
    """
    radians = np.deg2rad(latitude)
    numbers = np.arange(1, np.size(latitude) + 1, dtype=np.float64)
    return {"clat": np.cos(radians), "slat": np.sin(radians), "icol": numbers}


@dataclass(frozen=True)
class _HybridPressure:
    """Pressure ``A P0 + B ps`` on some levels."""

    constant: Constant
    share: Constant

    @classmethod
    def of(cls, a: Array, b: Array, p0: float) -> _HybridPressure:
        return cls(Constant(a[:, None] * p0), Constant(b[:, None]))

    def __call__(self, surface_pressure: Array) -> Array:
        ps = as_array(surface_pressure)[..., None, :]
        pressure: Array = self.share.like(ps) * ps
        pressure += self.constant.like(ps)
        return pressure
