"""Horizontal diffusion of the spectral core: ECHAM's middle-atmosphere profile, by pressure.

jcm has ECHAM's profiles for 47 and 95 levels only and takes SPEEDY's uniform one elsewhere:
del^2 on divergence with two hours, which damps the divergence of the largest waves within two
days. At T10 that takes away the trade winds. Here the order rises from del^2 at the top to del^8
below 3 hPa. ECHAM leaves the zonal mean alone; at T10 its divergence then piles up beyond the
truncation (8 m/s of meridional wind after three months), so it is diffused like the waves.

Source: ECHAM6.3 `mo_hdiff.f90` (`sudif`, `lmidatm`): transitions at 0.23, 1.22 and 2.96 hPa;
divergence damped five times faster than vorticity, temperature 2.5 times slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from jcm.diffusion import DiffusionFilter

TRANSITIONS: Final = (23.0, 122.0, 296.0)
"""Pressure below which the order of the Laplacian rises by one [Pa]."""
HOURS: Final = 12.0
"""Damping time of vorticity at the truncation [h]."""
_DIVERGENCE, _TEMPERATURE = 5.0, 0.4
_SECONDS = 3600.0


def echam_diffusion(middle_pressure: np.ndarray, hours: float = HOURS) -> DiffusionFilter:
    """jcm's description of the filter.

    Args:
        middle_pressure: (level,) [Pa].
        hours: damping time of vorticity at the truncation [h].
    """
    import jax.numpy as jnp
    from jcm.diffusion import DiffusionFilter

    orders = jnp.asarray(1 + np.searchsorted(TRANSITIONS, middle_pressure), jnp.int32)
    seconds = hours * _SECONDS
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
