"""Terms of jcm that run inside another: with another use of their tendency, or its heat."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
import jcm.constants as jcm_constants
from jcm.physics.physics_term import PhysicsTerm, TracerSpec
from jcm.physics_interface import PhysicsTendency

from climsim.hosts.gcm.state import TURBULENCE_KEY, Diagnostics, tendency_fields

if TYPE_CHECKING:
    import jax
    from dinosaur.coordinate_systems import CoordinateSystem
    from jcm.forcing import ForcingData
    from jcm.physics.radiation.band_config import RadiationBandConfig
    from jcm.physics_interface import PhysicsState
    from jcm.terrain import TerrainData


class _Around(PhysicsTerm):
    """A term that holds another and declares what that one does."""

    def __init__(self, term: PhysicsTerm) -> None:
        self.term = term
        self.requires = tuple(term.requires)
        self.provides = tuple(term.provides)
        self.requires_dycore_fields = tuple(term.requires_dycore_fields)
        self.requires_post_physics_fields = tuple(term.requires_post_physics_fields)
        self.carry_slots = dict(term.carry_slots)

    @property
    def name(self) -> str:
        """Name of the wrapped term."""
        return str(self.term.name)

    def required_tracers(self) -> tuple[TracerSpec, ...]:
        """Tracers of the wrapped term."""
        return tuple(self.term.required_tracers())

    def initial_carry_state(self, coords: CoordinateSystem) -> dict[str, object]:
        """Carry of the wrapped term."""
        return dict(self.term.initial_carry_state(coords))

    def cache_coords(self, coords: CoordinateSystem) -> None:
        """Pass the coordinates on."""
        self.term.cache_coords(coords)

    def cache_band_config(self, band_config: RadiationBandConfig) -> None:
        """Pass the band configuration on."""
        self.term.cache_band_config(band_config)


class Wrapped(_Around):
    """Run another term, publish its tendency or not, and keep or drop it."""

    category: ClassVar[str] = "diagnostics"

    def __init__(self, term: PhysicsTerm, *, keep: bool, publish: bool = False) -> None:
        """Wrap a term.

        Args:
            term: the term to run.
            keep: whether its tendency counts.
            publish: whether its tendency is published under `TURBULENCE_KEY`.
        """
        super().__init__(term)
        self.keep = keep
        self.publish = publish
        self.provides = (*self.provides, *((TURBULENCE_KEY,) if publish else ()))

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Run the wrapped term."""
        tendency, published = self.term(state, diagnostics, forcing, terrain)
        if self.publish:
            published = {**published, TURBULENCE_KEY: tendency_fields(tendency)}
        if not self.keep:
            tendency = PhysicsTendency.zeros(state.temperature.shape)
        return tendency, published


class WithDissipation(_Around):
    """Run a term that moves momentum up and down, and give the lost kinetic energy to the air."""

    def __init__(self, term: PhysicsTerm) -> None:
        """Wrap a term."""
        super().__init__(term)
        self.category = term.category
        self.requires = (*self.requires, "pressure_thickness")

    def __call__(
        self,
        state: PhysicsState,
        diagnostics: Diagnostics,
        forcing: ForcingData,
        terrain: TerrainData,
    ) -> tuple[PhysicsTendency, Diagnostics]:
        """Run the wrapped term; its temperature tendency gets the heat of dissipation."""
        tendency, published = self.term(state, diagnostics, forcing, terrain)
        thickness, step = diagnostics["pressure_thickness"], diagnostics["_dt_seconds"]
        warming = sum(
            dissipation_heating(wind, change, thickness, step)
            for wind, change in ((state.u_wind, tendency.u_wind), (state.v_wind, tendency.v_wind))
        )
        return tendency.copy(temperature=tendency.temperature + warming), published


def dissipation_heating(
    wind: jax.Array, change: jax.Array, thickness: jax.Array, step: float
) -> jax.Array:
    """Warming by the kinetic energy that vertical mixing and surface drag take, (level, ...) [K/s].

    The momentum flux through an interface is the sum of the tendencies above it; times the
    difference of the wind across, it is what is lost there, and half of it warms each of the two
    layers. What the surface takes warms the lowest. With the wind in the middle of the step the
    column's total energy is kept exactly.

    Source: Boville and Bretherton 2003, J. Climate 16, eqs. 8 to 13.

    Args:
        wind: one component, top first (level, ...) [m/s].
        change: its tendency (level, ...) [m/s2].
        thickness: pressure thickness of the layers (level, ...) [Pa].
        step: of time [s].
    """
    middle = wind + 0.5 * step * change
    gained_above = jnp.cumsum(thickness * change, axis=0)
    below = jnp.concatenate([middle[1:], jnp.zeros_like(middle[:1])])
    lost = -gained_above * (middle - below)
    half = 0.5 * lost.at[-1].set(0.0)
    warmed = half + jnp.concatenate([jnp.zeros_like(half[:1]), half[:-1]])
    return warmed.at[-1].add(lost[-1]) / (thickness * jcm_constants.cpd)
