"""RRTMGP on the columns of the embedded model: one all-sky solve, the same draw of clouds always.

jcm's own term draws new subcolumns at every step and column (some 13 W/m2 of noise in the
shortwave), sums the light of all bands, and takes one albedo for both halves of the spectrum.
Here every column and step uses the same stratified numbers, so that fluxes are a function of the
column alone; visible and near-infrared light have their own albedo; the direct beam and the
diffuse light of both reach the caller.

Source: optics and two-stream solver of jax-rrtmgp (Pincus et al. 2019).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from climsim.errors import ClimSimError
from climsim.hosts.gcm.cloud_draw import cloudy_points, stratified_numbers
from climsim.hosts.gcm.columns import MICRON, RadiationColumns, RadiationFluxes
from climsim.hosts.gcm.pace import in_blocks, pace, sunlit_columns

_VISIBLE_WAVENUMBER = 14286.0
"""Where visible light begins [1/cm]: 0.7 um."""
_GRAZING = 1.0e-4
"""Smallest cosine of the zenith angle that is solved [1]."""
_MIXED_BAND = (12850.0, 16000.0)
"""The band that straddles it; half of its light counts as visible, as in CAM."""


@functools.cache
def tables() -> Any:
    """RRTMGP's tables with 128 longwave and 112 shortwave spectral points.

    Raises:
        ClimSimError: if the package jax-rrtmgp is missing.
    """
    try:
        from jcm.physics.radiation.rrtmgp import _ensure_rrtmgp
    except ModuleNotFoundError as error:
        raise ClimSimError(
            "radiation 'rrtmgp': expected the package jax-rrtmgp, found none: "
            "pip install jax-rrtmgp, or choose another radiation"
        ) from error
    return _ensure_rrtmgp()


@functools.cache
def band_config() -> Any:
    """jcm's description of RRTMGP's bands, which its aerosol follows."""
    from jcm.physics.radiation.band_config import RadiationBandConfig

    return RadiationBandConfig.from_rrtmgp(tables())


def visible_share() -> np.ndarray:
    """Share of each shortwave band that counts as visible light, (band,) [1]."""
    limits = np.asarray(tables().optics_lib.gas_optics_sw.bnd_lims_wn)
    share = (limits[:, 0] >= _VISIBLE_WAVENUMBER).astype(np.float32)
    share[np.isclose(limits[:, 0], _MIXED_BAND[0])] = 0.5
    return share


def _profile(values: Any) -> Any:
    """(level, column), top first, to the library's (1, column, level + 2), surface first."""
    upward = jnp.pad(values[::-1].T, ((0, 0), (1, 1)), mode="edge")
    return upward[None]


def _with_linear_halo(values: Any) -> Any:
    bottom, top = 2.0 * values[..., 1] - values[..., 2], 2.0 * values[..., -2] - values[..., -3]
    return values.at[..., 0].set(bottom).at[..., -1].set(top)


def _paths_by_point(path: Any, cloudy: Any) -> Any:
    """(point, 1, column, level + 2) path of the condensate that each spectral point sees."""
    seen = jnp.where(cloudy, path[:, None, :], 0.0)[::-1]
    return jnp.pad(jnp.moveaxis(seen, 0, -1), ((0, 0), (0, 0), (1, 1)))[:, None]


@dataclasses.dataclass(frozen=True)
class SpectralPoints:
    """Which spectral points are solved, how each counts, and what clouds each sees.

    Attributes:
        longwave: (point,) indices into RRTMGP's table.
        longwave_weight: (point,) of its fluxes [1].
        longwave_numbers: (level, point) in (0, 1), that draw the clouds.
        shortwave: (point,) indices.
        shortwave_weight: (point,) [1].
        shortwave_numbers: (level, point).
    """

    longwave: np.ndarray
    longwave_weight: np.ndarray
    longwave_numbers: np.ndarray
    shortwave: np.ndarray
    shortwave_weight: np.ndarray
    shortwave_numbers: np.ndarray


@functools.cache
def all_points(levels: int) -> SpectralPoints:
    """Every point of RRTMGP's tables."""
    optics = tables().optics_lib
    longwave, shortwave = optics.n_gpt_lw, optics.n_gpt_sw
    return SpectralPoints(
        longwave=np.arange(longwave),
        longwave_weight=np.ones(longwave, np.float32),
        longwave_numbers=stratified_numbers(longwave, levels),
        shortwave=np.arange(shortwave),
        shortwave_weight=np.ones(shortwave, np.float32),
        shortwave_numbers=stratified_numbers(shortwave, levels),
    )


@dataclasses.dataclass(frozen=True)
class _Medium:
    """The columns in the library's layout."""

    pressure: Any
    temperature: Any
    molecules: Any
    gases: dict[str, Any]
    liquid_radius: Any
    ice_radius: Any


