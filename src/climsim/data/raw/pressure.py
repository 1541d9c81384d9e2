"""Pressure as the files give it beside what the grid file implies.

``state_pmid`` follows from surface pressure and the hybrid coefficients, so comparing the two finds
levels upside down, other units, and the grid file of another model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from climsim.grid import ColumnGrid

PRESSURE_TOLERANCE = 0.01
"""Share by which pressure may differ from that of the grid [1]; levels lie further apart."""


def order_problem(pressure: NDArray[np.floating]) -> str:
    """What is wrong with the order of levels; empty where pressure increases with level.

    Args:
        pressure: (level, column) [Pa].
    """
    if not (np.diff(pressure, axis=0) <= 0).any():
        return ""
    if not (np.diff(pressure, axis=0) >= 0).any():
        return "state_pmid decreases with level: turn the levels round, level 0 is the model top"
    return "state_pmid does not increase with level: are the levels in order, top to surface?"


def pressure_problem(
    pressure: NDArray[np.floating], surface: NDArray[np.floating], grid: ColumnGrid
) -> str:
    """What is wrong with pressure; empty where it increases and is that of the grid.

    Args:
        pressure: ``state_pmid``, (level, column) [Pa].
        surface: ``state_ps``, (column,) [Pa].
        grid: the columns and levels.

    Returns:
        One line that names the likely cause.
    """
    expected = grid.midpoint_pressure(surface)
    # Written so that NaN counts as wrong.
    close = np.abs(pressure - expected) <= PRESSURE_TOLERANCE * expected
    if close.all():
        return ""
    wrong_order = order_problem(pressure)
    if wrong_order:
        return wrong_order
    level, column = np.unravel_index(np.argmin(close), close.shape)
    ratio = float(np.median(pressure / expected))
    cause = (
        "is state_pmid in hPa?"
        if np.isclose(ratio, 0.01, rtol=PRESSURE_TOLERANCE)
        else "give the grid file of the model that wrote these data"
    )
    return (
        f"state_pmid is {pressure[level, column]:g} Pa at level {level}, column {column}, but "
        f"hyam P0 + hybm ps of the grid file is {expected[level, column]:g} Pa: {cause}"
    )
