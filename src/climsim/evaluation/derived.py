"""Fields that follow from those of one mean of a history file."""

from __future__ import annotations

from typing import Final

import numpy as np

from climsim.arrays import Array, Fields
from climsim.constants import E3SM
from climsim.evaluation.definitions import WMO
from climsim.evaluation.regions import SURFACES, zonal_mean
from climsim.evaluation.tropopause import lapse_rate_tropopause
from climsim.grid import ColumnGrid
from climsim.physics.thermodynamics import midpoint_heights, tropopause_level

CONDENSATE_TENDENCY: Final = "DQnPHYS"
"""Physics tendency of liquid plus ice."""
CLOUD: Final = "TOTCLD"
"""Cloud liquid plus ice."""
RAIN_BY_SURFACE: Final = "PRECT by surface"
"""(surface, latitude) zonal mean of precipitation over each surface type [m s-1]."""
TROPOPAUSE: Final = "tropopause"
"""(column,) pressure of the tropopause [Pa]."""
FRACTIONS: Final = ("LANDFRAC", "OCNFRAC", "ICEFRAC")
PARTS: Final[dict[str, tuple[str, str]]] = {
    CONDENSATE_TENDENCY: ("DQ2PHYS", "DQ3PHYS"),
    CLOUD: ("CLDLIQ", "CLDICE"),
    "PRECT": ("PRECC", "PRECL"),
}
"""Fields that are the sum of two others where a file does not hold them themselves."""


def with_sums(fields: Fields) -> Fields:
    """The fields with those of `PARTS`, formed before any error is taken."""
    sums = {
        name: fields[first] + fields[second]
        for name, (first, second) in PARTS.items()
        if name not in fields and first in fields and second in fields
    }
    return fields | sums


def surface_weights(fractions: Fields, area: Array) -> Array:
    """Area of each of `SURFACES` (surface, column): fraction times area of the column.

    Args:
        fractions: those of `FRACTIONS` (column,); without them all but the first row are 0.
        area: (column,).
    """
    known = all(name in fractions for name in FRACTIONS)
    rows = [fractions[name] if known else np.zeros_like(area) for name in FRACTIONS]
    weights = np.stack([np.ones_like(area), *rows]) * area
    assert len(weights) == len(SURFACES)
    return weights


def rain_by_surface(fields: Fields, grid: ColumnGrid) -> Array:
    """Zonal mean (surface, latitude) of precipitation, by area times fraction; NaN without area."""
    weights = surface_weights(fields, grid.area)
    return np.stack([zonal_mean(fields["PRECT"], grid.lat, row) for row in weights])


def tropopause_pressure(fields: Fields, grid: ColumnGrid, rule: str) -> Array:
    """Pressure (column,) of the tropopause of one mean [Pa]; NaN in columns without one.

    Args:
        fields: with ``T``, ``Q`` and ``PS``.
        grid: columns and levels.
        rule: ``coupler`` (nominal pressure of the level) or ``wmo``.
    """
    pressure = grid.midpoint_pressure(fields["PS"])
    interfaces = grid.interface_pressure(fields["PS"])
    heights = midpoint_heights(fields["T"], fields["Q"], interfaces, E3SM)
    if rule == WMO:
        return lapse_rate_tropopause(fields["T"], heights, pressure)
    level = tropopause_level(fields["T"], heights, pressure, E3SM)
    nominal = grid.midpoint_pressure(np.array([grid.p0]))[:, 0]
    return np.where(level >= 0, nominal[level], np.nan)


def of_one_mean(fields: Fields, grid: ColumnGrid, rule: str) -> Fields:
    """What is formed of every mean and then averaged over time, by name.

    Args:
        fields: of the mean.
        grid: columns and levels.
        rule: of the tropopause, see `tropopause_pressure`.
    """
    found: Fields = {}
    if all(name in fields for name in ("T", "Q", "PS")):
        found[TROPOPAUSE] = tropopause_pressure(fields, grid, rule)
    if "PRECT" in fields:
        found[RAIN_BY_SURFACE] = rain_by_surface(fields, grid)
    return found
