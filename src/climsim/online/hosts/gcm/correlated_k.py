"""RRTMGP on the columns of the embedded model: one all-sky solve, the same draw of clouds always.

jcm's own term draws new subcolumns at every step and column (some 13 W/m2 of noise in the
shortwave), sums the light of all bands, and takes one albedo for both halves of the spectrum.
Here every column and step uses the same stratified numbers, so that fluxes are a function of the
column alone; visible and near-infrared light have their own albedo; the direct beam and the
diffuse light of both reach the caller.

Source: optics and two-stream solver of jax-rrtmgp (Pincus et al. 2019); overlap maximum-random
(Geleyn and Hollingsworth 1979) sampled as in jcm's `mcica`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from climsim.errors import ClimSimError
from climsim.online.hosts.gcm.columns import MICRON, RadiationColumns, RadiationFluxes

_STRATUM = 8
"""Spectral points drawn together: every band of RRTMGP's small tables has at least eight."""
_SEED = 2024
_VISIBLE_WAVENUMBER = 14286.0
"""Where visible light begins [1/cm]: 0.7 um."""
_MIXED_BAND = (12850.0, 16000.0)
"""The band that straddles it; half of its light counts as visible, as in CAM."""
@dataclasses.dataclass(frozen=True)
class _Pace:
    """How the library runs through columns, levels and spectral points.

    Attributes:
        block: columns solved together.
        scan: loop over levels instead of unrolling them.
        chunk: spectral points solved together.
    """

    block: int
    scan: bool
    chunk: int


_ON_CPU = _Pace(block=16, scan=True, chunk=1)
"""The optics of few columns stay in the cache of a core, and compile in half the time."""
_ON_GPU = _Pace(block=8192, scan=True, chunk=64)
"""Few launches of large kernels."""


def _pace() -> _Pace:
    return _ON_CPU if jax.default_backend() == "cpu" else _ON_GPU


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


def stratified_numbers(points: int, levels: int) -> np.ndarray:
    """Fixed numbers in (0, 1), (level, point): each level has every stratum once.

    Within each eight neighbouring points (a band) each eighth occurs once, so that a cloud covers
    the same share of every band.
    """
    blocks = points // _STRATUM
    draw = np.random.default_rng(_SEED)
    numbers = np.empty((levels, blocks, _STRATUM))
    for level in range(levels):
        eighth = draw.permuted(np.tile(np.arange(_STRATUM), (blocks, 1)), axis=1)
        order = draw.permuted(np.tile(np.arange(blocks), (_STRATUM, 1)), axis=1)
        within = order[eighth, np.arange(blocks)[:, None]]
        numbers[level] = (eighth + (within + 0.5) / blocks) / _STRATUM
    return numbers.reshape(levels, points).astype(np.float32)


def cloudy_points(cover: Any, points: int) -> Any:
    """Whether each spectral point sees cloud, (level, point, column).

    Maximum overlap of neighbouring cloudy layers, random overlap across a clear one: from the
    lowest level up, a point that is cloudy keeps its rank, another draws anew in the clear part.

    Args:
        cover: (level, column) [1].
        points: how many spectral points.
    """
    numbers = jnp.asarray(stratified_numbers(points, cover.shape[0]))[:, :, None]

    def step(rank: Any, level: tuple[Any, Any]) -> tuple[Any, Any]:
        drawn, below = level
        rank = jnp.where(rank < below, rank, below + drawn * (1.0 - below))
        return rank, rank

    lowest = jnp.broadcast_to(numbers[-1], (points, cover.shape[1]))
    _, above = jax.lax.scan(step, lowest, (numbers[:-1], cover[1:]), reverse=True)
    return jnp.concatenate([above, lowest[None]]) < cover[:, None, :]


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


def _longwave(columns: RadiationColumns, medium: _Medium) -> tuple[Any, Any]:
    """Upward and downward flux, (level + 1, column) [W/m2]."""
    from rrtmgp.rte import two_stream

    library = tables()
    cloudy = cloudy_points(columns.cover, library.optics_lib.n_gpt_lw)
    fluxes = two_stream.solve_lw(
        medium.pressure,
        medium.temperature,
        medium.molecules,
        library.optics_lib,
        dataclasses.replace(library.atmospheric_state, sfc_emis=columns.emissivity[None]),
        medium.gases,
        columns.surface_temperature[None],
        cloud_r_eff_liq=medium.liquid_radius,
        cloud_path_liq=jnp.zeros_like(medium.pressure),
        cloud_r_eff_ice=medium.ice_radius,
        cloud_path_ice=jnp.zeros_like(medium.pressure),
        cloud_path_liq_per_gpt=_paths_by_point(columns.liquid_path, cloudy),
        cloud_path_ice_per_gpt=_paths_by_point(columns.ice_path, cloudy),
        use_scan=_pace().scan,
        gpt_chunk=_pace().chunk,
    )
    return _interfaces(fluxes["flux_up"]), _interfaces(fluxes["flux_down"])


