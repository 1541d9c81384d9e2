"""Members of the embedded model that differ in their parameters, side by side in one program.

The parameters are inputs of the program, so that other sets of them need no compilation. Members of
one set begin at different start states, such as one of each season.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from climsim.arrays import Array
from climsim.constants import SECONDS_PER_DAY, TIME_STEP
from climsim.errors import ClimSimError, unknown_name
from climsim.hosts.gcm import dynamics
from climsim.hosts.gcm.clock import DeviceClock, device_clocks
from climsim.hosts.gcm.diffusion import echam_diffusion, with_diffusion
from climsim.hosts.gcm.programs import full_step
from climsim.hosts.gcm.shared_calls import called_at_once, member_axes, sharing_count
from climsim.hosts.gcm.tuning import GUSTS, SCHEMES

if TYPE_CHECKING:
    import jax
    from jcm.forcing import ForcingData
    from jcm.physics.composable_physics import ComposablePhysics

    from climsim.hosts.gcm.host import GcmHost, Snapshot
    from climsim.hosts.gcm.state import Advanced, Diagnostics, ModelState

    _Now = tuple[ModelState, Diagnostics, DeviceClock]

DIFFUSION_HOURS: Final = "diffusion_hours"
"""Name of the damping time beside the tuned parameters."""
_SURFACE: Final = ("cam_out_PRECC", "cam_out_FLWDS", "cam_out_NETSW")
_DIAGNOSTICS: Final = {
    "pbuf_LHFLX": "LHFLX",
    "pbuf_SHFLX": "SHFLX",
    "FSNT": "FSNT",
    "FLUT": "FLUT",
    "CLDTOT": "CLDTOT",
    "CLDLOW": "CLDLOW",
    "CLDHGH": "CLDHGH",
}
"""Name of a mean and of the field of a step that it is made of."""


def _parameters_of(scheme: str) -> type:
    """Class of jcm that holds the parameters of a scheme.

    Raises:
        ClimSimError: if no scheme has that name.
    """
    from jcm.physics.clouds.echam_1m import MicrophysicsParameters
    from jcm.physics.clouds.sundqvist import CloudParameters
    from jcm.physics.convection.tiedtke_nordeng import ConvectionParameters
    from jcm.physics.gravity_waves.hines import HinesParameters
    from jcm.physics.gravity_waves.sso import SSOParameters
    from jcm.physics.radiation.radiation_types import RadiationParameters
    from jcm.physics.surface.echam.jsbach_land import JsbachLandParameters
    from jcm.physics.surface.echam.surface_types import SurfaceParameters

    from climsim.hosts.gcm.gustiness import GustyParameters

    classes: dict[str, type] = {
        "convection": ConvectionParameters,
        "clouds": CloudParameters,
        "microphysics": MicrophysicsParameters,
        "vertical_diffusion": GustyParameters,
        "surface": SurfaceParameters,
        "land_surface": JsbachLandParameters,
        "hines": HinesParameters,
        "sso": SSOParameters,
        "radiation": RadiationParameters,
        GUSTS: GustyParameters,
    }
    if scheme not in classes:
        raise unknown_name("tuned parameter (scheme.field), scheme", scheme, SCHEMES)
    return classes[scheme]


def tuned_values(physics: ComposablePhysics, names: Iterable[str]) -> dict[str, float]:
    """Values that a composition of physics has, by `scheme.field`.

    Raises:
        ClimSimError: if a name is no parameter of it.
    """
    from flax import nnx

    held = [variable.get_value() for _, variable in nnx.to_flat_state(nnx.state(physics))]
    found: dict[str, float] = {}
    for name in names:
        scheme, _, field = name.partition(".")
        kind = _parameters_of(scheme)
        owner = next((value for value in held if isinstance(value, kind)), None)
        if owner is None or not hasattr(owner, field):
            raise ClimSimError(f"{name}: expected a parameter of {kind.__name__}, found none such")
        found[name] = float(getattr(owner, field))
    return found


def with_tuning(
    physics: ComposablePhysics, values: Mapping[str, float | jax.Array]
) -> ComposablePhysics:
    """The same composition of physics with other values of its parameters, which may be traced.

    Args:
        physics: composed, with its coordinates.
        values: by `scheme.field`.
    """
    import jax.numpy as jnp
    from flax import nnx

    chosen: dict[type, dict[str, jax.Array]] = {}
    for name, value in values.items():
        scheme, _, field = name.partition(".")
        chosen.setdefault(_parameters_of(scheme), {})[field] = jnp.asarray(value, jnp.float32)
    definition, state = nnx.split(physics)
    changed = []
    for path, variable in nnx.to_flat_state(state):
        held = variable.get_value()
        fields = chosen.get(type(held))
        changed.append((path, variable.replace(replace(held, **fields)) if fields else variable))
    other: ComposablePhysics = nnx.merge(definition, nnx.from_flat_state(changed))
    return other


def with_parameters(core: dynamics.Core, values: Mapping[str, float | jax.Array]) -> dynamics.Core:
    """The same model with other parameters, which may be traced.

    Args:
        core: model and grid.
        values: by `scheme.field`, and `DIFFUSION_HOURS`.
    """
    tuned = dict(values)
    hours = tuned.pop(DIFFUSION_HOURS, None)
    model = copy.copy(core.model)
    model.physics = with_tuning(core.model.physics, tuned)
    if hours is not None:
        described = echam_diffusion(dynamics.middle_pressure(), hours)
        model.dycore = with_diffusion(core.model.dycore, described)
    return replace(core, model=model)


@dataclass
class PerturbedMembers:
    """Members of several sets of parameters, `starts` of each, set by set.

    Args:
        host: whose model and grid they share.
        starts: a state for each member of a set.
        sets: values by name, one mapping a set; all of the same names, `scheme.field` of the
            schemes and `DIFFUSION_HOURS`.
    """

    host: GcmHost
    starts: Sequence[Snapshot]
    sets: Sequence[Mapping[str, float]]

    def __post_init__(self) -> None:
        import jax
        import jax.numpy as jnp

        count = len(self.sets)
        self.take(self.sets)
        parts = [called_at_once(start.carry) for start in self.starts]
        self._states: ModelState = jax.tree.map(
            lambda *x: jnp.stack(x * count), *[start.state for start in self.starts]
        )
        self._carries = sharing_count(jax.tree.map(lambda *x: jnp.stack(x * count), *parts))
        self._dates = [start.date for start in self.starts] * count
        self._weights = np.asarray(self.host.grid.area_weights(), np.float32)
        self._program = jax.jit(self._advance, static_argnames="steps", donate_argnums=(0, 1))

    def take(self, sets: Sequence[Mapping[str, float]]) -> None:
        """Continue with other parameters, one mapping a set."""
        if len(sets) != len(self.sets):
            raise ClimSimError(f"expected {len(self.sets)} sets of parameters, found {len(sets)}")
        self.sets = tuple(sets)
        self._parameters = {
            name: np.repeat(np.array([one[name] for one in sets], np.float32), len(self.starts))
            for name in sets[0]
        }

    def restart(self, dead: Array) -> None:
        """Give the members of dead sets the states of the first set.

        Args:
            dead: whether a set is to take them, (set,).
        """
        import jax

        source = np.arange(len(self._dates))
        gone = np.repeat(dead, len(self.starts))
        source[gone] %= len(self.starts)
        self._states = jax.tree.map(lambda x: x[source], self._states)
        self._carries = sharing_count(
            jax.tree.map(lambda x: x[source] if np.ndim(x) else x, self._carries)
        )

    def run(self, steps: int) -> dict[str, Array]:
        """Advance, and give the means over columns and steps.

        Returns:
            By name: (set, start), and (set, start, level) of profiles. Not finite where a member
            died.
        """
        clock = device_clocks(self._dates)
        with dynamics.quiet_jcm():
            self._states, self._carries, sums = self._program(
                self._states,
                self._carries,
                self.host.core.forcing,
                clock,
                self._parameters,
                steps=steps,
            )
        moved = datetime.timedelta(seconds=TIME_STEP * steps)
        self._dates = [date + moved for date in self._dates]
        shape = (len(self.sets), len(self.starts))
        return {
            name: np.asarray(values, np.float64).reshape(*shape, *values.shape[1:]) / steps
            for name, values in sums.items()
        }

    def _advance(
        self,
        states: ModelState,
        carries: Diagnostics,
        forcing: ForcingData,
        clock: DeviceClock,
        parameters: dict[str, jax.Array],
        *,
        steps: int,
    ) -> tuple[ModelState, Diagnostics, dict[str, jax.Array]]:
        """Some steps of all members, and sums of their global means."""
        import jax
        import jax.numpy as jnp

        carry_axes = member_axes(carries)

        def one(
            state: ModelState,
            carry: Diagnostics,
            now: DeviceClock,
            values: dict[str, jax.Array],
        ) -> tuple[ModelState, Diagnostics, dict[str, jax.Array]]:
            core = with_parameters(self.host.core, values)
            done = full_step(core, state, carry, forcing, now, clear_sky=False)
            return done.state, done.carry, self._means(core, state, done)

        step_all = jax.vmap(one, in_axes=(0, carry_axes, 0, 0), out_axes=(0, carry_axes, 0))

        def step(carried: _Now, _: None) -> tuple[_Now, dict[str, jax.Array]]:
            now = carried[2]
            state, carry, means = step_all(*carried, parameters)
            second = now.second + round(TIME_STEP)
            later = DeviceClock(
                now.day + second // round(SECONDS_PER_DAY), second % round(SECONDS_PER_DAY)
            )
            return (state, carry, later), means

        (states, carries, _), means = jax.lax.scan(
            step, (states, carries, clock), None, length=steps
        )
        return states, carries, {name: jnp.sum(x, axis=0) for name, x in means.items()}

    def _means(
        self, core: dynamics.Core, state: ModelState, done: Advanced
    ) -> dict[str, jax.Array]:
        """Global means of a step."""
        import jax.numpy as jnp

        begun = dynamics.grid_state(core, state)
        fields = {"state_t": begun.temperature, "state_q0001": begun.specific_humidity}
        fields |= {name: done.outputs["surface"][name] for name in _SURFACE}
        fields |= {k: done.outputs["diagnostics"][name] for k, name in _DIAGNOSTICS.items()}
        # Profiles come as (level, lon, lat), scalars as (column,).
        flat = {n: x.reshape(*x.shape[:1], -1) if x.ndim > 1 else x for n, x in fields.items()}
        return {name: jnp.mean(values * self._weights, -1) for name, values in flat.items()}
