"""The radiation term of the embedded model: a scheme, called as often as asked for.

Between two calls the longwave keeps and the shortwave follows the height of the sun (jcm's
`rescale_cached_radiation`, as ECHAM does).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
import jcm.constants as jcm_constants
from flax import nnx
from jcm.physics.coords_util import column_lat_lon
from jcm.physics.physics_term import PhysicsTerm
from jcm.physics.radiation import (
    current_cos_zenith,
    hold_land_albedo,
    radiation_should_compute,
    rescale_cached_radiation,
)
from jcm.physics.radiation.mcica import column_total_cover
from jcm.physics.radiation.radiation_types import RadiationData, RadiationParameters
from jcm.physics_interface import PhysicsTendency

from climsim.hosts.gcm.columns import (
    RadiationColumns,
    RadiationFluxes,
    gather_columns,
    heating,
)
from climsim.hosts.gcm.state import COLUMNS_KEY, STREAMS_KEY, SURFACE_LIGHT, Diagnostics
from climsim.hosts.gcm.terms import grey_body

if TYPE_CHECKING:
    from dinosaur.coordinate_systems import CoordinateSystem
    from jcm.forcing import ForcingData
    from jcm.physics_interface import PhysicsState
    from jcm.terrain import TerrainData

Scheme = Callable[[RadiationColumns], RadiationFluxes]
_Published = tuple[RadiationData, dict[str, jax.Array]]
"""jcm's record of the radiation, and the four surface streams by name, (column,) [W/m2]."""
_DARK = 1.0e-3
"""Cosine of the zenith angle below which a stored flux is not rescaled [1] (jcm's)."""


class SunlitTerm(PhysicsTerm):
    """A term that knows where its columns are and how high the sun stands over them."""

    def cache_coords(self, coords: CoordinateSystem) -> None:
        """Keep latitude and longitude of the columns."""
        lat, lon = column_lat_lon(coords.horizontal)
        self._lats = nnx.Variable(lat * 180.0 / jnp.pi)
        self._lons = nnx.Variable(lon * 180.0 / jnp.pi)

    def cos_zenith(self, forcing: ForcingData) -> jax.Array:
        """Cosine of the sun's zenith angle now, negative at night, (column,) [1]."""
        return current_cos_zenith(forcing.solar, self._lons.get_value(), self._lats.get_value())


