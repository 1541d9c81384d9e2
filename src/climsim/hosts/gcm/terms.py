"""Terms that split jcm's physics into an emulated and a retained part.

Full physics carries two taps: what the emulated processes did (everything before the
gravity waves, less the surface fluxes handed to the lowest layer) and what was retained.
The hybrid physics replaces those processes by one term that takes its tendency from outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
import jcm.constants as jcm_constants
from jcm.physics.physics_term import PhysicsTerm, TracerSpec
from jcm.physics.radiation import hold_land_albedo
from jcm.physics.radiation.grey_two_stream.planck import planck_bands_lw
from jcm.physics.radiation.radiation_types import RadiationParameters
from jcm.physics_interface import PhysicsTendency

from climsim.constants import ALL_ICE_TEMPERATURE, MIXED_PHASE_RANGE
from climsim.hosts.gcm.state import (
    OPTICS_KEY,
    RETAINED_KEY,
    TARGET_KEY,
    TURBULENCE_KEY,
    Diagnostics,
    RunningTendency,
)

if TYPE_CHECKING:
    import jax
    from jcm.forcing import ForcingData
    from jcm.physics_interface import PhysicsState
    from jcm.terrain import TerrainData

PREFIX = "emulated_"
"""Prefix of the fields that carry the emulated term into the physics."""
PROFILES = ("temperature", "specific_humidity", "qc", "qi", "u_wind", "v_wind")
VAPORIZATION_OVER_CP = float(jcm_constants.alhc) / float(jcm_constants.cpd)
"""Warming by the condensation of a unit of vapour to liquid [K]."""
SUBLIMATION_OVER_CP = float(jcm_constants.alhs) / float(jcm_constants.cpd)
"""Warming by the deposition of a unit of vapour as ice [K]."""
FUSION_OVER_CP = float(jcm_constants.alhs - jcm_constants.alhc) / float(jcm_constants.cpd)
"""Warming by the freezing of a unit of condensate [K]."""


def _flat(tendency: RunningTendency) -> dict[str, jax.Array]:
    """The six emulated fields of jcm's running tendency."""
    return {
        "temperature": tendency["temperature"],
        "specific_humidity": tendency["specific_humidity"],
        "qc": tendency["tracers"]["qc"],
        "qi": tendency["tracers"]["qi"],
        "u_wind": tendency["u_wind"],
        "v_wind": tendency["v_wind"],
    }


def _tendency(fields: dict[str, jax.Array]) -> PhysicsTendency:
    return PhysicsTendency(
        u_wind=fields["u_wind"],
        v_wind=fields["v_wind"],
        temperature=fields["temperature"],
        specific_humidity=fields["specific_humidity"],
        tracers={"qc": fields["qc"], "qi": fields["qi"]},
    )


def delivered_fluxes(diagnostics: Diagnostics, like: jax.Array) -> dict[str, jax.Array]:
    """Tendency of the surface fluxes of heat, moisture and momentum in the lowest layer.

    `dT = SHF / (c_p m)`, `dq = E / m`, `du = -tau / m` with `m = dp / g` the layer's mass.

    Args:
        diagnostics: jcm's diagnostics after its surface term.
        like: (level, column) array that gives the shape.
    """
    vdiff = diagnostics["vertical_diffusion"]
    mass = diagnostics["pressure_thickness"][-1] / jcm_constants.grav
    zero = jnp.zeros_like(like)

    def lowest(flux: jax.Array) -> jax.Array:
        return zero.at[-1].set(flux.reshape(mass.shape) / mass)

    return {
        "temperature": lowest(vdiff.surface_sensible_heat / jcm_constants.cpd),
        "specific_humidity": lowest(vdiff.surface_evaporation),
        "qc": zero,
        "qi": zero,
        "u_wind": lowest(-vdiff.surface_stress_u),
        "v_wind": lowest(-vdiff.surface_stress_v),
    }


def grey_emission(temperature: jax.Array) -> jax.Array:
    """Black-body emission in the bands of the grey scheme, (column,) [W/m2].

    Its bands leave out the ends of the spectrum: some 1 % less than `sigma T^4`.
    """
    limits = RadiationParameters.default().lw_band_limits
    return jnp.pi * jnp.sum(planck_bands_lw(temperature, limits), axis=-1)


def grey_body(temperature: jax.Array, emissivity: jax.Array, down: jax.Array) -> jax.Array:
    """Longwave that leaves a surface, `e sigma T^4 + (1 - e) down`, (column,) [W/m2]."""
    return emissivity * jcm_constants.sbc * temperature**4 + (1.0 - emissivity) * down


