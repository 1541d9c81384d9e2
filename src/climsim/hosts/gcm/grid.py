"""Grid and constants of the embedded model: truncation, columns, E3SM's hybrid levels."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

import numpy as np

from climsim.constants import REFERENCE_PRESSURE, PhysicalConstants
from climsim.grid import ColumnGrid

if TYPE_CHECKING:
    from dinosaur.coordinate_systems import CoordinateSystem

RESOLUTIONS: Final = {"T10": (10, 8), "T21": (21, 16), "T31": (31, 24)}
"""Largest wavenumber and Gaussian latitudes per hemisphere of each resolution."""


def interface_coefficients() -> tuple[np.ndarray, np.ndarray]:
    """E3SM's 60 layers: hybrid A and B at the 61 interfaces [1], top first.

    Source: grid-info file of ClimSim (Yu et al. 2023).
    """
    with (resources.files(__package__) / "assets" / "levels_L60.npz").open("rb") as stream:
        stored = np.load(stream)
        return stored["hyai"], stored["hybi"]


def physical_constants() -> PhysicalConstants:
    """What jcm computes with, taken from it."""
    from jcm import constants

    return PhysicalConstants(
        gravity=float(constants.grav),
        dry_air_heat_capacity=float(constants.cpd),
        vaporization_heat=float(constants.alhc),
        fusion_heat=float(constants.alhs) - float(constants.alhc),
        water_density=float(constants.rhow),
        dry_air_gas_constant=float(constants.rd),
        vapour_gas_constant=float(constants.rv),
    )


def model_coordinates(resolution: str) -> CoordinateSystem:
    """dinosaur's coordinate system of a resolution (see `RESOLUTIONS`)."""
    from dinosaur.coordinate_systems import CoordinateSystem
    from dinosaur.hybrid_coordinates import HybridCoordinates
    from dinosaur.spherical_harmonic import Grid
    from jcm import constants

    wavenumber, nodes = RESOLUTIONS[resolution]
    hyai, hybi = interface_coefficients()
    return CoordinateSystem(
        horizontal=Grid.construct(
            max_wavenumber=wavenumber, gaussian_nodes=nodes, radius=float(constants.rearth)
        ),
        vertical=HybridCoordinates(
            a_boundaries=hyai * REFERENCE_PRESSURE, b_boundaries=hybi.copy()
        ),
    )


def column_grid(coordinates: CoordinateSystem) -> ColumnGrid:
    """The columns of a coordinate system, flattened longitude-major."""
    horizontal = coordinates.horizontal
    longitude = np.rad2deg(np.asarray(horizontal.longitudes, dtype=np.float64))
    latitude = np.rad2deg(np.asarray(horizontal.latitudes, dtype=np.float64))
    lon, lat = np.meshgrid(longitude, latitude, indexing="ij")
    weights = np.broadcast_to(np.asarray(horizontal.quadrature_weights, np.float64), lon.shape)
    hyai, hybi = interface_coefficients()
    return ColumnGrid(
        lat=lat.ravel(),
        lon=lon.ravel(),
        area=(weights * (4.0 * np.pi / weights.sum())).ravel(),
        hyam=0.5 * (hyai[1:] + hyai[:-1]),
        hybm=0.5 * (hybi[1:] + hybi[:-1]),
        hyai=hyai,
        hybi=hybi,
    )