def _medium(columns: RadiationColumns) -> _Medium:
    from rrtmgp import constants

    vapour = columns.humidity / (1.0 - columns.humidity) * (constants.R_V / constants.R_D)
    moles = constants.DRY_AIR_MOL_MASS + constants.WATER_MOL_MASS * vapour
    mass = jnp.diff(columns.interfaces, axis=0) / constants.G
    well_mixed = jnp.ones_like(columns.temperature)
    gases = {
        "h2o": vapour,
        "o3": columns.ozone,
        "ch4": columns.methane,
        "co2": well_mixed * columns.carbon_dioxide,
        "n2o": well_mixed * columns.nitrous_oxide,
    }
    return _Medium(
        pressure=_profile(columns.pressure),
        temperature=_with_linear_halo(_profile(columns.temperature)),
        molecules=_profile(mass / moles * constants.AVOGADRO),
        gases={name: _profile(value) for name, value in gases.items()},
        liquid_radius=_profile(columns.liquid_radius * MICRON),
        ice_radius=_profile(columns.ice_radius * MICRON),
    )


def _sum_over_points(point: Any, count: int) -> Any:
    """Sum of what each point gives; a few points are solved at a time."""
    chunk = min(pace().chunk, count)
    first = jax.eval_shape(point, jnp.int32(0))
    total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), first)

    def step(index: Any, total: Any) -> Any:
        if chunk == 1:
            return jax.tree.map(jnp.add, total, point(index))
        chosen = index * chunk + jnp.arange(chunk)
        parts = jax.vmap(point)(jnp.minimum(chosen, count - 1))
        used = chosen < count

        def add(whole: Any, part: Any) -> Any:
            mask = used.reshape(-1, *(1 for _ in whole.shape))
            return whole + jnp.sum(jnp.where(mask, part, 0.0), axis=0)

        return jax.tree.map(add, total, parts)

    return jax.lax.fori_loop(0, -(-count // chunk), step, total)


def _longwave_point(columns: RadiationColumns, medium: _Medium, points: SpectralPoints) -> Any:
    """Function from the number of a longwave point to its two weighted fluxes."""
    from rrtmgp.rte import monochromatic_two_stream as transfer
    from rrtmgp.rte import two_stream

    optics = tables().optics_lib
    gas_table = optics.gas_optics_lw
    gases = {gas_table.idx_gases[name]: value for name, value in medium.gases.items()}
    cloudy = cloudy_points(columns.cover, points.longwave_numbers)
    liquid = _paths_by_point(columns.liquid_path, cloudy)
    ice = _paths_by_point(columns.ice_path, cloudy)
    indices = jnp.asarray(points.longwave, jnp.int32)
    weights = jnp.asarray(points.longwave_weight)
    emissivity = columns.emissivity[None]

    def point(number: Any) -> dict[str, Any]:
        cells = two_stream._compute_local_properties_lw(
            medium.pressure, medium.temperature, medium.molecules, indices[number], optics, gases,
            columns.surface_temperature[None], medium.liquid_radius, liquid[number],
            medium.ice_radius, ice[number],
        )  # fmt: skip
        fluxes = transfer.lw_transport(
            cells["t_diff"], cells["r_diff"], cells["src_up"], cells["src_down"],
            jnp.zeros_like(emissivity), cells["sfc_src"], emissivity, use_scan=pace().scan,
        )  # fmt: skip
        return {
            "up": weights[number] * fluxes["flux_up"],
            "down": weights[number] * fluxes["flux_down"],
        }

    return point


def _interfaces(flux: Any) -> Any:
    """The library's faces, (1, column, level + 2), as (level + 1, column), top first."""
    return flux[0, :, 1:].T[::-1]


def _shortwave_point(columns: RadiationColumns, medium: _Medium, points: SpectralPoints) -> Any:
    """Function from the number of a shortwave point to its weighted fluxes, in sunlight."""
    from rrtmgp.rte import monochromatic_two_stream as transfer

    optics = tables().optics_lib
    gas_table = optics.gas_optics_sw
    gases = {gas_table.idx_gases[name]: value for name, value in medium.gases.items()}
    cloudy = cloudy_points(columns.cover, points.shortwave_numbers)
    liquid = _paths_by_point(columns.liquid_path, cloudy)
    ice = _paths_by_point(columns.ice_path, cloudy)
    aerosol = {
        "optical_depth": columns.aerosol_depth,
        "ssa": columns.aerosol_albedo,
        "asymmetry_factor": columns.aerosol_asymmetry,
    }
    aerosol = {name: jax.vmap(_profile)(value) for name, value in aerosol.items()}
    share = jnp.asarray(visible_share())[:, None]
    albedo = share * columns.albedo_visible + (1.0 - share) * columns.albedo_near_infrared
    zenith = jnp.arccos(jnp.clip(columns.cos_zenith, _GRAZING, 1.0 - 1.0e-7))
    indices = jnp.asarray(points.shortwave, jnp.int32)
    weights = jnp.asarray(points.shortwave_weight)

    def point(number: Any) -> dict[str, Any]:
        index = indices[number]
        band = gas_table.g_point_to_bnd[index]
        properties = optics.compute_sw_optical_properties(
            medium.pressure, medium.temperature, medium.molecules, index, gases,
            medium.liquid_radius, liquid[number], medium.ice_radius, ice[number],
        )  # fmt: skip
        properties = optics.combine_optical_properties(
            properties, {name: value[band] for name, value in aerosol.items()}
        )
        depth = properties["optical_depth"]
        cells = transfer.sw_cell_properties(
            zenith[None, :, None], depth, properties["ssa"], properties["asymmetry_factor"]
        )
        sun = weights[number] * columns.irradiance * optics.solar_fraction_by_gpt[index]
        beam = _beam(depth, sun, zenith)
        reflected = albedo[band][None]
        solved = transfer.sw_transport(
            cells["t_diff"], cells["r_diff"], cells["r_dir"] * _layer_top(beam),
            cells["t_dir"] * _layer_top(beam), reflected * beam[..., 1], reflected, beam,
            use_scan=pace().scan,
        )  # fmt: skip
        direct = beam[0, :, 1]
        diffuse = solved["flux_down"][0, :, 1] - direct
        seen = jnp.stack([share[band, 0], 1.0 - share[band, 0]])[:, None]
        return {
            "up": solved["flux_up"],
            "down": solved["flux_down"],
            "surface": jnp.stack([direct, diffuse])[:, None] * seen[None],
        }

    return point


def _layer_top(beam: Any) -> Any:
    """Flux at the upper face of each layer, from the flux at lower faces."""
    return jnp.roll(beam, -1, axis=-1)


def _beam(depth: Any, irradiance: Any, zenith: Any) -> Any:
    """Direct beam through the lower faces of the layers, (1, column, level + 2) [W/m2].

    Args:
        depth: (1, column, level + 2) optical depth, surface first.
        irradiance: (column,) [W/m2].
        zenith: (column,) [rad].
    """
    mu = jnp.cos(zenith)
    inside = jnp.maximum(depth[0, :, 1:-1], 0.0)
    above = jnp.cumsum(inside[:, ::-1], axis=1)[:, ::-1]
    beam = (irradiance * mu)[:, None] * jnp.exp(-above / mu[:, None])
    top = (irradiance * mu)[:, None]
    return jnp.concatenate([jnp.zeros_like(top), beam, top], axis=1)[None]


def longwave_fields(fluxes: dict[str, Any]) -> dict[str, Any]:
    """Longwave fields of `RadiationFluxes` from fluxes in the library's layout."""
    up, down = _interfaces(fluxes["up"]), _interfaces(fluxes["down"])
    return {
        "longwave_absorbed": jnp.diff(up - down, axis=0),
        "longwave_out": up[0],
        "surface_longwave_down": down[-1],
        "surface_longwave_up": up[-1],
    }


def shortwave_fields(fluxes: dict[str, Any]) -> dict[str, Any]:
    """Shortwave fields of `RadiationFluxes` from fluxes in the library's layout."""
    up, down = _interfaces(fluxes["up"]), _interfaces(fluxes["down"])
    surface = fluxes["surface"]
    return {
        "shortwave_absorbed": jnp.diff(up - down, axis=0),
        "shortwave_in": down[0],
        "shortwave_out": up[0],
        "surface_shortwave_down": down[-1],
        "surface_shortwave_up": up[-1],
        "direct_visible": surface[0, 0],
        "direct_near_infrared": surface[0, 1],
        "diffuse_visible": surface[1, 0],
        "diffuse_near_infrared": surface[1, 1],
    }


def _longwave_block(columns: RadiationColumns, points: SpectralPoints) -> dict[str, Any]:
    point = _longwave_point(columns, _medium(columns), points)
    return longwave_fields(_sum_over_points(point, len(points.longwave)))


def _shortwave_block(columns: RadiationColumns, points: SpectralPoints) -> dict[str, Any]:
    point = _shortwave_point(columns, _medium(columns), points)
    total = _sum_over_points(point, len(points.shortwave))
    total = jax.tree.map(lambda flux: jnp.maximum(flux, 0.0), total)
    day = columns.cos_zenith > 0.0
    return {name: jnp.where(day, value, 0.0) for name, value in shortwave_fields(total).items()}


def solve(columns: RadiationColumns, points: SpectralPoints | None = None) -> RadiationFluxes:
    """Fluxes of all columns; the shortwave is solved where the sun can shine.

    Args:
        columns: any number of columns.
        points: spectral points; None takes all of them.
    """
    chosen = all_points(columns.temperature.shape[0]) if points is None else points
    sunlit = sunlit_columns(columns.cos_zenith, pace().block)
    some = jax.tree.map(lambda values: jnp.take(values, sunlit, axis=-1), columns)
    light = in_blocks(functools.partial(_shortwave_block, points=chosen), some)
    count = columns.cos_zenith.shape[-1]

    def spread(values: Any) -> Any:
        dark = jnp.zeros((*values.shape[:-1], count), values.dtype)
        return dark.at[..., sunlit].set(values)

    return RadiationFluxes(
        **in_blocks(functools.partial(_longwave_block, points=chosen), columns),
        **jax.tree.map(spread, light),
    )
