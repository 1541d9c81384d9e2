"""What a step did: emulated tendencies, surface fields and fields for the history."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jcm.constants as jcm_constants

from climsim.constants import TIME_STEP, WATER_DENSITY
from climsim.hosts.gcm.dynamics import PhysicsStep
from climsim.hosts.gcm.observe import freezing
from climsim.hosts.gcm.positivity import water_fields
from climsim.hosts.gcm.state import (
    RETAINED_KEY,
    STREAMS_KEY,
    SURFACE_LIGHT,
    tendency_fields,
)

TENDENCY_NAMES = {
    "ptend_t": "temperature",
    "ptend_q0001": "specific_humidity",
    "ptend_q0002": "qc",
    "ptend_q0003": "qi",
    "ptend_u": "u_wind",
    "ptend_v": "v_wind",
}
"""ClimSim's name of each emulated tendency and jcm's field."""
_LOW_CLOUD, _HIGH_CLOUD, _TOP_CLOUD = 70000.0, 40000.0, 5000.0


def emulated_tendencies(step: PhysicsStep) -> dict[str, jax.Array]:
    """Applied tendency less the retained one, (level, column): what an emulator has to give."""
    fields, retained = tendency_fields(step.tendency), step.carry[RETAINED_KEY]
    return {
        name: fields[field].reshape(retained[field].shape) - retained[field]
        for name, field in TENDENCY_NAMES.items()
    }


def physics_surface(step: PhysicsStep) -> dict[str, jax.Array]:
    """The eight surface fields of full physics, (column,).

    jcm does not tell convective rain from snow: it is snow where the lowest level is below
    freezing.
    """
    carry = step.carry
    radiation, clouds = carry["radiation"], carry["clouds"]
    lowest = step.state.temperature[-1].reshape(-1)
    convective = carry["convection"].precip_conv.reshape(-1)
    snow = clouds.precip_snow.reshape(-1) + jnp.where(freezing(lowest), convective, 0.0)
    total = clouds.precip_rain.reshape(-1) + clouds.precip_snow.reshape(-1) + convective
    surface = {
        "cam_out_NETSW": radiation.surface_sw_down - radiation.surface_sw_up,
        "cam_out_FLWDS": radiation.surface_lw_down,
        "cam_out_PRECSC": snow / WATER_DENSITY,
        "cam_out_PRECC": total / WATER_DENSITY,
        **{f"cam_out_{name}": carry[STREAMS_KEY][name] for name in SURFACE_LIGHT},
    }
    return {name: jnp.maximum(value.reshape(-1), 0.0) for name, value in surface.items()}


def common_diagnostics(step: PhysicsStep, surface_geopotential: jax.Array) -> dict[str, jax.Array]:
    """History fields that full physics and the hybrid both have.

    Args:
        step: the step.
        surface_geopotential: (lon, lat) [m2 s-2].
    """
    carry = step.carry
    surface, clouds = carry["surface"], carry["clouds"]
    thickness, pressure = carry["pressure_thickness"], carry["pressure_full"]
    cover = clouds.cloud_fraction
    levels = cover.shape[0]
    added = carry["water_positivity_correction"]["column_water_source"] * TIME_STEP
    before, after = water_fields(step.raw), water_fields(step.state)
    changes = [after[name] - before[name] for name in after]
    filled = sum((jnp.maximum(change, 0.0) for change in changes), jnp.float32(0.0))
    net = sum(changes, jnp.float32(0.0))

    def column(values: jax.Array) -> jax.Array:
        return jnp.sum(values.reshape(levels, -1) * thickness, axis=0) / jcm_constants.grav

    return {
        "CLOUD": cover,
        "CLDTOT": _overlapped(cover, pressure, 0.0, jnp.inf),
        "CLDLOW": _overlapped(cover, pressure, _LOW_CLOUD, jnp.inf),
        "CLDMED": _overlapped(cover, pressure, _HIGH_CLOUD, _LOW_CLOUD),
        "CLDHGH": _overlapped(cover, pressure, _TOP_CLOUD, _HIGH_CLOUD),
        "Z3": step.state.geopotential.reshape(levels, -1) / jcm_constants.grav,
        "PHIS": surface_geopotential.reshape(-1),
        "TS": surface.surface_temperature.reshape(-1),
        "LHFLX": surface.latent_heat_flux.reshape(-1),
        "SHFLX": surface.sensible_heat_flux.reshape(-1),
        "QFLX": surface.evaporation.reshape(-1),
        "TAUX": -surface.momentum_flux_u.reshape(-1),
        "TAUY": -surface.momentum_flux_v.reshape(-1),
        "host_negative_water_added": added.reshape(-1) + column(net),
        "host_negative_water_moved": column(filled),
    }


def radiation_diagnostics(step: PhysicsStep, *, clear_sky: bool) -> dict[str, jax.Array]:
    """History fields that only full physics has: fluxes at the model top.

    Args:
        step: the step.
        clear_sky: whether the radiation solves the sky without clouds too.
    """
    radiation = step.carry["radiation"]
    fields = {
        "FLUT": radiation.toa_lw_up,
        "FLNT": radiation.toa_lw_up,
        "FSNT": radiation.toa_sw_down - radiation.toa_sw_up,
        "FLNS": radiation.surface_lw_up - radiation.surface_lw_down,
    }
    if clear_sky:
        fields |= {
            "FLUTC": radiation.toa_lw_up_clear,
            "FSNTC": radiation.toa_sw_down - radiation.toa_sw_up_clear,
            "LWCF": radiation.toa_lw_up_clear - radiation.toa_lw_up,
            "SWCF": radiation.toa_sw_up_clear - radiation.toa_sw_up,
        }
    return {name: value.reshape(-1) for name, value in fields.items()}


def _overlapped(cover: jax.Array, pressure: jax.Array, low: float, high: float) -> jax.Array:
    """Cover of the layers with `low <= p < high` [Pa] under maximum-random overlap, (column,).

    `1 - prod (1 - max(c_k, c_{k-1})) / (1 - c_{k-1})`. Source: Geleyn and Hollingsworth 1979.
    """
    inside = jnp.where((pressure >= low) & (pressure < high), jnp.clip(cover, 0.0, 0.999), 0.0)
    above = jnp.concatenate([jnp.zeros_like(inside[:1]), inside[:-1]])
    return 1.0 - jnp.prod((1.0 - jnp.maximum(inside, above)) / (1.0 - above), axis=0)
