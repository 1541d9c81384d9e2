"""The four shortwave streams that reach the surface: visible and near-infrared, direct and diffuse.

jcm's radiation term keeps only their sum. This term solves the grey shortwave again with jcm's
public building blocks and keeps the split; its sum is scaled to the flux of the radiation term.
The grey scheme has no Rayleigh scattering, so in clear sky its diffuse part is far too small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax_solar import OrbitalTime, get_solar_sin_altitude, radiation_flux
from jcm.physics.clouds.cloud_data import radiation_cloud_fields
from jcm.physics.radiation.cloud_optics import cloud_optics, surface_albedo_by_sw_band
from jcm.physics.radiation.grey_two_stream.gas_optics import gas_optical_depth_sw
from jcm.physics.radiation.grey_two_stream.radiation_scheme import (
    aerosol_band_aod_scaling,
    combine_optical_properties,
)
from jcm.physics.radiation.grey_two_stream.two_stream import shortwave_fluxes
from jcm.physics.radiation.mcica import (
    column_total_cover,
    effective_cloud_fraction,
    in_cloud_path,
    resolvable_path,
)
from jcm.physics.radiation.radiation_types import (
    OpticalProperties,
    RadiationParameters,
    lagged_convection_type,
    liquid_inhomogeneity,
)
from jcm.physics_interface import PhysicsTendency

from climsim.hosts.gcm.radiation import SunlitTerm
from climsim.hosts.gcm.state import OPTICS_KEY, STREAMS_KEY, Diagnostics

if TYPE_CHECKING:
    from jcm.forcing import ForcingData
    from jcm.physics_interface import PhysicsState
    from jcm.terrain import TerrainData

_NEAR_INFRARED, _VISIBLE = 0, 1
_BANDS, _LONGWAVE_BANDS = 2, 3
_VAPOUR_TO_DRY_MOLES = 1.608


def _column_streams(
    column: dict[str, jax.Array],
    cos_zenith: jax.Array,
    insolation: jax.Array,
    parameters: RadiationParameters,
) -> jax.Array:
    """Direct and diffuse flux at the surface of one column, (2, band) [W/m2].

    Args:
        column: temperature, pressure, moisture, cloud and aerosol of one column, level 0 = top.
        cos_zenith: cosine of the solar zenith angle [1].
        insolation: flux at the model top [W/m2].
        parameters: jcm's radiation parameters.
    """
    vapour = jnp.clip(column["humidity"], 0.0, 0.99)
    thickness = jnp.maximum(column["thickness"], 1.0)
    density = jnp.maximum(column["density"], 1e-6)
    gas = gas_optical_depth_sw(
        temperature=column["temperature"],
        pressure=jnp.maximum(column["pressure"], 1.0),
        h2o_vmr=vapour / (1.0 - vapour) * _VAPOUR_TO_DRY_MOLES,
        o3_vmr=column["ozone"],
        layer_thickness=thickness,
        air_density=density,
        cos_zenith=cos_zenith,
    )
    cover = jnp.clip(column["cover"], 0.0, 1.0)

    def path(condensate: jax.Array) -> jax.Array:
        grid_mean = jnp.maximum(condensate, 0.0) * density * thickness
        return resolvable_path(in_cloud_path(grid_mean, cover, eps=parameters.cld_frac_min))

    cloudy, _ = cloud_optics(
        cloud_water_path=path(column["liquid"]),
        cloud_ice_path=path(column["ice"]),
        layer_thickness=thickness,
        cdnc_factor=column["cdnc_factor"],
        inhomogeneity_liquid=liquid_inhomogeneity(column["convection_type"], parameters),
        inhomogeneity_ice=parameters.cloud_inhomogeneity_ice,
    )
    clear = OpticalProperties(*(jnp.zeros_like(cloudy.optical_depth) for _ in range(3)))
    scaling, _ = aerosol_band_aod_scaling(column["angstrom"], _BANDS, _LONGWAVE_BANDS)
    aerosol = (
        column["aod"][:, None] * scaling,
        jnp.tile(column["ssa"][:, None], (1, _BANDS)),
        jnp.tile(column["asymmetry"][:, None], (1, _BANDS)),
    )
    albedo = surface_albedo_by_sw_band(column["albedo_vis"], column["albedo_nir"])
    top = jnp.full((_BANDS,), insolation / _BANDS)

    def solve(clouds: OpticalProperties) -> jax.Array:
        optics = combine_optical_properties(gas, clouds, *aerosol)
        _, _, direct, diffuse = shortwave_fluxes(optics, cos_zenith, top, albedo, _BANDS)
        return jnp.stack([direct[-1], diffuse[-1]])

    total_cover = column_total_cover(
        effective_cloud_fraction(cover, eps=parameters.cld_frac_min), parameters.cloud_overlap
    )
    mixed = (1.0 - total_cover) * solve(clear) + total_cover * solve(cloudy)
    return jnp.where(cos_zenith > 0.0, jnp.maximum(mixed, 0.0), 0.0)


class SurfaceStreams(SunlitTerm):
    """Publish the four streams [W/m2] of the coming radiation step; no tendency."""

    name: ClassVar[str] = "climsim_surface_streams"
    category: ClassVar[str] = "diagnostics"
    requires: ClassVar[tuple[str, ...]] = (
        "pressure_full",
        "layer_thickness",
        "air_density",
        "chemistry",
        "aerosol",
        "radiation",
        "clouds",
    )
    provides: ClassVar[tuple[str, ...]] = (STREAMS_KEY,)

    def __init__(self, parameters: RadiationParameters) -> None:
        """Hold the parameters of the radiation term."""
        self.parameters = nnx.Param(parameters)

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Solve the shortwave of every column and keep the split at the surface."""
        columns = state.temperature.shape[1]
        parameters = self.parameters.get_value()
        liquid, ice, cover = radiation_cloud_fields(state, diagnostics)
        optics, aerosol = diagnostics[OPTICS_KEY], diagnostics["aerosol"]
        orbit = OrbitalTime(
            orbital_phase=forcing.solar.orbital_phase, synodic_phase=forcing.solar.synodic_phase
        )
        lon, lat = self._lons.get_value(), self._lats.get_value()
        insolation = radiation_flux(orbit, lon, lat, parameters.solar_constant)
        cos_zenith = get_solar_sin_altitude(orbit, lon, lat)
        levels = {
            "temperature": state.temperature,
            "humidity": state.specific_humidity,
            "pressure": diagnostics["pressure_full"],
            "thickness": diagnostics["layer_thickness"],
            "density": diagnostics["air_density"],
            "ozone": diagnostics["chemistry"].ozone_mole_fraction(),
            "liquid": liquid,
            "ice": ice,
            "cover": cover,
            "aod": aerosol.aod_profile,
            "ssa": aerosol.ssa_profile,
            "asymmetry": aerosol.asy_profile,
        }
        profiles = {key: value.reshape(-1, columns).T for key, value in levels.items()}
        scalars = {
            "cdnc_factor": aerosol.cdnc_factor.reshape(columns),
            "angstrom": aerosol.angstrom.reshape(columns),
            "convection_type": lagged_convection_type(diagnostics, columns),
            "albedo_vis": optics["albedo_vis"].reshape(columns),
            "albedo_nir": optics["albedo_nir"].reshape(columns),
        }
        split = jax.vmap(_column_streams, in_axes=(0, 0, 0, None))(
            profiles | scalars, cos_zenith, insolation, parameters
        )
        total = jnp.sum(split, axis=(1, 2))
        surface = diagnostics["radiation"].surface_sw_down.reshape(columns)
        scale = jnp.where(total > 0.0, surface / jnp.where(total > 0.0, total, 1.0), 0.0)
        split = split * scale[:, None, None]
        streams = {
            "SOLS": split[:, 0, _VISIBLE],
            "SOLL": split[:, 0, _NEAR_INFRARED],
            "SOLSD": split[:, 1, _VISIBLE],
            "SOLLD": split[:, 1, _NEAR_INFRARED],
            "unscaled_sum": total,
        }
        zero = PhysicsTendency.zeros(state.temperature.shape)
        return zero, {**diagnostics, STREAMS_KEY: streams}
