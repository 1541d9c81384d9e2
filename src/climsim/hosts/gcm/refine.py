"""A start state for a finer grid, made from one on a coarser.

Spectral fields get their further coefficients as zeros, so each is the same function on the sphere.
The finer grid has other mountains: surface pressure follows them hydrostatically, and temperature,
humidity and cloud water keep their values at a pressure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from climsim.arrays import Array
from climsim.constants import REFERENCE_PRESSURE, PhysicalConstants

if TYPE_CHECKING:
    import jax
    from dinosaur.spherical_harmonic import Grid

    from climsim.hosts.gcm.dynamics import Core
    from climsim.hosts.gcm.state import ModelState

LAPSE_RATE = 6.5e-3
"""Temperature below the old ground rises by so much with depth [K m-1]."""


def padded(modal: Array, shape: tuple[int, int]) -> Array:
    """The same function with more spectral coefficients.

    Args:
        modal: (..., zonal, total wavenumber), zonal wavenumbers in the order 0, 1, -1, 2, -2, ...
        shape: of the last two axes of the result.
    """
    missing = [(0, new - old) for new, old in zip(shape, modal.shape[-2:], strict=True)]
    return np.pad(modal, [(0, 0)] * (modal.ndim - 2) + missing)


def interpolated(values: Array, old: tuple[Array, Array], new: tuple[Array, Array]) -> Array:
    """Bilinear interpolation on the sphere; beyond the last latitude its value stays.

    Args:
        values: (level, lon, lat).
        old: longitudes from 0 on and latitudes of `values`, ascending [rad].
        new: those of the result.

    Returns:
        (level, lon, lat); no value leaves the range of its neighbours.
    """
    longitude = np.append(old[0], 2 * np.pi)
    around = np.concatenate([values, values[:, :1]], axis=1)
    function = RegularGridInterpolator((longitude, old[1]), np.moveaxis(around, 0, -1))
    latitude = np.clip(new[1], old[1][0], old[1][-1])
    points = np.stack(np.meshgrid(new[0], latitude, indexing="ij"), axis=-1)
    return np.moveaxis(function(points), -1, 0).astype(values.dtype)


def at_pressure(profile: Array, old: Array, new: Array) -> Array:
    """Move profiles to other pressures, linearly in the logarithm of pressure.

    Args:
        profile: (level, column).
        old: (level, column) pressure of its levels [Pa].
        new: (level, column) pressure of the levels of the result [Pa].

    Returns:
        (level, column); beyond the ends the last value.
    """
    columns = range(profile.shape[1])
    moved = [np.interp(np.log(new[:, c]), np.log(old[:, c]), profile[:, c]) for c in columns]
    return np.stack(moved, axis=1)


def _lapse_exponent(constants: PhysicalConstants) -> float:
    """`R Gamma / g` of a layer with the constant lapse rate [1]."""
    return constants.dry_air_gas_constant * LAPSE_RATE / constants.gravity


def temperature_at_pressure(
    temperature: Array, old: Array, new: Array, constants: PhysicalConstants
) -> Array:
    """Like `at_pressure`; below the old ground temperature follows a constant lapse rate.

    `T = T_lowest (p / p_lowest)^(R Gamma / g)`.
    """
    below = np.maximum(new / old[-1], 1.0) ** _lapse_exponent(constants)
    return at_pressure(temperature, old, new) * below


def moved_surface_pressure(
    pressure: Array,
    ground: tuple[Array, Array],
    profile: tuple[Array, Array, Array],
    constants: PhysicalConstants,
) -> Array:
    """Surface pressure of a hydrostatic atmosphere after its ground moved.

    Where the ground rose: the pressure that the atmosphere had there. Where it sank: the lowest
    layer continues with a constant lapse rate, `p (1 + Gamma z / T)^(g / (R Gamma))`.

    Args:
        pressure: (column,) before [Pa].
        ground: (column,) surface geopotential before and after [m2 s-2].
        profile: (level, column) pressure [Pa], geopotential [m2 s-2] and temperature [K].
        constants: of the model whose atmosphere it is.
    """
    before, after = ground
    levels, geopotential, temperature = profile
    result = np.empty_like(pressure)
    for c in range(pressure.size):
        heights = np.append(geopotential[:, c], before[c])[::-1]
        logarithms = np.log(np.append(levels[:, c], pressure[c]))[::-1]
        result[c] = np.exp(np.interp(after[c], heights, logarithms))
    depth = np.maximum(before - after, 0.0) / constants.gravity
    warmer = 1.0 + LAPSE_RATE * depth / temperature[-1]
    return result * warmer ** (1.0 / _lapse_exponent(constants))


def leaves_on(arrays: dict[str, Array], old: Grid, new: Grid) -> dict[str, Array]:
    """Arrays of a stored state on another grid.

    Args:
        arrays: leaves of a state by path, spectral or on the grid.
        old: dinosaur's horizontal grid of the arrays.
        new: that of the result, finer.
    """
    axes = [(np.asarray(g.longitudes), np.asarray(g.latitudes)) for g in (old, new)]
    result = {}
    for name, value in arrays.items():
        if value.shape[-2:] == tuple(old.modal_shape):
            result[name] = padded(value, tuple(new.modal_shape))
        elif value.shape[-2:] == tuple(old.nodal_shape):
            result[name] = interpolated(value, *axes)
        else:
            result[name] = value
    return result


def over_new_ground(core: Core, state: ModelState, old_height: Array) -> ModelState:
    """Fit a state to the orography of its grid.

    Args:
        core: model and grid.
        state: model state above another orography.
        old_height: (lon, lat) height of that orography [m].

    Returns:
        The state above the orography of the core.
    """
    import jax.numpy as jnp

    from climsim.hosts.gcm.dynamics import grid_state, modal_orography
    from climsim.hosts.gcm.grid import physical_constants

    horizontal, vertical = core.coordinates.horizontal, core.coordinates.vertical
    raw = grid_state(core, state)
    levels = raw.temperature.shape[0]

    def columns(values: jax.Array | Array) -> Array:
        return np.asarray(values, np.float64).reshape(levels, -1)

    def to_modal(values: Array) -> Array:
        grid = values.reshape(*values.shape[:-1], *horizontal.nodal_shape)
        return np.asarray(horizontal.to_modal(grid.astype(np.float32)))

    a = np.asarray(vertical.a_boundaries, np.float64)
    b = np.asarray(vertical.b_boundaries, np.float64)
    a, b = 0.5 * (a[1:] + a[:-1])[:, None], 0.5 * (b[1:] + b[:-1])[:, None]
    temperature, humidity = columns(raw.temperature), columns(raw.specific_humidity)
    before = np.asarray(raw.normalized_surface_pressure, np.float64).ravel() * REFERENCE_PRESSURE
    old = a + b * before
    modal = modal_orography(core.model.terrain.orog, core.coordinates)
    height = np.asarray(horizontal.to_nodal(modal), np.float64)
    constants = physical_constants()
    ground = (constants.gravity * old_height.ravel(), constants.gravity * height.ravel())
    # The core integrates upwards from its own ground, which is the new one.
    profile = (old, columns(raw.geopotential) - ground[1] + ground[0], temperature)
    after = moved_surface_pressure(before, ground, profile, constants)
    new = a + b * after
    warmer = temperature_at_pressure(temperature, old, new, constants) - temperature
    moister = at_pressure(humidity, old, new) - humidity
    spectral = state["dynamics"]
    vapour = spectral.tracers["specific_humidity"] + to_modal(moister)
    spectral = spectral.replace(
        temperature_variation=spectral.temperature_variation + to_modal(warmer),
        log_surface_pressure=spectral.log_surface_pressure + to_modal(np.log(after / before)[None]),
        tracers={**spectral.tracers, "specific_humidity": vapour},
    )
    clouds = {
        name: jnp.asarray(at_pressure(columns(value), old, new).reshape(value.shape), jnp.float32)
        for name, value in state["clouds"].items()
    }
    return {"dynamics": spectral, "clouds": clouds}
