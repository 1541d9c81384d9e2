"""The embedded model's numerics: jcm's dynamical core and physics on the chosen grid."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cftime

from climsim.constants import TIME_STEP
from climsim.online.hosts.gcm.boundary import forcing_data, load_boundary_data, terrain_data
from climsim.online.hosts.gcm.grid import interface_coefficients, model_coordinates

START_HUMIDITY = 0.6
"""Relative humidity of the analytic start state [1]."""
_REFERENCE_YEAR = 2001
"""A Gregorian year without a leap day: noleap dates are mapped onto it."""
_EXPECTED_WARNINGS = (
    ".*outside the tabulated.*",
    ".*truncation.*",
    ".*soil.*",
    ".*SSO.*",
    ".*eulerian.*",
)


@dataclass(frozen=True)
class Core:
    """jcm objects of one configuration.

    Attributes:
        model: jcm's `Model` (used for its construction and initial states).
        forcing: boundary climatology, sliced by date each step.
        coordinates: dinosaur's coordinate system.
    """

    model: Any
    forcing: Any
    coordinates: Any


def enable_compilation_cache(folder: Path) -> None:
    """Keep compiled programs in a folder, so that only a first process compiles."""
    import jax

    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextlib.contextmanager
def quiet_jcm() -> Iterator[None]:
    """Silence the warnings of jcm that this configuration is known to raise."""
    logger = logging.getLogger("jcm.dycore.dinosaur.dycore")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for pattern in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=pattern)
            yield
    finally:
        logger.setLevel(level)


def radiation_term(scheme: str) -> Any:
    """The radiation term of a scheme, solved at every step."""
    from jcm.physics.radiation.radiation_types import RadiationParameters

    params = RadiationParameters.default(radiation_interval=0.0)
    if scheme == "grey":
        from jcm.physics.radiation.grey_two_stream import GreyTwoStreamRadiation

        return GreyTwoStreamRadiation(params=params)
    from jcm.physics.radiation.rrtmgp import RRTMGPRadiation

    return RRTMGPRadiation(params=params)


def full_physics(coordinates: Any, radiation: str) -> Any:
    """jcm's ECHAM physics with the given radiation scheme."""
    from jcm.physics.echam.echam_terms import echam_physics

    return echam_physics(
        radiation_scheme=radiation_term(radiation), coords=coordinates, checkpoint_terms=False
    )


def build_core(
    resolution: str, physics: Any, advection: str, cache_folder: Path, coordinates: Any = None
) -> Core:
    """Assemble jcm's model on a resolution with the packaged geography.

    Args:
        resolution: key of `RESOLUTIONS`.
        physics: a composed jcm physics.
        advection: `"eulerian"` or `"semi_lagrangian"`.
        cache_folder: where regridded boundary data are kept.
        coordinates: the coordinate system, built anew when None.
    """
    import numpy as np
    from jcm.dycore.dinosaur.dycore import DinosaurDycore
    from jcm.model import Model

    coordinates = model_coordinates(resolution) if coordinates is None else coordinates
    hyai, hybi = interface_coefficients()
    interfaces = 1.0e5 * (hyai + hybi)
    horizontal = coordinates.horizontal
    boundary = load_boundary_data(
        resolution,
        np.rad2deg(np.asarray(horizontal.longitudes, dtype=np.float64)),
        np.rad2deg(np.asarray(horizontal.latitudes, dtype=np.float64)),
        0.5 * (interfaces[1:] + interfaces[:-1]),
        cache_folder,
    )
    with quiet_jcm():
        dycore = DinosaurDycore(
            coords=coordinates,
            terrain=terrain_data(boundary, coordinates),
            dt_seconds=TIME_STEP,
            tracer_specs={spec.name: spec for spec in physics.required_tracers()},
            compute_omega=True,
            advection=advection,
        )
        model = Model(dycore=dycore, physics=physics)
    return Core(model=model, forcing=forcing_data(boundary), coordinates=coordinates)


def initial_state(core: Core) -> tuple[Any, Any]:
    """Analytic moist start state and a fresh cross-step carry, in float32."""
    from jcm.initial_states import jw_state

    with quiet_jcm():
        state = jw_state(core.model, START_HUMIDITY)
        carry = core.model.initial_physics_carry()
    return strong_types(state), strong_types(carry)


def strong_types(tree: Any) -> Any:
    """Give every leaf a plain dtype, so that the first step compiles only once."""
    import jax
    import jax.numpy as jnp

    def fix(leaf: Any) -> Any:
        array = jnp.asarray(leaf)
        kind = jnp.float32 if jnp.issubdtype(array.dtype, jnp.floating) else array.dtype
        return jax.lax.convert_element_type(array, kind) + jnp.zeros((), kind) if (
            jnp.issubdtype(array.dtype, jnp.floating)
        ) else array.astype(kind)

    return jax.tree_util.tree_map(fix, tree)


def clock(date: cftime.DatetimeNoLeap) -> tuple[Any, Any]:
    """Days since 1970 and seconds of day of a noleap date, as int32 arrays.

    The year is replaced by a year without a leap day: the boundary climatology
    repeats and the orbit depends on the fraction of the year alone.
    """
    import datetime

    import numpy as np

    day = datetime.date(_REFERENCE_YEAR, date.month, date.day) - datetime.date(1970, 1, 1)
    seconds = date.hour * 3600 + date.minute * 60 + date.second
    return np.int32(day.days), np.int32(seconds)


def date_data(days: Any, seconds: Any) -> Any:
    """jcm's per-step date from the integers of `clock`."""
    import jax.numpy as jnp
    import jax_datetime
    from jcm.date import DateData

    moment = jax_datetime.Datetime(jax_datetime.Timedelta(days=days, seconds=seconds))
    return DateData(dt=moment, model_step=jnp.int32(0), dt_seconds=TIME_STEP)


def split_step(
    model: Any, state: Any, carry: Any, forcing: Any, extra_fields: dict[str, Any] | None = None
) -> tuple[Any, Any, Any, Any]:
    """Run the physics of one step on a state.

    Args:
        model: jcm's model.
        state: spectral state.
        carry: cross-step carry of the physics.
        forcing: boundary data of this step.
        extra_fields: fields handed to the terms beside those of the dynamical core.

    Returns:
        Gridpoint state before physics, applied tendency, new carry, forcing unchanged.
    """
    from jcm.physics_interface import compute_physics_step_gridpoint, verify_state

    dycore = model.dycore
    grid_state = dycore.to_physics_state(state)
    fields = {**dycore.physics_fields(state, grid_state), **(extra_fields or {})}
    tendency, new_carry = compute_physics_step_gridpoint(
        grid_state,
        forcing,
        model.terrain,
        {**carry, "_dycore_fields": fields},
        physics=model.physics,
        time_step=TIME_STEP,
    )
    if model.physics.post_physics_fields():
        after = verify_state(dycore.after_physics_state(state, tendency))
        new_carry = model.physics.record_post_physics_state(new_carry, after)
    return grid_state, tendency, new_carry, forcing
