"""The embedded model's numerics: jcm's dynamical core and physics on the chosen grid."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from climsim.arrays import Array
from climsim.constants import REFERENCE_PRESSURE, TIME_STEP
from climsim.hosts.gcm.boundary import (
    BoundaryData,
    forcing_data,
    load_boundary_data,
    terrain_data,
)
from climsim.hosts.gcm.condensate import CellGeometry, cell_geometry, transport
from climsim.hosts.gcm.diffusion import echam_diffusion, with_dissipation_heat
from climsim.hosts.gcm.grid import interface_coefficients, model_coordinates
from climsim.hosts.gcm.positivity import with_fill_tendency, with_filled_water
from climsim.hosts.gcm.restart import Restart

if TYPE_CHECKING:
    import jax
    from dinosaur.coordinate_systems import CoordinateSystem
    from jcm.forcing import ForcingData
    from jcm.model import Model
    from jcm.physics.composable_physics import ComposablePhysics
    from jcm.physics_interface import PhysicsState, PhysicsTendency

    from climsim.hosts.gcm.state import Diagnostics, ModelState, SpectralState

Tree = TypeVar("Tree")
"""Nested dictionaries and dataclasses with arrays as leaves."""
EULERIAN = "eulerian"
ADVECTION_SCHEMES = (EULERIAN, "semi_lagrangian")
CONDENSATE = ("qc", "qi")
START_HUMIDITY = 0.6
"""Relative humidity of the analytic start state [1]."""
_CLIPPED_WAVES = 2
_EXPECTED_WARNINGS = (
    ".*is outside the tabulated range.*",
    ".*advection='eulerian' with extra tracers.*",
    # jcm asks for double precision here and there, which JAX has off: single precision it is.
    ".*Explicitly requested dtype .*64 .*is not available.*",
)
_CHATTY_LOGGERS = (
    # Spectral tracers are not used here; soil water stands in for relative wetness.
    "jcm.dycore.dinosaur.dycore",
    "jcm.physics.vertical_diffusion.tte_tke.vertical_diffusion",
)


@dataclass(frozen=True)
class Core:
    """jcm objects of one configuration.

    Attributes:
        model: jcm's `Model` (used for its construction and initial states).
        forcing: boundary climatology, sliced by date each step.
        coordinates: dinosaur's coordinate system.
        geometry: cells for the transport of condensate on the grid, or None where the
            dynamical core carries condensate itself.
    """

    model: Model
    forcing: ForcingData
    coordinates: CoordinateSystem
    geometry: CellGeometry | None


@contextlib.contextmanager
def quiet_jcm() -> Iterator[None]:
    """Silence the warnings of jcm that this configuration is known to raise, by name."""
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for pattern in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=pattern)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def build_core(
    resolution: str,
    physics: ComposablePhysics,
    advection: str,
    cache_folder: Path,
    *,
    diffusion_hours: float,
    coordinates: CoordinateSystem | None = None,
) -> Core:
    """Assemble jcm's model on a resolution with the packaged geography.

    Args:
        resolution: key of `RESOLUTIONS`.
        physics: a composed jcm physics.
        advection: `"eulerian"` or `"semi_lagrangian"`.
        cache_folder: where regridded boundary data are kept.
        coordinates: the coordinate system, built anew when None.
        diffusion_hours: damping time of vorticity at the truncation [h].
    """
    from jcm.dycore.dinosaur.dycore import DinosaurDycore
    from jcm.model import Model

    coordinates = model_coordinates(resolution) if coordinates is None else coordinates
    boundary = boundary_data(resolution, coordinates, cache_folder)
    with quiet_jcm():
        dycore = DinosaurDycore(
            coords=coordinates,
            terrain=terrain_data(boundary, coordinates),
            dt_seconds=TIME_STEP,
            tracer_specs={spec.name: spec for spec in physics.required_tracers()},
            compute_omega=True,
            advection=advection,
            diffusion=echam_diffusion(middle_pressure(), diffusion_hours),
        )
        model = Model(dycore=dycore, physics=physics)
    on_grid = advection == EULERIAN
    if on_grid:
        # The spectral core then carries humidity alone.
        dycore.tracer_specs = {}
    return Core(
        model=model,
        forcing=forcing_data(boundary),
        coordinates=coordinates,
        geometry=cell_geometry(coordinates) if on_grid else None,
    )


def boundary_data(
    resolution: str, coordinates: CoordinateSystem, cache_folder: Path
) -> BoundaryData:
    """Geography and climatology on a resolution's grid."""
    horizontal = coordinates.horizontal
    return load_boundary_data(
        resolution,
        np.rad2deg(np.asarray(horizontal.longitudes, dtype=np.float64)),
        np.rad2deg(np.asarray(horizontal.latitudes, dtype=np.float64)),
        middle_pressure(),
        cache_folder,
    )


