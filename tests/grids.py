"""The synthetic grids of all tests, with all axes of different length."""

import numpy as np

from climsim.grid import ColumnGrid

N_COLUMNS, N_LEVELS = 7, 5


def make_grid(columns: int = N_COLUMNS, levels: int = N_LEVELS) -> ColumnGrid:
    """Columns from pole to pole with unequal areas; levels from 2 hPa to the surface."""
    sigma = np.linspace(0, 1, levels + 1) ** 1.5
    hybi = np.maximum(0.0, sigma - 0.1) / 0.9 * sigma
    hyai = np.maximum(sigma - hybi, 0.002 * (1 - sigma))
    lat = np.linspace(-88, 86, columns)
    area = np.cos(np.deg2rad(lat)) + 0.05 * np.random.default_rng(3).uniform(1, 2, columns)
    return ColumnGrid(
        lat=lat,
        lon=np.mod(np.arange(columns) * 137.5, 360.0),
        area=area / area.sum() * 4 * np.pi,
        hyam=0.5 * (hyai[1:] + hyai[:-1]),
        hybm=0.5 * (hybi[1:] + hybi[:-1]),
        hyai=hyai,
        hybi=hybi,
    )


def make_globe(longitudes: int = 16, latitudes: int = 12, levels: int = 20) -> ColumnGrid:
    """A regular globe with areas, longitude-major, for fields that look like weather."""
    base = make_grid(columns=2, levels=levels)
    lat_1d = (np.arange(latitudes) + 0.5) * 180 / latitudes - 90
    lon, lat = np.meshgrid(np.arange(longitudes) * 360 / longitudes, lat_1d, indexing="ij")
    area = np.cos(np.deg2rad(lat)).ravel()
    return ColumnGrid(
        lat=lat.ravel(),
        lon=lon.ravel(),
        area=area / area.sum() * 4 * np.pi,
        hyam=base.hyam,
        hybm=base.hybm,
        hyai=base.hyai,
        hybi=base.hybi,
    )