class TargetTap(PhysicsTerm):
    """Publish the running tendency less what the hybrid retains of it; no tendency.

    Retained are the delivered surface fluxes or, if asked for, all of the turbulence.
    """

    name: ClassVar[str] = "climsim_target_tap"
    category: ClassVar[str] = "diagnostics"
    requires: ClassVar[tuple[str, ...]] = ("vertical_diffusion", "pressure_thickness")
    provides: ClassVar[tuple[str, ...]] = (TARGET_KEY,)

    def __init__(self, retain_turbulence: bool) -> None:
        """Choose what is retained."""
        self.retain_turbulence = retain_turbulence

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Subtract the retained part from the running tendency."""
        running = _flat(diagnostics["_tendency_run"])
        kept = _kept(state, diagnostics, self.retain_turbulence)
        target = {name: running[name] - kept[name] for name in PROFILES}
        return PhysicsTendency.zeros(state.temperature.shape), {**diagnostics, TARGET_KEY: target}


def split_condensate(
    temperature: jax.Array, liquid: jax.Array, ice: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Liquid [kg/kg] and temperature [K] once condensate is split by temperature alone.

    `c_p T' + L_f ql' = c_p T + L_f ql` with `ql' = w(T') (ql + qi)` and
    `w(T) = clip((T - T_ice) / width, 0, 1)`, the partition of an exported file's constraint. The
    left side grows with `T'`, so there is one solution, on one of the three pieces of `w`.

    Args:
        temperature: before, of any shape [K].
        liquid: before, same shape [kg/kg].
        ice: before, same shape [kg/kg].
    """
    warming = FUSION_OVER_CP
    total = liquid + ice
    frozen = temperature + warming * liquid
    steepness = warming * total / MIXED_PHASE_RANGE
    mixed = (frozen + steepness * ALL_ICE_TEMPERATURE) / (1.0 + steepness)
    melted = frozen - warming * total
    warm_end = ALL_ICE_TEMPERATURE + MIXED_PHASE_RANGE
    after = jnp.where(
        frozen <= ALL_ICE_TEMPERATURE, frozen, jnp.where(melted >= warm_end, melted, mixed)
    )
    fraction = jnp.clip((after - ALL_ICE_TEMPERATURE) / MIXED_PHASE_RANGE, 0.0, 1.0)
    return fraction * total, after


def _emulated_alone(
    state: PhysicsState, diagnostics: Diagnostics, retain_turbulence: bool
) -> dict[str, jax.Array]:
    """Temperature and condensate after the step if nothing that the hybrid retains had run."""
    running = _flat(diagnostics["_tendency_run"])
    kept = _kept(state, diagnostics, retain_turbulence)
    step = diagnostics["_dt_seconds"]
    before = {"temperature": state.temperature, **state.tracers}
    return {
        name: before[name] + step * (running[name] - kept[name])
        for name in ("temperature", "qc", "qi")
    }


def _phase_change(
    temperature: jax.Array, vapour: jax.Array, liquid: jax.Array, ice: jax.Array
) -> PhysicsTendency:
    """A tendency of temperature and water; the winds stay."""
    zero = jnp.zeros_like(temperature)
    return _tendency(
        {
            "temperature": temperature,
            "specific_humidity": vapour,
            "qc": liquid,
            "qi": ice,
            "u_wind": zero,
            "v_wind": zero,
        }
    )


class CondensateFloor(PhysicsTerm):
    """Condense vapour where the emulated term alone would leave less than no condensate.

    With turbulence retained, microphysics may take what turbulence brings in the same step, so
    that the state after the emulated term alone would hold negative liquid or ice. There as much
    vapour condenses or freezes as is missing, `dT = L_v dql / c_p + L_s dqi / c_p`: water and
    moist enthalpy of the column stay what they were.
    """

    name: ClassVar[str] = "climsim_condensate_floor"
    category: ClassVar[str] = "clouds"
    requires: ClassVar[tuple[str, ...]] = (TURBULENCE_KEY,)
    provides: ClassVar[tuple[str, ...]] = ()

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Tendency that turns vapour into the missing condensate, with its latent heat."""
        alone = _emulated_alone(state, diagnostics, retain_turbulence=True)
        step = diagnostics["_dt_seconds"]
        liquid, ice = (jnp.maximum(-alone[name], 0.0) / step for name in ("qc", "qi"))
        warming = VAPORIZATION_OVER_CP * liquid + SUBLIMATION_OVER_CP * ice
        return _phase_change(warming, -(liquid + ice), liquid, ice), diagnostics


class CondensateSplit(PhysicsTerm):
    """Split condensate by temperature at the end of the emulated term, as E3SM-MMF does."""

    name: ClassVar[str] = "climsim_condensate_split"
    category: ClassVar[str] = "clouds"
    requires: ClassVar[tuple[str, ...]] = ("vertical_diffusion", "pressure_thickness")
    provides: ClassVar[tuple[str, ...]] = ()

    def __init__(self, retain_turbulence: bool) -> None:
        """Choose what of the running tendency is no part of the emulated term."""
        self.retain_turbulence = retain_turbulence

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Tendency that moves condensate between its phases, and the heat of fusion."""
        alone = _emulated_alone(state, diagnostics, self.retain_turbulence)
        new_liquid, _ = split_condensate(alone["temperature"], alone["qc"], alone["qi"])
        moved = (new_liquid - alone["qc"]) / diagnostics["_dt_seconds"]
        still = jnp.zeros_like(moved)
        return _phase_change(-FUSION_OVER_CP * moved, still, moved, -moved), diagnostics