class FluxRadiation(SunlitTerm):
    """Heat the air by a scheme's fluxes and publish them with the four surface streams."""

    name: ClassVar[str] = "climsim_radiation"
    category: ClassVar[str] = "radiation"
    requires: ClassVar[tuple[str, ...]] = (
        "pressure_full",
        "pressure_half",
        "air_density",
        "chemistry",
        "aerosol",
        "radiation",
        "surface",
        "clouds",
    )
    provides: ClassVar[tuple[str, ...]] = ("radiation", "clouds", STREAMS_KEY)

    def __init__(self, scheme: Scheme, params: RadiationParameters) -> None:
        """Choose the scheme.

        Args:
            scheme: fluxes of columns.
            params: jcm's radiation parameters, the interval among them.
        """
        self.scheme = scheme
        self.params = nnx.Param(params)

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Solve, or follow the sun."""
        parameters = self.params.get_value()
        dark = {name: jnp.zeros(state.temperature.shape[1]) for name in SURFACE_LIGHT}
        before = diagnostics["radiation"], diagnostics.get(STREAMS_KEY, dark)
        sun = self.cos_zenith(forcing)
        clouds = diagnostics["clouds"]
        seen, radii = gather_columns(
            state, diagnostics, forcing, terrain, parameters=parameters, cos_zenith=sun
        )

        def solved() -> _Published:
            fluxes = self.scheme(seen)
            record = _published(before[0], fluxes, seen, parameters)
            return record, _streams(fluxes)

        def followed() -> _Published:
            return _following(*before, sun)

        due = radiation_should_compute(diagnostics, parameters)
        radiation, streams = jax.lax.cond(
            due, lambda: _like(solved(), before), lambda: _like(followed(), before)
        )
        radiation = _with_grey_surface(radiation, seen)
        radiation = radiation.copy(step=before[0].step + 1)
        clouds = clouds.copy(
            toa_sw_up_all=radiation.toa_sw_up,
            toa_lw_up_all=radiation.toa_lw_up,
            r_eff_liq=radii[0].reshape(clouds.r_eff_liq.shape),
            r_eff_ice=radii[1].reshape(clouds.r_eff_ice.shape),
        )
        published = {
            **diagnostics,
            "radiation": radiation,
            "clouds": clouds,
            STREAMS_KEY: streams,
        }
        zero = jnp.zeros_like(state.temperature)
        warming = radiation.sw_heating_rate + radiation.lw_heating_rate
        tendency = PhysicsTendency(
            u_wind=zero,
            v_wind=zero,
            temperature=warming.astype(zero.dtype),
            specific_humidity=zero,
            tracers={},
        )
        # The land absorbs by its present albedo between two calls too, as in the hybrid.
        return tendency, hold_land_albedo(published, jnp.asarray(True))


class ColumnsTap(SunlitTerm):
    """Publish the columns that a radiation scheme would see now; no tendency."""

    name: ClassVar[str] = "climsim_columns_tap"
    category: ClassVar[str] = "diagnostics"
    requires: ClassVar[tuple[str, ...]] = FluxRadiation.requires
    provides: ClassVar[tuple[str, ...]] = (COLUMNS_KEY,)

    def __init__(self, params: RadiationParameters) -> None:
        """Hold jcm's radiation parameters."""
        self.params = nnx.Param(params)

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Gather the columns."""
        sun = self.cos_zenith(forcing)
        parameters = self.params.get_value()
        seen, _ = gather_columns(
            state, diagnostics, forcing, terrain, parameters=parameters, cos_zenith=sun
        )
        zero = PhysicsTendency.zeros(state.temperature.shape)
        return zero, {**diagnostics, COLUMNS_KEY: seen}


def _like(tree: _Published, template: _Published) -> _Published:
    shaped: _Published = jax.tree.map(
        lambda new, old: new.astype(old.dtype).reshape(old.shape), tree, template
    )
    return shaped


def _streams(fluxes: RadiationFluxes) -> dict[str, jax.Array]:
    return {name: getattr(fluxes, field) for name, field in SURFACE_LIGHT.items()}


def _following(
    radiation: RadiationData, streams: dict[str, jax.Array], sun: jax.Array
) -> _Published:
    ratio = jnp.where(
        radiation.cos_zenith > _DARK,
        jnp.maximum(sun, 0.0) / jnp.maximum(radiation.cos_zenith, _DARK),
        0.0,
    )
    rescaled = rescale_cached_radiation(radiation, sun)
    return rescaled, {name: value * ratio for name, value in streams.items()}


def _with_grey_surface(radiation: RadiationData, columns: RadiationColumns) -> RadiationData:
    """The same record with the surface emitting as a grey body at its present temperature.

    RRTMGP's bands hold a part in a thousand less, and between two calls the surface changes its
    temperature; the lowest layer takes the difference, so energy is kept.
    """
    shape = radiation.surface_lw_up.shape
    down = radiation.surface_lw_down.reshape(-1)
    emissivity = radiation.surface_emissivity.reshape(-1)
    up = grey_body(columns.surface_temperature, emissivity, down).reshape(shape)
    change = (up - radiation.surface_lw_up).reshape(-1)
    thickness = columns.interfaces[-1] - columns.interfaces[-2]
    warming = jcm_constants.grav / jcm_constants.cpd * change / thickness
    rate = radiation.lw_heating_rate
    return radiation.copy(
        surface_lw_up=up, lw_heating_rate=rate.at[-1].add(warming.reshape(rate.shape[1:]))
    )


def _published(
    radiation: RadiationData,
    fluxes: RadiationFluxes,
    columns: RadiationColumns,
    parameters: RadiationParameters,
) -> RadiationData:
    """jcm's record of a radiation step; flux profiles, which nothing reads, stay zero."""
    return radiation.copy(
        lw_flux_up=jnp.zeros_like(radiation.lw_flux_up),
        cos_zenith=jnp.maximum(columns.cos_zenith, 0.0),
        surface_albedo_vis=columns.albedo_visible,
        surface_albedo_nir=columns.albedo_near_infrared,
        surface_emissivity=columns.emissivity,
        sw_heating_rate=heating(fluxes.shortwave_absorbed, columns.interfaces),
        lw_heating_rate=heating(fluxes.longwave_absorbed, columns.interfaces),
        surface_sw_down=fluxes.surface_shortwave_down,
        surface_sw_up=fluxes.surface_shortwave_up,
        surface_lw_down=fluxes.surface_longwave_down,
        surface_lw_up=fluxes.surface_longwave_up,
        toa_sw_up=fluxes.shortwave_out,
        toa_sw_down=fluxes.shortwave_in,
        toa_lw_up=fluxes.longwave_out,
        total_cloud_cover=column_total_cover(columns.cover, parameters.cloud_overlap),
    )