def middle_pressure() -> np.ndarray:
    """Pressure of the levels over a surface at `P0`, (level,) [Pa]."""
    hyai, hybi = interface_coefficients()
    interfaces = REFERENCE_PRESSURE * (hyai + hybi)
    return 0.5 * (interfaces[1:] + interfaces[:-1])


def modal_orography(orography: jax.Array | np.ndarray, coordinates: CoordinateSystem) -> jax.Array:
    """Height of the ground as the dynamical core sees it: jcm clips its shortest waves.

    Args:
        orography: (lon, lat) [m].
        coordinates: dinosaur's coordinate system.

    Returns:
        Spectral coefficients [m].
    """
    # Here, not above: importing this module must not import JAX.
    from dinosaur.primitive_equations import truncated_modal_orography

    return truncated_modal_orography(orography, coordinates, wavenumbers_to_clip=_CLIPPED_WAVES)


def with_physics(core: Core, physics: ComposablePhysics) -> Core:
    """The same model with another composition of physics on the same dynamical core."""
    import copy

    physics.cache_coords(core.coordinates)
    physics.dt_seconds = TIME_STEP
    model = copy.copy(core.model)
    model.physics = physics
    return replace(core, model=model)


def with_advection(stored: Restart, advection: str) -> Restart:
    """A stored state with condensate moved to where an advection scheme keeps it."""
    import numpy as np

    arrays = dict(stored.arrays)
    old, new = "state/clouds", "state/dynamics/tracers"
    if advection == EULERIAN:
        old, new = new, old
    for name in CONDENSATE:
        arrays[f"{new}/{name}"] = np.asarray(arrays.pop(f"{old}/{name}"))
    return replace(stored, arrays=arrays)


def initial_state(core: Core) -> ModelState:
    """Analytic moist start state, in float32.

    A dictionary: `dynamics` is the spectral state, `clouds` holds liquid and ice
    (level, lon, lat) where they live on the grid.
    """
    import jax.numpy as jnp
    from jcm.initial_states import jw_state

    with quiet_jcm():
        spectral = jw_state(core.model, START_HUMIDITY)
    clouds: dict[str, jax.Array] = {}
    if core.geometry is not None:
        spectral.tracers = {"specific_humidity": spectral.tracers["specific_humidity"]}
        shape = core.coordinates.nodal_shape
        clouds = {name: jnp.zeros(shape, jnp.float32) for name in CONDENSATE}
    state: ModelState = {"dynamics": spectral, "clouds": clouds}
    return strong_types(state)


def strong_types(tree: Tree) -> Tree:
    """Give every leaf a plain dtype, float32 for reals, so that a step compiles only once."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    def fix(leaf: ArrayLike) -> jax.Array:
        array = np.asarray(leaf)
        return jnp.asarray(array, np.float32 if array.dtype.kind == "f" else array.dtype)

    fixed: Tree = jax.tree_util.tree_map(fix, tree)
    return fixed


@dataclass(frozen=True)
class PhysicsStep:
    """What the physics of one step produced, as jax arrays on (level, lon, lat).

    Attributes:
        raw: gridpoint state as the dynamical core left it.
        state: the same with non-negative water: what physics saw.
        tendency: physics tendency after jcm's own check of negative water.
        applied: `tendency` plus the filling of holes: what the core applies.
        carry: new cross-step carry of the physics.
    """

    raw: PhysicsState
    state: PhysicsState
    tendency: PhysicsTendency
    applied: PhysicsTendency
    carry: Diagnostics


def grid_state(core: Core, state: ModelState) -> PhysicsState:
    """jcm's gridpoint state of a model state, as the dynamics left it."""
    spectral = core.model.dycore.to_physics_state(state["dynamics"])
    return spectral.copy(tracers={**spectral.tracers, **state["clouds"]})


def with_noise(
    core: Core,
    spectral: SpectralState,
    generator: np.random.Generator,
    amplitudes: tuple[float, float, float],
) -> SpectralState:
    """Add Gaussian noise to the spectral state.

    Args:
        core: model and grid.
        spectral: state of the dynamical core.
        generator: of the noise; that of the temperature is drawn first.
        amplitudes: standard deviations on temperature [K], on specific humidity as a share of it,
            and on both winds [m/s].
    """
    from dinosaur.spherical_harmonic import uv_nodal_to_vor_div_modal

    horizontal, shape = core.coordinates.horizontal, core.coordinates.nodal_shape
    temperature, humidity, wind = amplitudes

    def noise(amplitude: float) -> Array:
        values: Array = amplitude * generator.standard_normal(shape)
        return values.astype(np.float32)

    warmer = horizontal.to_modal(noise(temperature))
    spectral = spectral.replace(temperature_variation=spectral.temperature_variation + warmer)
    if humidity:
        vapour = spectral.tracers["specific_humidity"]
        moister = horizontal.to_modal(noise(humidity) * horizontal.to_nodal(vapour))
        tracers = {**spectral.tracers, "specific_humidity": vapour + moister}
        spectral = spectral.replace(tracers=tracers)
    if wind:
        turning, spreading = uv_nodal_to_vor_div_modal(horizontal, noise(wind), noise(wind))
        spectral = spectral.replace(
            vorticity=spectral.vorticity + turning, divergence=spectral.divergence + spreading
        )
    return spectral


