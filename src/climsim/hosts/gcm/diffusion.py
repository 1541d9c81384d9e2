"""Horizontal diffusion of the spectral core: ECHAM's middle-atmosphere profile, by pressure.

jcm has ECHAM's profiles for 47 and 95 levels only and takes SPEEDY's uniform one elsewhere:
del^2 on divergence with two hours, which damps the divergence of the largest waves within two
days. At T10 that takes away the trade winds. Here the order rises from del^2 at the top to del^8
below 3 hPa, and the damping time grows with the shortest wavelength: ECHAM's 12 h at T31 are 36 h
at T10, whose largest storms are already near its truncation. Above 3 hPa it stays at 12 h at most:
with 36 h the winds at the model top passed 200 m/s. ECHAM leaves the zonal mean alone; at T10 its
divergence then piles up beyond the truncation (8 m/s of meridional wind after three months), so it
is diffused like the waves.

The kinetic energy that it takes from a level warms that level everywhere alike.

Source: ECHAM6.3 `mo_hdiff.f90` (`sudif`, `lmidatm`): transitions at 0.23, 1.22 and 2.96 hPa;
divergence damped five times faster than vorticity, temperature 2.5 times slower. Heat: Boville
and Bretherton 2003, J. Climate 16, section 2.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

import numpy as np

from climsim.hosts.gcm.grid import RESOLUTIONS

if TYPE_CHECKING:
    import jax
    from jcm.diffusion import DiffusionFilter
    from jcm.dycore.dinosaur.dycore import DinosaurDycore

    from climsim.hosts.gcm.state import SpectralState

TRANSITIONS: Final = (23.0, 122.0, 296.0)
"""Pressure below which the order of the Laplacian rises by one [Pa]."""
_HOURS: Final = 360.0
"""Damping time of vorticity at the truncation, times its wavenumber [h]."""
_TOP_HOURS: Final = 12.0
"""Longest damping time above the last of the transitions [h]."""
_DIVERGENCE, _TEMPERATURE = 5.0, 0.4
_SECONDS = 3600.0
_VAPOUR: Final = "specific_humidity"


def default_hours(resolution: str) -> float:
    """Damping time of vorticity at the truncation of a resolution [h]."""
    return _HOURS / RESOLUTIONS[resolution][0]


def echam_diffusion(middle_pressure: np.ndarray, hours: float | jax.Array) -> DiffusionFilter:
    """jcm's description of the filter.

    Args:
        middle_pressure: (level,) [Pa].
        hours: damping time of vorticity at the truncation, which may be traced [h]; above the last
            of the transitions at most 12 h.
    """
    import jax.numpy as jnp
    from jcm.diffusion import DiffusionFilter

    orders = jnp.asarray(1 + np.searchsorted(TRANSITIONS, middle_pressure), jnp.int32)
    top = middle_pressure < TRANSITIONS[-1]
    limited = jnp.where(top, jnp.minimum(hours, _TOP_HOURS), hours)
    seconds = _SECONDS * limited[:, None]
    return DiffusionFilter(
        div_timescale=seconds / _DIVERGENCE,
        div_order=1,
        vor_q_timescale=seconds,
        vor_q_order=2,
        temp_timescale=seconds / _TEMPERATURE,
        temp_order=2,
        level_orders_div=orders,
        level_orders_vor_q=orders,
        level_orders_temp=orders,
        diffuse_zonal_mean=True,
    )


def with_diffusion(dycore: DinosaurDycore, diffusion: DiffusionFilter) -> DinosaurDycore:
    """The same dynamical core with another filter, whose damping times may be traced.

    jcm computes the factors of its filters when it builds them, as numbers.
    """
    factors = [
        _factor(dycore, time, orders)
        for time, orders in (
            (diffusion.vor_q_timescale, diffusion.level_orders_vor_q),
            (diffusion.div_timescale, diffusion.level_orders_div),
            (diffusion.temp_timescale, diffusion.level_orders_temp),
        )
    ]

    def damp(_: SpectralState, state: SpectralState) -> SpectralState:
        # Condensate that the spectral core carries lies on the grid, and is not diffused.
        vapour = factors[0] * state.tracers[_VAPOUR]
        return state.replace(
            vorticity=factors[0] * state.vorticity,
            divergence=factors[1] * state.divergence,
            temperature_variation=factors[2] * state.temperature_variation,
            tracers={**state.tracers, _VAPOUR: vapour},
        )

    other = copy.copy(dycore)
    other.diffusion = diffusion
    other._filters = [dycore._conserve_global_mean_ps, damp]
    return other


def _factor(dycore: DinosaurDycore, timescale: float | jax.Array, orders: jax.Array) -> jax.Array:
    """What a step of the filter leaves of each coefficient, (level, 1, wavenumber) [1]."""
    from jcm.diffusion import level_dependent_scaling

    eigenvalues = dycore.coords.horizontal.laplacian_eigenvalues
    factor: jax.Array = level_dependent_scaling(eigenvalues, timescale, orders, dycore.dt_seconds)
    return factor


def with_dissipation_heat(state: SpectralState, dycore: DinosaurDycore) -> SpectralState:
    """Warm each level by the kinetic energy that the filter has just taken from it.

    A coefficient `c` of vorticity or divergence holds `c^2 / (8 pi) a^2 / (l (l + 1))` of kinetic
    energy by mass, and was `1 / f` as large before the filter's factor `f`.

    Args:
        state: after the filter, coefficients of an orthonormal basis [s-1], [K].
        dycore: with the filter.
    """
    import jax.numpy as jnp
    import jcm.constants as jcm_constants

    diffusion, eigenvalues = dycore.diffusion, dycore.coords.horizontal.laplacian_eigenvalues
    waves = np.abs(eigenvalues) > 0
    energy = np.where(waves, -0.125 / np.pi / np.where(waves, eigenvalues, 1.0), 0.0)

    def lost(coefficients: jax.Array, timescale: float, orders: jax.Array) -> jax.Array:
        share = energy.astype(np.float32) * (_factor(dycore, timescale, orders) ** -2.0 - 1.0)
        return jnp.sum(share * coefficients**2, axis=(-2, -1))

    taken = lost(state.vorticity, diffusion.vor_q_timescale, diffusion.level_orders_vor_q)
    taken += lost(state.divergence, diffusion.div_timescale, diffusion.level_orders_div)
    everywhere = np.float32(np.sqrt(4.0 * np.pi) / jcm_constants.cpd)
    warmer = state.temperature_variation.at[:, 0, 0].add(everywhere * taken)
    return state.replace(temperature_variation=warmer)
