"""What a step starts from: ClimSim's inputs, and whether the state is within physical bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import jax
import jax.numpy as jnp
import jcm.constants as jcm_constants
from jax_solar import OrbitalTime, get_solar_sin_altitude, radiation_flux
from jcm.forcing import land_snow_cover
from jcm.physics.forcing.echam_boundary_conditions import sea_ice_surface_temperature
from jcm.physics.surface.echam import albedo as jcm_albedo

from climsim.arrays import Array
from climsim.constants import REFERENCE_PRESSURE
from climsim.hosts.gcm.dynamics import Core, cell_mass, grid_state
from climsim.hosts.gcm.positivity import with_filled_water
from climsim.hosts.gcm.state import Diagnostics, Excess, ModelState

if TYPE_CHECKING:
    from jcm.forcing import ForcingData
    from jcm.model import Model
    from jcm.physics_interface import PhysicsState
    from jcm.terrain import TerrainData

SOLAR_CONSTANT: Final = 1361.0
"""Insolation at the mean distance of the sun [W m-2] (jcm)."""
FULL_SNOW_WATER: Final = 0.06
"""Water equivalent of a full snow cover [m] (ECHAM's critical snow depth)."""
PER_MILLION: Final = 1.0e-6

BOUNDS: Final = {
    "state_t": (130.0, 360.0),
    "state_u": (-200.0, 200.0),
    "state_v": (-200.0, 200.0),
    "state_ps": (40000.0, 115000.0),
    "land_skin_temperature": (130.0, 370.0),
}
"""Range that a healthy state stays in, by variable [K, m/s, m/s, Pa, K]."""


def _tiles(forcing: ForcingData, terrain: TerrainData) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Fractions of land, sea ice and open water, (column,), summing to one."""
    land = terrain.fmask.reshape(-1)
    ice = jnp.clip(forcing.sice_am.reshape(-1), 0.0, 1.0 - land)
    return land, ice, 1.0 - land - ice


def _land_temperature(carry: Diagnostics, forcing: ForcingData) -> jax.Array:
    carried = carry["surface"].land_surface_temperature.reshape(-1)
    return jnp.where(carried > 0.0, carried, forcing.stl_am.reshape(-1))


def albedos(
    forcing: ForcingData, terrain: TerrainData, carry: Diagnostics, cos_zenith: jax.Array
) -> dict[str, jax.Array]:
    """The four albedos of ClimSim [1], (column,): tile averages of ECHAM's schemes.

    Land and sea ice reflect all light alike; open water has a direct-beam albedo that
    depends on the sun's height and band, and a constant diffuse one.
    """
    parameters = jcm_albedo.EchamSurfaceAlbedoParameters()
    land, ice, water = _tiles(forcing, terrain)
    land_albedo = jcm_albedo.land_albedo(
        forcing.alb0.reshape(-1),
        jnp.clip(forcing.snowc_am.reshape(-1), 0.0, 1.0),
        _land_temperature(carry, forcing),
        parameters,
        forest_fraction=forcing.forest_fraction.reshape(-1),
        glacier_fraction=forcing.glacier_fraction.reshape(-1),
    )
    sst = forcing.sea_surface_temperature.reshape(-1)
    ice_albedo = jcm_albedo.sea_ice_albedo(sea_ice_surface_temperature(sst, ice), parameters)
    visible, near_infrared, diffuse = jcm_albedo.ocean_albedo(cos_zenith, parameters)
    dry = land * land_albedo + ice * ice_albedo
    return {
        "cam_in_ASDIR": dry + water * visible,
        "cam_in_ALDIR": dry + water * near_infrared,
        "cam_in_ASDIF": dry + water * diffuse,
        "cam_in_ALDIF": dry + water * diffuse,
    }


def observe(
    core: Core,
    state: ModelState,
    carry: Diagnostics,
    forcing: ForcingData,
    *,
    longitude: Array,
    latitude: Array,
) -> tuple[dict[str, jax.Array], dict[str, Excess]]:
    """Inputs of the coming step and the worst violation of each bound.

    Args:
        core: model and grid.
        state: model state.
        carry: cross-step carry.
        forcing: boundary data of this step.
        longitude: (column,) [degrees east].
        latitude: (column,) [degrees north].

    Returns:
        Every variable of a raw input file, profiles (level, column), scalars (column,); and per
        variable of `BOUNDS` the `Excess`.
    """
    model, raw = core.model, grid_state(core, state)
    seen = with_filled_water(raw, cell_mass(model, raw.normalized_surface_pressure))
    surface_pressure, middle = _pressures(model, seen)
    orbit = OrbitalTime(
        orbital_phase=forcing.solar.orbital_phase, synodic_phase=forcing.solar.synodic_phase
    )
    cos_zenith = get_solar_sin_altitude(orbit, longitude, latitude)
    land, ice, water = _tiles(forcing, model.terrain)
    snow = land_snow_cover(forcing.snowc_am.reshape(-1), forcing.glacier_fraction.reshape(-1))
    ones = jnp.ones_like(_profile(seen.temperature))
    surface, radiation = carry["surface"], carry["radiation"]
    inputs = {
        "state_t": _profile(seen.temperature),
        "state_q0001": _profile(seen.specific_humidity),
        "state_q0002": _profile(seen.tracers["qc"]),
        "state_q0003": _profile(seen.tracers["qi"]),
        "state_u": _profile(seen.u_wind),
        "state_v": _profile(seen.v_wind),
        "state_pmid": middle,
        "pbuf_ozone": forcing.ozone_climatology.o3_ppmv * PER_MILLION,
        "pbuf_CH4": ones * forcing.ch4_vmr * PER_MILLION,
        "pbuf_N2O": ones * forcing.n2o_vmr * PER_MILLION,
        "state_ps": surface_pressure,
        "pbuf_SOLIN": radiation_flux(orbit, longitude, latitude, SOLAR_CONSTANT),
        "pbuf_LHFLX": surface.latent_heat_flux.reshape(-1),
        "pbuf_SHFLX": surface.sensible_heat_flux.reshape(-1),
        "pbuf_TAUX": -surface.momentum_flux_u.reshape(-1),
        "pbuf_TAUY": -surface.momentum_flux_v.reshape(-1),
        "pbuf_COSZRS": jnp.maximum(cos_zenith, 0.0),
        **albedos(forcing, model.terrain, carry, cos_zenith),
        "cam_in_LWUP": radiation.surface_lw_up.reshape(-1),
        "cam_in_ICEFRAC": ice,
        "cam_in_LANDFRAC": land,
        "cam_in_OCNFRAC": water,
        "cam_in_SNOWHICE": jnp.zeros_like(land),
        "cam_in_SNOWHLAND": jnp.where(land > 0.0, snow * FULL_SNOW_WATER, 0.0),
    }
    checked = _checked(raw, surface_pressure, carry, forcing)
    return inputs, {name: _worst(checked[name], *BOUNDS[name]) for name in BOUNDS}


def _profile(values: jax.Array) -> jax.Array:
    """(level, column) of (level, longitude, latitude)."""
    return values.reshape(values.shape[0], -1)


def _pressures(model: Model, seen: PhysicsState) -> tuple[jax.Array, jax.Array]:
    """At the surface (column,) and at the middle of the levels (level, column) [Pa]."""
    vertical = model.coords.vertical
    a, b = jnp.asarray(vertical.a_boundaries), jnp.asarray(vertical.b_boundaries)
    pressure = seen.normalized_surface_pressure.reshape(-1) * REFERENCE_PRESSURE
    return pressure, 0.5 * (a[1:] + a[:-1])[:, None] + 0.5 * (b[1:] + b[:-1])[:, None] * pressure


def _checked(
    raw: PhysicsState, surface_pressure: jax.Array, carry: Diagnostics, forcing: ForcingData
) -> dict[str, jax.Array]:
    """What `BOUNDS` are of."""
    return {
        "state_t": _profile(raw.temperature),
        "state_u": _profile(raw.u_wind),
        "state_v": _profile(raw.v_wind),
        "state_ps": surface_pressure,
        "land_skin_temperature": _land_temperature(carry, forcing),
    }


def _worst(values: jax.Array, low: float, high: float) -> Excess:
    """Largest excess over a range relative to its width, its flat index, the value there."""
    excess = jnp.maximum(low - values, values - high) / (high - low)
    excess = jnp.where(jnp.isfinite(values), excess, jnp.inf).reshape(-1)
    index = jnp.argmax(excess)
    return Excess(excess[index], index, values.reshape(-1)[index])


def freezing(temperature: jax.Array) -> jax.Array:
    """Whether precipitation falls as snow at a temperature of the lowest level [K]."""
    return temperature < jcm_constants.tmelt