def run_physics(
    core: Core,
    state: ModelState,
    carry: Diagnostics,
    forcing: ForcingData,
    extra_fields: Mapping[str, jax.Array] | None = None,
) -> PhysicsStep:
    """Run the physics of one step on a model state, without advancing.

    Args:
        core: model and grid.
        state: model state, see `initial_state`.
        carry: cross-step carry of the physics.
        forcing: boundary data of this step.
        extra_fields: fields handed to the terms beside those of the dynamical core.
    """
    from jcm.physics_interface import compute_physics_step_gridpoint

    model, dycore = core.model, core.model.dycore
    raw = grid_state(core, state)
    mass = cell_mass(model, raw.normalized_surface_pressure)
    seen = with_filled_water(raw, mass)
    fields = {**dycore.physics_fields(state["dynamics"], raw), **(extra_fields or {})}
    tendency, new_carry = compute_physics_step_gridpoint(
        seen,
        forcing,
        model.terrain,
        {**carry, "_dycore_fields": fields},
        physics=model.physics,
        time_step=TIME_STEP,
    )
    applied = with_fill_tendency(tendency, raw, seen, TIME_STEP)
    return PhysicsStep(raw, seen, tendency, applied, new_carry)


def advance(core: Core, state: ModelState, step: PhysicsStep) -> tuple[ModelState, PhysicsState]:
    """Apply the tendency of a step and run the dynamics.

    Returns:
        The state after the step, and jcm's gridpoint state between physics and dynamics, which
        its cloud scheme compares the next state with.
    """
    dycore, tendency = core.model.dycore, step.applied
    clouds: dict[str, jax.Array] = {}
    moist = dict(tendency.tracers)
    if core.geometry is not None:
        import jax.numpy as jnp

        clouds = {
            name: jnp.maximum(step.raw.tracers[name] + TIME_STEP * moist.pop(name), 0.0)
            for name in CONDENSATE
        }
        tendency = tendency.copy(tracers=moist)
    between = dycore.after_physics_state(state["dynamics"], tendency)
    between = between.copy(tracers={**between.tracers, **clouds})
    mass = cell_mass(core.model, between.normalized_surface_pressure)
    spectral = with_dissipation_heat(dycore.step(state["dynamics"], tendency), dycore)
    if core.geometry is not None:
        old = between.normalized_surface_pressure
        change = spectral.log_surface_pressure - state["dynamics"].log_surface_pressure
        new = old * jnp.exp(core.coordinates.horizontal.to_nodal(change)[0])
        spectral = _with_humidity_mass(core, spectral, between.specific_humidity * mass, new)
        wind = (between.u_wind, between.v_wind)
        clouds = transport(clouds, wind, (old, new), core.geometry, TIME_STEP)
    # Filled like the state physics will see next, so that their difference is transport.
    return {"dynamics": spectral, "clouds": clouds}, with_filled_water(between, mass)


def _with_humidity_mass(
    core: Core, spectral: SpectralState, before: jax.Array, pressure: jax.Array
) -> SpectralState:
    """Scale humidity by one factor so that transport keeps its global mass.

    jcm does the same after semi-Lagrangian transport; the Eulerian core advects humidity in
    advective form, whose error is a part in a million at each step.

    Args:
        core: model and grid.
        spectral: state after the dynamics.
        before: (level, lon, lat) humidity times cell mass before it.
        pressure: (lon, lat) surface pressure after it, over `P0`.
    """
    import jax.numpy as jnp

    modal = spectral.tracers["specific_humidity"]
    nodal = core.coordinates.horizontal.to_nodal(modal)
    factor = jnp.sum(before) / jnp.sum(nodal * cell_mass(core.model, pressure))
    return spectral.replace(tracers={**spectral.tracers, "specific_humidity": modal * factor})


def cell_mass(model: Model, normalized_surface_pressure: jax.Array) -> jax.Array:
    """Area-weighted pressure thickness of each cell, (level, lon, lat) [Pa]."""
    import jax.numpy as jnp

    vertical, horizontal = model.coords.vertical, model.coords.horizontal
    a = jnp.diff(jnp.asarray(vertical.a_boundaries))[:, None, None]
    b = jnp.diff(jnp.asarray(vertical.b_boundaries))[:, None, None]
    weights = jnp.asarray(horizontal.quadrature_weights)
    return (a + b * normalized_surface_pressure * REFERENCE_PRESSURE) * weights
