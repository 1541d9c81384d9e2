"""Latitude bins, regions and surface types, as plain arrays of columns."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.evaluation.metrics import weighted_mean

BIN_WIDTH: Final = 10.0
"""Width of a bin of zonal means [degrees]."""
N_BINS: Final = int(180 / BIN_WIDTH)
BIN_CENTRES: Final = -90 + BIN_WIDTH * (np.arange(N_BINS) + 0.5)
"""(bin,) centres of the latitude bins, south to north [degrees north]."""

BANDS: Final[dict[str, tuple[float, float]]] = {
    "90S-60S": (-90, -60),
    "60S-30S": (-60, -30),
    "30S-30N": (-30, 30),
    "30N-60N": (30, 60),
    "60N-90N": (60, 90),
}
"""Bands of latitude for offline skill [degrees north]."""
REGIONS: Final[dict[str, tuple[float, float]]] = {
    "global": (-90, 90),
    "tropics": (-30, 30),
    "NH": (30, 90),
    "SH": (-90, -30),
}
"""Regions of online series [degrees north]."""
SURFACE_TYPES: Final = ("land", "ocean", "sea ice")
"""Surface types of columns."""
SURFACES: Final = ("all", *SURFACE_TYPES)
"""What distributions of precipitation are of."""
UPPER_PRESSURE: Final = 4.0e4
"""Levels above this pressure count as upper levels [Pa]."""


def latitude_bin(lat: Array) -> NDArray[np.intp]:
    """Number of the 10 degree bin of each column, south to north; the north pole is in the last."""
    return np.clip(((np.asarray(lat) + 90) // BIN_WIDTH).astype(np.intp), 0, N_BINS - 1)


def band_members(lat: Array, bands: dict[str, tuple[float, float]]) -> NDArray[np.bool_]:
    """Which columns lie in each band.

    Args:
        lat: (column,) [degrees north].
        bands: southern (included) and northern (excluded, but for the pole) bound by name.

    Returns:
        (band, column).
    """
    lat = np.asarray(lat)
    return np.stack([(lat >= a) & ((lat < b) | (b >= 90)) for a, b in bands.values()])


def zonal_mean(values: Array, lat: Array, area: Array) -> Array:
    """Area-weighted mean in each latitude bin; NaN in bins without columns.

    Args:
        values: (..., column).
        lat: (column,) [degrees north].
        area: (column,).

    Returns:
        (..., bin).
    """
    bins = latitude_bin(lat)
    weights = np.where(np.arange(N_BINS)[:, None] == bins, area, 0.0)
    return weighted_mean(np.asarray(values)[..., None, :], weights)


def surface_members(land: Array, ocean: Array, ice: Array) -> NDArray[np.bool_]:
    """Which columns count as each of `SURFACES`: those of which more than half is of the type.

    Args:
        land: (..., column) land fraction [1].
        ocean: (..., column) open-ocean fraction [1].
        ice: (..., column) sea-ice fraction [1].

    Returns:
        (surface, ..., column).
    """
    return np.stack([np.ones(land.shape, dtype=bool), land > 0.5, ocean > 0.5, ice > 0.5])
