"""Columns of any grid on a regular raster of the globe, for maps."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.spatial import cKDTree

LATITUDES: Final = np.arange(-89.5, 90.0, 1.0)
"""Points of the raster [degrees north]."""
LONGITUDES: Final = np.arange(-179.5, 180.0, 1.0)
"""Points of the raster [degrees east]."""
GLOBE: Final = (-180.0, 180.0, -90.0, 90.0)
"""Western, eastern, southern and northern edge of the raster [degrees]."""


def nearest_columns(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Index of the column nearest to each point of the raster, by distance on the sphere."""
    points = np.meshgrid(LATITUDES, LONGITUDES, indexing="ij")
    tree = cKDTree(_on_sphere(lat, lon))
    return tree.query(_on_sphere(*points))[1]


def _on_sphere(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    a, b = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], axis=-1)
