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
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from climsim.hosts.gcm.cloud_draw import cloudy_points, stratified_numbers
from climsim.hosts.gcm.columns import RadiationColumns, RadiationFluxes
from climsim.hosts.gcm.compilation import needs_rrtmgp
from climsim.hosts.gcm.medium import Medium, aerosol_of, medium_of, paths_by_point
from climsim.hosts.gcm.pace import in_blocks, pace, sunlit_columns

if TYPE_CHECKING:
    from jcm.physics.radiation.band_config import RadiationBandConfig
    from rrtmgp.rrtmgp import RRTMGP

_VISIBLE_WAVENUMBER = 14286.0
"""Where visible light begins [1/cm]: 0.7 um."""
PointSolver = Callable[[jax.Array], dict[str, jax.Array]]
"""Weighted fluxes of a spectral point by its number, in the library's layout."""
_GRAZING = 1.0e-4
"""Smallest cosine of the zenith angle that is solved [1]."""
_MIXED_BAND = (12850.0, 16000.0)
"""The band that straddles it; half of its light counts as visible, as in CAM."""


@functools.cache
def tables() -> RRTMGP:
    """RRTMGP's tables with 128 longwave and 112 shortwave spectral points.

    Raises:
        ClimSimError: if the package jax-rrtmgp is missing.
    """
    with needs_rrtmgp():
        from jcm.physics.radiation.rrtmgp import _ensure_rrtmgp
    loaded: RRTMGP = _ensure_rrtmgp()
    return loaded


@functools.cache
def band_config() -> RadiationBandConfig:
    """jcm's description of RRTMGP's bands, which its aerosol follows."""
    from jcm.physics.radiation.band_config import RadiationBandConfig

    return RadiationBandConfig.from_rrtmgp(tables())


def visible_share() -> np.ndarray:
    """Share of each shortwave band that counts as visible light, (band,) [1]."""
    limits = np.asarray(tables().optics_lib.gas_optics_sw.bnd_lims_wn)
    share = (limits[:, 0] >= _VISIBLE_WAVENUMBER).astype(np.float32)
    share[np.isclose(limits[:, 0], _MIXED_BAND[0])] = 0.5
    return share


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