def _interfaces(flux: Any) -> Any:
    """The library's faces, (1, column, level + 2), as (level + 1, column), top first."""
    return flux[0, :, 1:].T[::-1]


def _shortwave(columns: RadiationColumns, medium: _Medium) -> tuple[Any, Any, Any]:
    """Upward and downward flux, (level + 1, column), and the light at the surface [W/m2].

    The last has (direct or diffuse, visible or near-infrared, column).
    """
    from rrtmgp.rte import monochromatic_two_stream as transfer
    from rrtmgp.rte import two_stream

    optics = tables().optics_lib
    gas_table = optics.gas_optics_sw
    gases = {gas_table.idx_gases[name]: value for name, value in medium.gases.items()}
    cloudy = cloudy_points(columns.cover, optics.n_gpt_sw)
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
    day = columns.cos_zenith > 0.0
    zenith = jnp.arccos(jnp.clip(jnp.where(day, columns.cos_zenith, 1.0), 0.0, 1.0 - 1.0e-7))
    plane = zenith[None]

    def point(index: Any) -> dict[str, Any]:
        band = gas_table.g_point_to_bnd[index]
        properties = optics.compute_sw_optical_properties(
            medium.pressure, medium.temperature, medium.molecules, index, gases,
            medium.liquid_radius, liquid[index], medium.ice_radius, ice[index],
        )  # fmt: skip
        properties = optics.combine_optical_properties(
            properties, {name: value[band] for name, value in aerosol.items()}
        )
        depth = properties["optical_depth"]
        cells = transfer.sw_cell_properties(
            plane[..., None], depth, properties["ssa"], properties["asymmetry_factor"]
        )
        beam = _beam(depth, columns.irradiance * optics.solar_fraction_by_gpt[index], zenith)
        source = {
            "src_up": cells["r_dir"] * _layer_top(beam),
            "src_down": cells["t_dir"] * _layer_top(beam),
        }
        reflected = albedo[band][None]
        solved = transfer.sw_transport(
            cells["t_diff"], cells["r_diff"], source["src_up"], source["src_down"],
            reflected * beam[..., 1], reflected, beam, use_scan=_pace().scan,
        )  # fmt: skip
        direct = beam[0, :, 1]
        diffuse = solved["flux_down"][0, :, 1] - direct
        seen = jnp.stack([share[band, 0], 1.0 - share[band, 0]])[:, None]
        return {
            "up": solved["flux_up"],
            "down": solved["flux_down"],
            "surface": jnp.stack([direct, diffuse])[:, None] * seen[None],
        }

    zero = jnp.zeros_like(medium.temperature)
    count = columns.temperature.shape[1]
    start = {"up": zero, "down": zero, "surface": jnp.zeros((2, 2, count), zero.dtype)}
    total = two_stream._solve_over_gpoints(point, optics.n_gpt_sw, _pace().chunk, start)
    total = jax.tree.map(lambda flux: jnp.maximum(flux, 0.0), total)
    return (
        jnp.where(day, _interfaces(total["up"]), 0.0),
        jnp.where(day, _interfaces(total["down"]), 0.0),
        jnp.where(day, total["surface"], 0.0),
    )


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


def _solve_block(columns: RadiationColumns) -> RadiationFluxes:
    medium = _medium(columns)
    longwave_up, longwave_down = _longwave(columns, medium)
    shortwave_up, shortwave_down, surface = _shortwave(columns, medium)
    return RadiationFluxes(
        shortwave_absorbed=jnp.diff(shortwave_up - shortwave_down, axis=0),
        longwave_absorbed=jnp.diff(longwave_up - longwave_down, axis=0),
        shortwave_in=shortwave_down[0],
        shortwave_out=shortwave_up[0],
        longwave_out=longwave_up[0],
        surface_shortwave_down=shortwave_down[-1],
        surface_shortwave_up=shortwave_up[-1],
        surface_longwave_down=longwave_down[-1],
        surface_longwave_up=longwave_up[-1],
        direct_visible=surface[0, 0],
        direct_near_infrared=surface[0, 1],
        diffuse_visible=surface[1, 0],
        diffuse_near_infrared=surface[1, 1],
    )


def solve(columns: RadiationColumns) -> RadiationFluxes:
    """Fluxes of all columns, in blocks that bound the memory."""
    count = columns.temperature.shape[-1]
    block = _pace().block
    if count <= block or count % block:
        return _solve_block(columns)

    def split(values: Any) -> Any:
        parts = values.reshape(*values.shape[:-1], count // block, block)
        return jnp.moveaxis(parts, -2, 0)

    def join(values: Any) -> Any:
        whole = jnp.moveaxis(values, 0, -2)
        return whole.reshape(*whole.shape[:-2], count)

    blocks = jax.lax.map(_solve_block, jax.tree.map(split, columns))
    return jax.tree.map(join, blocks)
