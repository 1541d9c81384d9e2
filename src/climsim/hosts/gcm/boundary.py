"""Boundary data of the embedded model: orography, land, sea surface, ozone on its grid.

The source is the T63 climatology packaged with jcm. It is averaged over the
cells of the target grid (exact spherical overlap) once; the resulting arrays
are small and are shipped with this package (T10) or kept in the cache folder.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from climsim.errors import ClimSimError
from climsim.files import atomic_path

if TYPE_CHECKING:
    from dinosaur.coordinate_systems import CoordinateSystem
    from jcm.forcing import ForcingData, TimeSeries
    from jcm.terrain import TerrainData

DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LAND_MASK_THRESHOLD = 0.1
_SEA_ICE_FREEZING = 271.35
_STATIC_ON_LAND = ("alb", "forest", "glac")
_SSO = ("orostd", "orosig", "orogam", "orothe", "oropic", "oroval")


@dataclass(frozen=True)
class BoundaryData:
    """Boundary arrays on a longitude-latitude grid (axes: longitude, latitude).

    `sst` [K], `icec` [1], `stl` [K], `soilw_am` [1], `snowc` [1]: (12, lon, lat),
    value at the first of each month. `ozone` [mol/mol]: (12, level, lon, lat),
    level 0 = top. The others (lon, lat): `alb`, `forest`, `glac`, `lsm` [1],
    `orog` [m] and the six statistics of the sub-grid orography.
    """

    sst: np.ndarray
    icec: np.ndarray
    stl: np.ndarray
    soilw_am: np.ndarray
    snowc: np.ndarray
    alb: np.ndarray
    forest: np.ndarray
    glac: np.ndarray
    lsm: np.ndarray
    orog: np.ndarray
    orostd: np.ndarray
    orosig: np.ndarray
    orogam: np.ndarray
    orothe: np.ndarray
    oropic: np.ndarray
    oroval: np.ndarray
    ozone: np.ndarray

    def __post_init__(self) -> None:
        horizontal = self.orog.shape
        for field in fields(self):
            value = getattr(self, field.name)
            if value.shape[-2:] != horizontal:
                raise ClimSimError(
                    f"boundary data: {field.name} has shape {value.shape}, expected trailing axes "
                    f"{horizontal}; delete the cached file and run again"
                )
            if not np.isfinite(value).all():
                raise ClimSimError(f"boundary data: {field.name} holds values that are not finite")


def regrid_boundary_data(
    longitudes: np.ndarray, latitudes: np.ndarray, level_pressure: np.ndarray
) -> BoundaryData:
    """Average jcm's packaged T63 climatology onto a grid.

    Args:
        longitudes: (lon,) [degrees east], uniform.
        latitudes: (lat,) [degrees north], ascending.
        level_pressure: (level,) [Pa], reference pressures of the model's levels, level 0 = top.

    Returns:
        The boundary arrays on that grid, float32.
    """
    import xarray as xr
    from jcm.data.regridding import build_regridder
    from jcm.terrain import derive_sso_descriptors

    folder = resources.files("jcm") / "data" / "bc" / "t63"
    with resources.as_file(folder) as path:
        forcing = xr.load_dataset(path / "forcing.nc", decode_times=False)
        terrain = xr.load_dataset(path / "terrain.nc", decode_times=False)
        ozone = xr.load_dataset(path / "ozone.nc", decode_times=False)

    source_lon, source_lat = forcing["lon"].values, forcing["lat"].values
    area = np.broadcast_to(np.cos(np.deg2rad(source_lat)), (source_lon.size, source_lat.size))
    average = build_regridder(
        source_lon, source_lat, area, longitudes, latitudes, dst_in_degrees=True
    )
    land = np.clip(forcing["lsm"].values, 0.0, 1.0)
    glacier = np.clip(forcing["glac"].values, 0.0, 1.0)

    def conditional(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        # A field that describes the land only: weighted by the land it describes,
        # and by everything where a cell has no land at all.
        weight = np.maximum(weight, 1e-6)
        return average(values * weight) / average(weight)

    def monthly(name: str) -> np.ndarray:
        return np.moveaxis(forcing[name].values, -1, 0)

    soil, sea = land * (1.0 - glacier), 1.0 - land
    arrays = {
        "sst": np.maximum(conditional(monthly("sst"), sea), _SEA_ICE_FREEZING),
        "icec": np.clip(conditional(monthly("icec"), sea), 0.0, 1.0),
        "stl": conditional(monthly("stl"), land),
        "soilw_am": np.clip(conditional(monthly("soilw_am"), soil), 0.0, 1.0),
        "snowc": np.clip(conditional(monthly("snowc"), soil), 0.0, 1.0),
    }
    for name in _STATIC_ON_LAND:
        weight = land if name == "glac" else soil
        arrays[name] = np.clip(conditional(forcing[name].values, weight), 0.0, 1.0)

    lsm = np.clip(average(terrain["lsm"].values), 0.0, 1.0)
    lsm = np.where(lsm <= _LAND_MASK_THRESHOLD, 0.0, lsm)
    arrays["lsm"] = np.where(lsm >= 1.0 - _LAND_MASK_THRESHOLD, 1.0, lsm)
    arrays["orog"] = average(terrain["orog"].values)
    sub_grid = derive_sso_descriptors(
        terrain["orog"].values, source_lat, source_lon, latitudes, longitudes
    )
    arrays.update({name: np.asarray(sub_grid[name]) for name in _SSO})

    arrays["ozone"] = _to_levels(
        average(ozone["O3"].values), ozone["level_pressure_pa"].values, level_pressure
    )
    return BoundaryData(**{k: np.asarray(v, dtype=np.float32) for k, v in arrays.items()})


def _to_levels(values: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Interpolate (time, level, ...) linearly in the logarithm of pressure."""
    order = np.argsort(source)
    x, values = np.log(source[order]), values[:, order]
    position = np.clip(np.log(target), x[0], x[-1])
    upper = np.clip(np.searchsorted(x, position), 1, x.size - 1)
    weight = (position - x[upper - 1]) / (x[upper] - x[upper - 1])
    weight = weight[None, :, None, None]
    return values[:, upper - 1] * (1.0 - weight) + values[:, upper] * weight