def _kept(
    state: PhysicsState, diagnostics: Diagnostics, retain_turbulence: bool
) -> dict[str, jax.Array]:
    """What of the running tendency the hybrid retains."""
    if retain_turbulence:
        return diagnostics[TURBULENCE_KEY]
    return delivered_fluxes(diagnostics, state.temperature)


class RetainedTap(PhysicsTerm):
    """Publish the total tendency less the target: surface fluxes and wave drag."""

    name: ClassVar[str] = "climsim_retained_tap"
    category: ClassVar[str] = "diagnostics"
    requires: ClassVar[tuple[str, ...]] = (TARGET_KEY,)
    provides: ClassVar[tuple[str, ...]] = (RETAINED_KEY,)

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Subtract the target from the running tendency."""
        running, target = _flat(diagnostics["_tendency_run"]), diagnostics[TARGET_KEY]
        retained = {name: running[name] - target[name] for name in PROFILES}
        zero = PhysicsTendency.zeros(state.temperature.shape)
        return zero, {**diagnostics, RETAINED_KEY: retained}


class EmulatedTerm(PhysicsTerm):
    """Apply tendencies from outside, and their radiation to the surface.

    Reads the fields `emulated_*` that the host passes beside those of the dynamical core:
    six tendencies (level, column) and `sw_down`, `sw_up`, `lw_down` at the surface [W/m2].
    """

    name: ClassVar[str] = "climsim_emulated"
    category: ClassVar[str] = "radiation"
    requires: ClassVar[tuple[str, ...]] = ("radiation", "clouds", "pressure_full", "surface")
    provides: ClassVar[tuple[str, ...]] = ("radiation", "clouds", TARGET_KEY)

    def __init__(self, grey: bool) -> None:
        """Choose how the surface emits: as in the grey scheme, or as a grey body."""
        self.grey_emission = grey

    @classmethod
    def required_tracers(cls) -> tuple[TracerSpec, ...]:
        """Cloud liquid and ice."""
        return (TracerSpec("qc", units="kg/kg"), TracerSpec("qi", units="kg/kg"))

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Return the given tendency and publish the surface radiation."""
        fields = diagnostics.get("_dycore_fields", {})
        zero = jnp.zeros_like(state.temperature)
        column = jnp.zeros_like(state.temperature[0])
        given = {name: fields.get(PREFIX + name, zero) for name in PROFILES}
        lw_down = fields.get(PREFIX + "lw_down", column)
        optics = diagnostics[OPTICS_KEY]
        emissivity = optics["emissivity"]
        temperature = diagnostics["surface"].surface_temperature.reshape(column.shape)
        # Emission at the surface temperature the step began with: the surface term
        # corrects it to the new temperature, as after a radiation solve.
        if self.grey_emission:
            lw_up = emissivity * grey_emission(temperature)
        else:
            lw_up = grey_body(temperature, emissivity, lw_down)
        radiation = diagnostics["radiation"]
        radiation = radiation.copy(
            surface_sw_down=fields.get(PREFIX + "sw_down", column),
            surface_sw_up=fields.get(PREFIX + "sw_up", column),
            surface_lw_down=lw_down,
            surface_lw_up=lw_up,
            surface_albedo_vis=optics["albedo_vis"],
            surface_albedo_nir=optics["albedo_nir"],
            surface_emissivity=emissivity,
            step=radiation.step + 1,
        )
        published = {**diagnostics, "radiation": radiation, TARGET_KEY: given}
        return _tendency(given), hold_land_albedo(published, jnp.asarray(True))


class DeliveredFluxes(PhysicsTerm):
    """Hand the surface fluxes of heat, moisture and momentum to the lowest layer."""

    name: ClassVar[str] = "climsim_delivered_fluxes"
    category: ClassVar[str] = "surface_fluxes"
    requires: ClassVar[tuple[str, ...]] = ("vertical_diffusion", "pressure_thickness")
    provides: ClassVar[tuple[str, ...]] = ()

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Tendency in the lowest layer."""
        return _tendency(delivered_fluxes(diagnostics, state.temperature)), diagnostics
