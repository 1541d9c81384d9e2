"""Wind at the surface that the grid does not resolve, added where the surface exchanges.

ECHAM's bulk formulas take the wind of the grid cell alone, with a floor of 1 m/s. In a cell of a
thousand kilometres most of the wind that evaporates water is not resolved: the standard deviation
of the wind in the lowest level is a third of that in E3SM. To the square of the resolved wind come
those of the mesoscale gusts, which grow with the size of the cell, of dry convection in the
boundary layer, and of storms, tuned and in proportion to the cell, strongest in the middle
latitudes. The mean stress keeps the direction of the resolved wind.

Source: Mahrt and Sun 1995, Mon. Weather Rev. 123, eq. 9 (cell size); Beljaars 1995, Q. J. R.
Meteorol. Soc. 121 (free convection, beta = 1.2, depth 1000 m).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import jax
import jax.numpy as jnp
import jcm.constants as jcm_constants
import numpy as np
from jcm.physics.physics_term import with_field_overrides
from jcm.physics.vertical_diffusion.tte_tke.vertical_diffusion_types import VDiffParameters

from climsim.arrays import Array
from climsim.errors import ClimSimError, unknown_name
from climsim.hosts.gcm.tuning import GUSTS

if TYPE_CHECKING:
    from jcm.physics.vertical_diffusion.tte_tke.vertical_diffusion_types import VDiffState

_MESOSCALE: Final = 0.32
"""Gust of a cell of ten kilometres [m/s]."""
_SMALLEST_CELL: Final = 5.0e3
"""Cell without mesoscale gusts [m]."""
_GROWTH: Final = 0.33
_STORM_CELL: Final = 1.0e6
"""Cell that the winds of storms are given for [m]."""
_CONVECTIVE: Final = 1.2
_DEPTH: Final = 1000.0
"""Of the convective boundary layer [m]."""
_TRANSFER: Final = 1.2e-3
"""Neutral transfer coefficient that the buoyancy flux is estimated with [1]."""
_CALM: Final = 1.0
_GLOBE: Final = 8
"""A globe of `2 n` Gaussian latitudes has `8 n^2` columns."""


@jax.tree_util.register_pytree_node_class
@dataclass(eq=False)
class GustyParameters(VDiffParameters):
    """jcm's parameters of vertical diffusion, and the winds of storms.

    They are those of a cell of a thousand kilometres. As parts of what jcm hands from function to
    function they may differ between two models of a process, and may be traced.

    Attributes:
        storm_wind: at all latitudes [m/s].
        storm_track_wind: added in the middle latitudes, times `|sin 2 latitude|` [m/s].
    """

    storm_wind: float | jax.Array
    storm_track_wind: float | jax.Array


def gusty_parameters(
    diffusion: Mapping[str, float], storms: Mapping[str, float]
) -> GustyParameters:
    """From tuned values by field.

    Args:
        diffusion: of jcm's vertical diffusion, in place of its defaults.
        storms: `storm_wind` and `storm_track_wind` [m/s].

    Raises:
        ClimSimError: if a name of the storms is no field.
        ValueError: jcm's, if one of the diffusion is none.
    """
    inherited = {field.name for field in fields(VDiffParameters)}
    known = tuple(f.name for f in fields(GustyParameters) if f.name not in inherited)
    for name in storms:
        if name not in known:
            raise unknown_name(f"tuned parameter of {GUSTS}", name, known)
    plain = with_field_overrides(VDiffParameters.default(), diffusion, scheme="vertical_diffusion")
    winds = {name: jnp.float32(value) for name, value in storms.items()}
    return GustyParameters(**plain.asdict(), **winds)


def latitudes(columns: int) -> Array:
    """Of the columns of a globe, longitude by longitude, (column,) [rad].

    Raises:
        ClimSimError: if no grid of the model has so many columns.
    """
    half = round(np.sqrt(columns / _GLOBE))
    if half < 1 or _GLOBE * half**2 != columns:
        raise ClimSimError(f"gusts: expected the columns of a whole globe, found {columns}")
    sines, _ = np.polynomial.legendre.leggauss(2 * half)
    return np.tile(np.arcsin(sines), 4 * half)


def unresolved_wind(columns: int, parameters: GustyParameters) -> jax.Array:
    """Wind that a globe of so many columns leaves unresolved, (column,) [m/s].

    Mesoscale gusts, `0.32 (dx / 5 km - 1)^0.33`, and storms, in proportion to `dx / 1000 km`.
    """
    size = np.sqrt(4.0 * np.pi * float(jcm_constants.rearth) ** 2 / columns)
    gust = _MESOSCALE * max(size / _SMALLEST_CELL - 1.0, 0.0) ** _GROWTH
    share = np.abs(np.sin(2.0 * latitudes(columns))).astype(np.float32)
    storms = parameters.storm_wind + parameters.storm_track_wind * share
    return jnp.hypot(jnp.float32(gust), storms * np.float32(size / _STORM_CELL))


def convective_gust(
    state: VDiffState, wind: jax.Array, surface_temperature: jax.Array
) -> jax.Array:
    """Gust of dry convection, (column,) [m/s].

    Args:
        state: jcm's `VDiffState`.
        wind: (column,) resolved and mesoscale wind [m/s].
        surface_temperature: (column, tile) [K].
    """
    from jcm.physics.thermodynamics import saturation_specific_humidity

    pressure = state.pressure_half[:, -1]
    exner = (pressure / state.pressure_full[:, -1]) ** (jcm_constants.rd / jcm_constants.cpd)
    air = state.temperature[:, -1] * exner
    moist = saturation_specific_humidity(surface_temperature, pressure[:, None])
    excess = moist - state.qv[:, -1:]
    warm = surface_temperature - air[:, None]
    buoyancy = warm + jcm_constants.vtmpc1 * air[:, None] * excess * state.surface_wetness
    buoyancy = jnp.sum(state.surface_fraction * buoyancy, axis=1)
    flux = _TRANSFER * jnp.sqrt(wind**2 + _CALM) * jnp.maximum(buoyancy, 0.0)
    return _CONVECTIVE * jnp.cbrt(jcm_constants.grav / air * _DEPTH * flux)


def gusty_wind(
    state: VDiffState,
    wind: jax.Array,
    surface_temperature: jax.Array,
    parameters: GustyParameters,
) -> jax.Array:
    """Wind speed that exchanges with the surface, (column,) [m/s]."""
    windy = jnp.sqrt(wind**2 + unresolved_wind(wind.shape[0], parameters) ** 2)
    return jnp.sqrt(windy**2 + convective_gust(state, windy, surface_temperature) ** 2)


def install() -> None:
    """Let jcm's surface exchange see the gusty wind wherever the parameters have storms."""
    from jcm.physics.vertical_diffusion.tte_tke import surface_layer

    plain = surface_layer.compute_surface_exchange_coefficients_echam_louis
    if hasattr(plain, GUSTS):
        return

    def exchange(
        state: VDiffState,
        params: VDiffParameters,
        wind: jax.Array,
        surface: jax.Array,
        air: jax.Array,
    ) -> tuple[jax.Array, ...]:
        if isinstance(params, GustyParameters):
            wind = gusty_wind(state, wind, surface, params)
        exchanged: tuple[jax.Array, ...] = plain(state, params, wind, surface, air)
        return exchanged

    setattr(exchange, GUSTS, True)
    surface_layer.compute_surface_exchange_coefficients_echam_louis = exchange