def daily_table(monthly: np.ndarray) -> np.ndarray:
    """Interpolate values at the first of each month to the 365 days of a year.

    Args:
        monthly: (12, ...) values at the first day of each month.

    Returns:
        (365, ...), linear between months, periodic over the year.
    """
    starts = np.concatenate([[0], np.cumsum(DAYS_IN_MONTH)])
    periodic = np.concatenate([monthly, monthly[:1]])
    day = np.arange(365)
    month = np.searchsorted(starts, day, side="right") - 1
    weight = (day - starts[month]) / np.diff(starts)[month]
    weight = weight.reshape((-1,) + (1,) * (monthly.ndim - 1)).astype(monthly.dtype)
    return periodic[month] * (1.0 - weight) + periodic[month + 1] * weight


def save_boundary_data(data: BoundaryData, path: Path) -> None:
    """Write the arrays to a compressed file, atomically.

    Raises:
        ClimSimError: if the disk is full or the folder cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **{f.name: getattr(data, f.name) for f in fields(data)})


def read_boundary_data(path: Path) -> BoundaryData:
    """Read arrays written by `save_boundary_data`."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return BoundaryData(**{name: stored[name] for name in stored.files})
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise ClimSimError(
            f"boundary data {path} cannot be read ({error}); delete it and run again"
        ) from error


def load_boundary_data(
    resolution: str,
    longitudes: np.ndarray,
    latitudes: np.ndarray,
    level_pressure: np.ndarray,
    cache_folder: Path,
) -> BoundaryData:
    """Boundary arrays of a resolution: shipped, cached, or regridded now and cached."""
    shipped = resources.files(__package__) / "assets" / f"boundary_{resolution}.npz"
    if shipped.is_file():
        with resources.as_file(shipped) as path:
            return read_boundary_data(path)
    cached = cache_folder / f"boundary_{resolution}_L{level_pressure.size}.npz"
    if cached.exists():
        return read_boundary_data(cached)
    data = regrid_boundary_data(longitudes, latitudes, level_pressure)
    save_boundary_data(data, cached)
    return data


def forcing_data(data: BoundaryData) -> ForcingData:
    """jcm's `ForcingData` with a daily climatology that repeats every year."""
    import jax.numpy as jnp
    from jcm.forcing import WRAP_YEAR, ForcingData, make_time_series
    from jcm.ozone_climatology import OzoneClimatology

    days = np.arange("2001-01-01", "2002-01-01", dtype="datetime64[D]").astype("datetime64[s]")
    months = np.arange("2001-01", "2002-01", dtype="datetime64[M]").astype("datetime64[s]")

    def daily(values: np.ndarray) -> TimeSeries:
        return make_time_series(jnp.asarray(daily_table(values)), days, align_mode=WRAP_YEAR)

    count, levels = data.ozone.shape[:2]
    ozone_ppmv = jnp.asarray(data.ozone.reshape(count, levels, -1) * np.float32(1e6))
    return ForcingData.zeros(
        nodal_shape=data.orog.shape,
        alb0=jnp.asarray(data.alb),
        sice_am=daily(data.icec),
        snowc_am=daily(data.snowc),
        soilw_am=daily(data.soilw_am),
        stl_am=daily(data.stl),
        sea_surface_temperature=daily(data.sst),
        forest_fraction=jnp.asarray(data.forest),
        glacier_fraction=jnp.asarray(data.glac),
        ozone_climatology=OzoneClimatology(
            o3_ppmv=make_time_series(ozone_ppmv, months, align_mode=WRAP_YEAR)
        ),
    )


def terrain_data(data: BoundaryData, coordinates: CoordinateSystem) -> TerrainData:
    """jcm's `TerrainData` on the given dinosaur coordinates."""
    import jax.numpy as jnp
    from jcm.terrain import TerrainData

    return TerrainData.from_coords(
        coordinates,
        orography=jnp.asarray(data.orog),
        fmask=jnp.asarray(data.lsm),
        lfluxland=True,
        **{name: jnp.asarray(getattr(data, name)) for name in _SSO},
    )
