"""The lapse-rate tropopause, which sections of bias are drawn with."""

from __future__ import annotations

from typing import Final

import numpy as np

from climsim.arrays import Array

LAPSE_RATE: Final = 2.0e-3
"""Largest lapse rate of the stratosphere in the definition [K m-1]."""
DEPTH: Final = 2000.0
"""Depth over which the mean lapse rate has to stay below it [m]."""
BOUNDS: Final = (5.0e3, 5.0e4)
"""Range of pressure that is searched [Pa]."""


def lapse_rate_tropopause(temperature: Array, heights: Array, pressure: Array) -> Array:
    """Pressure of the tropopause by the definition of the World Meteorological Organization.

    The lowest level at which the lapse rate decreases to 2 K/km or less, provided the mean lapse
    rate between this level and all higher levels within 2 km does not exceed 2 K/km. The lapse rate
    is taken between neighbouring levels, and no interpolation between levels is done.

    Args:
        temperature: (level, column) [K], level 0 at the top.
        heights: (level, column) [m].
        pressure: (level, column) at midpoints [Pa].

    Returns:
        (column,) [Pa]; NaN where no level between 500 and 50 hPa qualifies.
    """
    result = np.full(temperature.shape[1], np.nan)
    for level in range(1, temperature.shape[0]):
        rise = heights[:level] - heights[level]
        lapse = -(temperature[:level] - temperature[level]) / rise
        # The neighbour above counts whatever its distance: coarse levels have no other within 2 km.
        near = rise <= DEPTH
        near[-1] = True
        stable = np.where(near, lapse <= LAPSE_RATE, True).all(axis=0)
        inside = (pressure[level] >= BOUNDS[0]) & (pressure[level] <= BOUNDS[1])
        # Levels go downward, so the lowest one that qualifies is the one kept.
        result = np.where(stable & inside, pressure[level], result)
    return result
