"""What a radiation scheme sees of the columns, and the fluxes that it gives back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import jcm.constants as jcm_constants
import numpy as np
from jax_solar import direct_solar_irradiance
from jcm.physics.chemistry.simple_chemistry import ppmv_to_mole_fraction
from jcm.physics.clouds.cloud_data import radiation_cloud_fields
from jcm.physics.radiation import surface_optics_for_solve
from jcm.physics.radiation.cloud_optics import radiation_effective_radii
from jcm.physics.radiation.mcica import (
    effective_cloud_fraction,
    in_cloud_condensate,
    resolvable_path,
)
from jcm.physics.radiation.radiation_types import (
    RadiationParameters,
    lagged_convection_type,
    liquid_inhomogeneity,
)

if TYPE_CHECKING:
    from jcm.forcing import ForcingData
    from jcm.physics_interface import PhysicsState
    from jcm.terrain import TerrainData

from climsim.hosts.gcm.state import Diagnostics

MICRON = 1.0e-6


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RadiationColumns:
    """Columns as a radiation scheme sees them; the last axis is the column, level 0 the top.

    Attributes:
        temperature: (level, column) [K].
        humidity: (level, column) specific humidity [kg/kg].
        ozone: (level, column) [mol/mol].
        methane: (level, column) [mol/mol].
        pressure: (level, column) [Pa].
        interfaces: (level + 1, column) [Pa].
        cover: (level, column) cloud cover [1].
        liquid_path: (level, column) liquid within the cloud, times its inhomogeneity [kg/m2].
        ice_path: (level, column) ice within the cloud, times its inhomogeneity [kg/m2].
        liquid_radius: (level, column) effective radius of droplets [um].
        ice_radius: (level, column) effective radius of crystals [um].
        aerosol_depth: (band, level, column) extinction of the aerosol in shortwave bands [1].
        aerosol_albedo: (band, level, column) its single-scattering albedo [1].
        aerosol_asymmetry: (band, level, column) its asymmetry [1].
        surface_temperature: (column,) radiative temperature of the surface [K].
        albedo_visible: (column,) [1].
        albedo_near_infrared: (column,) [1].
        emissivity: (column,) [1].
        cos_zenith: (column,) cosine of the sun's zenith angle, negative at night [1].
        irradiance: (column,) sunlight on a surface that faces it [W/m2].
        carbon_dioxide: (column,) [mol/mol].
        nitrous_oxide: (column,) [mol/mol].
    """

    temperature: jax.Array
    humidity: jax.Array
    ozone: jax.Array
    methane: jax.Array
    pressure: jax.Array
    interfaces: jax.Array
    cover: jax.Array
    liquid_path: jax.Array
    ice_path: jax.Array
    liquid_radius: jax.Array
    ice_radius: jax.Array
    aerosol_depth: jax.Array
    aerosol_albedo: jax.Array
    aerosol_asymmetry: jax.Array
    surface_temperature: jax.Array
    albedo_visible: jax.Array
    albedo_near_infrared: jax.Array
    emissivity: jax.Array
    cos_zenith: jax.Array
    irradiance: jax.Array
    carbon_dioxide: jax.Array
    nitrous_oxide: jax.Array

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields by name, as numpy arrays."""
        return {item.name: np.asarray(getattr(self, item.name)) for item in fields(self)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RadiationFluxes:
    """What a radiation scheme gives back, [W/m2]; the last axis is the column.

    The energy closes: what enters at the top is absorbed by a layer, or leaves.

    Attributes:
        shortwave_absorbed: (level, column) by each layer.
        longwave_absorbed: (level, column) by each layer, less its emission.
        shortwave_in: (column,) downward at the top.
        shortwave_out: (column,) upward at the top.
        longwave_out: (column,) upward at the top.
        surface_shortwave_down: (column,).
        surface_shortwave_up: (column,).
        surface_longwave_down: (column,).
        surface_longwave_up: (column,).
        direct_visible: (column,) direct visible light at the surface.
        direct_near_infrared: (column,).
        diffuse_visible: (column,).
        diffuse_near_infrared: (column,).
    """

    shortwave_absorbed: jax.Array
    longwave_absorbed: jax.Array
    shortwave_in: jax.Array
    shortwave_out: jax.Array
    longwave_out: jax.Array
    surface_shortwave_down: jax.Array
    surface_shortwave_up: jax.Array
    surface_longwave_down: jax.Array
    surface_longwave_up: jax.Array
    direct_visible: jax.Array
    direct_near_infrared: jax.Array
    diffuse_visible: jax.Array
    diffuse_near_infrared: jax.Array

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields by name, as numpy arrays."""
        return {item.name: np.asarray(getattr(self, item.name)) for item in fields(self)}


def gather_columns(
    state: PhysicsState,
    diagnostics: Diagnostics,
    forcing: ForcingData,
    terrain: TerrainData,
    *,
    parameters: RadiationParameters,
    cos_zenith: jax.Array,
) -> tuple[RadiationColumns, tuple[jax.Array, jax.Array]]:
    """Columns of the coming radiation step, and the effective radii [um] of its clouds.

    Condensate and cover are those that jcm hands to RRTMGP; the factors of inhomogeneity scale
    the path, not the radius (ECHAM `mo_cloud_optics.f90`).
    """
    levels, columns = state.temperature.shape
    liquid, ice, cover = radiation_cloud_fields(state, diagnostics)
    radii = radiation_effective_radii(
        state,
        diagnostics,
        forcing,
        terrain,
        cloud_water=liquid,
        cloud_ice=ice,
        cloud_fraction=cover,
        cld_frac_min=parameters.cld_frac_min,
    )
    interfaces = diagnostics["pressure_half"].reshape(levels + 1, columns)
    mass = jnp.diff(interfaces, axis=0) / jcm_constants.grav
    shallow = liquid_inhomogeneity(lagged_convection_type(diagnostics, columns), parameters)

    def path(condensate: jax.Array, factor: jax.Array) -> jax.Array:
        inside = in_cloud_condensate(condensate, cover, eps=parameters.cld_frac_min)
        return resolvable_path(inside * mass * factor)

    visible, near_infrared, emissivity = surface_optics_for_solve(diagnostics, columns)
    aerosol, chemistry = diagnostics["aerosol"], diagnostics["chemistry"]
    bands = aerosol.aod_sw_per_band.shape[0]
    ones = jnp.ones(columns, jnp.float32)
    seen = RadiationColumns(
        temperature=state.temperature,
        humidity=jnp.maximum(state.specific_humidity, 0.0),
        ozone=chemistry.ozone_mole_fraction().reshape(levels, columns),
        methane=chemistry.methane_mole_fraction().reshape(levels, columns),
        pressure=diagnostics["pressure_full"].reshape(levels, columns),
        interfaces=interfaces,
        cover=effective_cloud_fraction(cover, eps=parameters.cld_frac_min),
        liquid_path=path(liquid, shallow),
        ice_path=path(ice, parameters.cloud_inhomogeneity_ice),
        liquid_radius=radii[0].reshape(levels, columns),
        ice_radius=radii[1].reshape(levels, columns),
        aerosol_depth=aerosol.aod_sw_per_band.reshape(bands, levels, columns),
        aerosol_albedo=aerosol.ssa_sw_per_band.reshape(bands, levels, columns),
        aerosol_asymmetry=aerosol.asy_sw_per_band.reshape(bands, levels, columns),
        surface_temperature=diagnostics["surface"].surface_temperature.reshape(columns),
        albedo_visible=visible,
        albedo_near_infrared=near_infrared,
        emissivity=emissivity,
        cos_zenith=cos_zenith,
        irradiance=ones
        * direct_solar_irradiance(forcing.solar.orbital_phase, parameters.solar_constant),
        carbon_dioxide=ones * ppmv_to_mole_fraction(forcing.co2_vmr),
        nitrous_oxide=ones * ppmv_to_mole_fraction(forcing.n2o_vmr),
    )
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), seen), radii


def heating(absorbed: jax.Array, interfaces: jax.Array) -> jax.Array:
    """Heating of the layers by what they absorb, `g / c_p  absorbed / dp` [K/s].

    Args:
        absorbed: (level, column) [W/m2].
        interfaces: (level + 1, column) [Pa].
    """
    return jcm_constants.grav / jcm_constants.cpd * absorbed / jnp.diff(interfaces, axis=0)