def _sum_over_points(point: PointSolver, count: int) -> dict[str, jax.Array]:
    """Sum of what each point gives; a few points are solved at a time."""
    chunk = min(pace().chunk, count)
    first = jax.eval_shape(point, jnp.int32(0))
    total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), first)

    def step(index: jax.Array, total: dict[str, jax.Array]) -> dict[str, jax.Array]:
        if chunk == 1:
            added: dict[str, jax.Array] = jax.tree.map(jnp.add, total, point(index))
            return added
        chosen = index * chunk + jnp.arange(chunk)
        parts = jax.vmap(point)(jnp.minimum(chosen, count - 1))
        used = chosen < count

        def add(whole: jax.Array, part: jax.Array) -> jax.Array:
            mask = used.reshape(-1, *(1 for _ in whole.shape))
            return whole + jnp.sum(jnp.where(mask, part, 0.0), axis=0)

        whole: dict[str, jax.Array] = jax.tree.map(add, total, parts)
        return whole

    summed: dict[str, jax.Array] = jax.lax.fori_loop(0, -(-count // chunk), step, total)
    return summed


def longwave_point(
    columns: RadiationColumns, medium: Medium, points: SpectralPoints
) -> PointSolver:
    """Function from the number of a longwave point to its two weighted fluxes."""
    from rrtmgp.rte import monochromatic_two_stream as transfer
    from rrtmgp.rte import two_stream

    optics = tables().optics_lib
    gas_table = optics.gas_optics_lw
    cloudy = cloudy_points(columns.cover, points.longwave_numbers)
    liquid = paths_by_point(columns.liquid_path, cloudy)
    ice = paths_by_point(columns.ice_path, cloudy)
    indices = jnp.asarray(points.longwave, jnp.int32)
    weights = jnp.asarray(points.longwave_weight)
    emissivity = columns.emissivity[None]

    def point(number: jax.Array) -> dict[str, jax.Array]:
        cells = two_stream._compute_local_properties_lw(
            **medium.arguments(indices[number], gas_table.idx_gases, liquid[number], ice[number]),
            optics_lib=optics,
            sfc_temperature=columns.surface_temperature[None],
        )
        fluxes = transfer.lw_transport(
            t_diff=cells["t_diff"],
            r_diff=cells["r_diff"],
            src_up=cells["src_up"],
            src_down=cells["src_down"],
            toa_flux_down=jnp.zeros_like(emissivity),
            sfc_src=cells["sfc_src"],
            sfc_emissivity=emissivity,
            use_scan=pace().scan,
        )
        return {
            "up": weights[number] * fluxes["flux_up"],
            "down": weights[number] * fluxes["flux_down"],
        }

    return point


def _interfaces(flux: jax.Array) -> jax.Array:
    """The library's faces, (1, column, level + 2), as (level + 1, column), top first."""
    return flux[0, :, 1:].T[::-1]


def shortwave_point(
    columns: RadiationColumns, medium: Medium, points: SpectralPoints
) -> PointSolver:
    """Function from the number of a shortwave point to its weighted fluxes, in sunlight."""
    from rrtmgp.rte import monochromatic_two_stream as transfer

    optics = tables().optics_lib
    gas_table = optics.gas_optics_sw
    cloudy = cloudy_points(columns.cover, points.shortwave_numbers)
    liquid = paths_by_point(columns.liquid_path, cloudy)
    ice = paths_by_point(columns.ice_path, cloudy)
    aerosol = aerosol_of(columns)
    share = jnp.asarray(visible_share())[:, None]
    albedo = share * columns.albedo_visible + (1.0 - share) * columns.albedo_near_infrared
    zenith = jnp.arccos(jnp.clip(columns.cos_zenith, _GRAZING, 1.0 - 1.0e-7))
    indices = jnp.asarray(points.shortwave, jnp.int32)
    weights = jnp.asarray(points.shortwave_weight)

    def point(number: jax.Array) -> dict[str, jax.Array]:
        index = indices[number]
        band = gas_table.g_point_to_bnd[index]
        properties = optics.compute_sw_optical_properties(
            **medium.arguments(index, gas_table.idx_gases, liquid[number], ice[number])
        )
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
            t_diff=cells["t_diff"],
            r_diff=cells["r_diff"],
            src_up=cells["r_dir"] * _layer_top(beam),
            src_down=cells["t_dir"] * _layer_top(beam),
            sfc_src=reflected * beam[..., 1],
            sfc_albedo=reflected,
            flux_down_dir=beam,
            use_scan=pace().scan,
        )
        direct = beam[0, :, 1]
        diffuse = solved["flux_down"][0, :, 1] - direct
        seen = jnp.stack([share[band, 0], 1.0 - share[band, 0]])[:, None]
        return {
            "up": solved["flux_up"],
            "down": solved["flux_down"],
            "surface": jnp.stack([direct, diffuse])[:, None] * seen[None],
        }

    return point


def _layer_top(beam: jax.Array) -> jax.Array:
    """Flux at the upper face of each layer, from the flux at lower faces."""
    return jnp.roll(beam, -1, axis=-1)


def _beam(depth: jax.Array, irradiance: jax.Array, zenith: jax.Array) -> jax.Array:
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


def longwave_fields(fluxes: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Longwave fields of `RadiationFluxes` from fluxes in the library's layout."""
    up, down = _interfaces(fluxes["up"]), _interfaces(fluxes["down"])
    return {
        "longwave_absorbed": jnp.diff(up - down, axis=0),
        "longwave_out": up[0],
        "surface_longwave_down": down[-1],
        "surface_longwave_up": up[-1],
    }


def shortwave_fields(fluxes: dict[str, jax.Array]) -> dict[str, jax.Array]:
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


def _longwave_block(columns: RadiationColumns, points: SpectralPoints) -> dict[str, jax.Array]:
    point = longwave_point(columns, medium_of(columns), points)
    return longwave_fields(_sum_over_points(point, len(points.longwave)))


def _shortwave_block(columns: RadiationColumns, points: SpectralPoints) -> dict[str, jax.Array]:
    point = shortwave_point(columns, medium_of(columns), points)
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

    def spread(values: jax.Array) -> jax.Array:
        dark = jnp.zeros((*values.shape[:-1], count), values.dtype)
        return dark.at[..., sunlit].set(values)

    return RadiationFluxes(
        **in_blocks(functools.partial(_longwave_block, points=chosen), columns),
        **jax.tree.map(spread, light),
    )
