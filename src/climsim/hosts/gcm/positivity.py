"""Non-negative water for a spectral model: fill holes within each level, keep the mass.

Spectral transport rings below zero around clouds. Physics cannot work on negative
water, and a floor that only physics sees leaves the negative mass in the spectral
state, where it grows. So the filled field is what physics sees, and the difference
is added to the tendency that the dynamical core applies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax
    from jcm.physics_interface import PhysicsState, PhysicsTendency


WATER = ("specific_humidity", "qc", "qi")


def fill_holes(values: jax.Array, mass: jax.Array) -> jax.Array:
    """Set negative values to zero and rescale the rest of their level.

    `x' = max(x, 0) * max(M, 0) / M_+` with `M` and `M_+` the global mass of the level
    with and without the negative values. A level whose mass is negative becomes zero.

    Args:
        values: (level, lon, lat) mixing ratio [kg/kg].
        mass: (level, lon, lat) air mass of each cell, any common unit.

    Returns:
        (level, lon, lat) [kg/kg], non-negative.
    """
    import jax.numpy as jnp

    positive = jnp.maximum(values, 0.0)
    total = jnp.sum(values * mass, axis=(1, 2), keepdims=True)
    kept = jnp.sum(positive * mass, axis=(1, 2), keepdims=True)
    scale = jnp.where(kept > 0.0, jnp.clip(total / jnp.where(kept > 0.0, kept, 1.0), 0.0, 1.0), 0.0)
    return positive * scale


def water_fields(grid_state: PhysicsState) -> dict[str, jax.Array]:
    """The three water fields of jcm's gridpoint state by name."""
    return {"specific_humidity": grid_state.specific_humidity} | {
        name: grid_state.tracers[name] for name in WATER[1:]
    }


def with_filled_water(grid_state: PhysicsState, mass: jax.Array) -> PhysicsState:
    """jcm's gridpoint state with non-negative water."""
    filled = {name: fill_holes(value, mass) for name, value in water_fields(grid_state).items()}
    return grid_state.copy(
        specific_humidity=filled["specific_humidity"],
        tracers={**grid_state.tracers, "qc": filled["qc"], "qi": filled["qi"]},
    )


def with_fill_tendency(
    tendency: PhysicsTendency, raw: PhysicsState, filled: PhysicsState, time_step: float
) -> PhysicsTendency:
    """Add `(filled - raw) / dt` to a tendency, so that the core advances from `filled`."""
    before, after = water_fields(raw), water_fields(filled)
    extra = {name: (after[name] - before[name]) / time_step for name in WATER}
    return tendency.copy(
        specific_humidity=tendency.specific_humidity + extra["specific_humidity"],
        tracers={
            **tendency.tracers,
            "qc": tendency.tracers["qc"] + extra["qc"],
            "qi": tendency.tracers["qi"] + extra["qi"],
        },
    )
