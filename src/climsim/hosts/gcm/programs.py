"""The compiled programs of the embedded model: full step, hybrid step, inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import cftime
import numpy as np

from climsim.arrays import Array
from climsim.grid import ColumnGrid
from climsim.hosts.gcm import dynamics
from climsim.hosts.gcm.clock import DeviceClock, date_data, device_clock, device_clocks
from climsim.hosts.gcm.config import GcmConfig
from climsim.hosts.gcm.physics import (
    GREY,
    columns_physics,
    hybrid_physics,
    hybrid_slots,
)
from climsim.hosts.gcm.shared_calls import counting_apart, member_axes, sharing_count
from climsim.hosts.gcm.state import Advanced, Diagnostics, Excess, ModelState, Outputs

if TYPE_CHECKING:
    import jax
    from jcm.forcing import ForcingData
    from jcm.physics.radiation.radiation_types import RadiationData

    from climsim.hosts.gcm.columns import RadiationColumns


class Programs:
    """The three compiled programs of a host: full step, hybrid step, inputs."""

    def __init__(self, core: dynamics.Core, config: GcmConfig, grid: ColumnGrid) -> None:
        """Prepare the programs; nothing compiles before its first call."""
        import jax

        self._core = core
        self._config = config
        self._longitude = np.asarray(grid.lon, np.float32)
        self._latitude = np.asarray(grid.lat, np.float32)
        self._full = jax.jit(self._full_step)
        self._full_stacked = jax.jit(self._full_steps)
        self._observe = jax.jit(self._observe_state)
        self._observe_stacked = jax.jit(self._observe_states)
        self._hybrid_stacked = jax.jit(self._hybrid_steps)
        self._hybrid_core: dynamics.Core | None = None
        self._columns_core: dynamics.Core | None = None
        self._columns = jax.jit(self._see_columns)
        self._hybrid = jax.jit(self._hybrid_step)

    def full(self, state: ModelState, carry: Diagnostics, date: cftime.DatetimeNoLeap) -> Advanced:
        """Advance with full physics."""
        with dynamics.quiet_jcm():
            done: Advanced = self._full(state, carry, self._core.forcing, device_clock(date))
        return done

    def hybrid(
        self,
        state: ModelState,
        carry: Diagnostics,
        latest: Diagnostics,
        date: cftime.DatetimeNoLeap,
        fields: Mapping[str, jax.Array | Array],
    ) -> Advanced:
        """Advance with the emulated term given.

        Args:
            state: model state.
            carry: cross-step carry.
            latest: what the schemes that do not run here remember: the carry after full physics
                at this state where that ran too, else `carry`.
            date: beginning of the step.
            fields: the emulated term.

        Returns:
            The new state, the new carry and what the step did.
        """
        with dynamics.quiet_jcm():
            self._prepare_hybrid()
            now = device_clock(date)
            done: Advanced = self._hybrid(
                state, carry, latest, self._core.forcing, clock=now, fields=dict(fields)
            )
        return done

    def observe(
        self, state: ModelState, carry: Diagnostics, date: cftime.DatetimeNoLeap
    ) -> tuple[dict[str, jax.Array], dict[str, Excess]]:
        """Inputs of the coming step and the worst violation of each bound."""
        inputs, worst = self._observe(state, carry, self._core.forcing, device_clock(date))
        return inputs, worst

    def full_members(
        self,
        states: ModelState,
        carries: Diagnostics,
        dates: Sequence[cftime.DatetimeNoLeap],
    ) -> Advanced:
        """`full` for members: states stacked, fields side by side.

        Their radiation is called at the same steps, those of the first member.
        """
        with dynamics.quiet_jcm():
            done: Advanced = self._full_stacked(
                states, carries, self._core.forcing, device_clocks(dates)
            )
        return done

    def observe_members(
        self,
        states: ModelState,
        carries: Diagnostics,
        dates: Sequence[cftime.DatetimeNoLeap],
    ) -> tuple[dict[str, jax.Array], dict[str, Excess]]:
        """`observe` for members: states stacked, fields side by side, violations (member,)."""
        clocks = device_clocks(dates)
        inputs, worst = self._observe_stacked(states, carries, self._core.forcing, clocks)
        return inputs, worst

    def hybrid_members(
        self,
        states: ModelState,
        carries: Diagnostics,
        latest: Diagnostics,
        dates: Sequence[cftime.DatetimeNoLeap],
        fields: Mapping[str, jax.Array | Array],
    ) -> Advanced:
        """`hybrid` for members: states stacked, fields side by side."""
        with dynamics.quiet_jcm():
            self._prepare_hybrid()
            clocks = device_clocks(dates)
            done: Advanced = self._hybrid_stacked(
                states, carries, latest, self._core.forcing, clocks, fields=dict(fields)
            )
        return done

    def columns(
        self, state: ModelState, carry: Diagnostics, date: cftime.DatetimeNoLeap
    ) -> RadiationColumns:
        """What a radiation scheme would see of the columns now."""
        with dynamics.quiet_jcm():
            if self._columns_core is None:
                physics = columns_physics(self._core.coordinates, self._config.physics_options())
                self._columns_core = dynamics.with_physics(self._core, physics)
            seen: RadiationColumns = self._columns(
                state, carry, self._core.forcing, device_clock(date)
            )
        return seen

    def _see_columns(
        self,
        state: ModelState,
        carry: Diagnostics,
        forcing: ForcingData,
        clock: DeviceClock,
    ) -> RadiationColumns:
        from climsim.hosts.gcm.radiation import COLUMNS_KEY

        assert self._columns_core is not None
        now = forcing.select(date_data(clock))
        return dynamics.run_physics(self._columns_core, state, carry, now).carry[COLUMNS_KEY]

    def _full_step(
        self,
        state: ModelState,
        carry: Diagnostics,
        forcing: ForcingData,
        clock: DeviceClock,
    ) -> Advanced:
        clear_sky = self._config.radiation == GREY
        return full_step(self._core, state, carry, forcing, clock, clear_sky=clear_sky)

    def _hybrid_step(
        self,
        state: ModelState,
        carry: Diagnostics,
        latest: Diagnostics,
        forcing: ForcingData,
        clock: DeviceClock,
        fields: dict[str, jax.Array],
    ) -> Advanced:
        from climsim.hosts.gcm import outputs

        core = self._hybrid_core
        assert core is not None
        now = forcing.select(date_data(clock))
        shape = core.coordinates.horizontal.nodal_shape
        on_grid = {key: value.reshape(*value.shape[:-1], *shape) for key, value in fields.items()}
        done = dynamics.run_physics(core, state, carry, now, on_grid)
        out: Outputs = {
            "tendencies": outputs.emulated_tendencies(done),
            "diagnostics": outputs.common_diagnostics(done, core.model.terrain.phis0),
        }
        state, between = dynamics.advance(core, state, done)
        # Slots that only full physics writes keep its last value, so that it can resume.
        written = hybrid_slots(core.model.physics)
        new = {key: value for key, value in done.carry.items() if key in written and key in latest}
        merged = cast(Diagnostics, {**latest, **new})
        merged["radiation"] = _radiation_after_hybrid(carry, latest, done.carry)
        physics = self._core.model.physics
        return Advanced(state, physics.record_post_physics_state(merged, between), out)

    def _prepare_hybrid(self) -> None:
        if self._hybrid_core is None:
            physics = hybrid_physics(self._core.coordinates, self._config.physics_options())
            self._hybrid_core = dynamics.with_physics(self._core, physics)

    def _full_steps(
        self,
        states: ModelState,
        carries: Diagnostics,
        forcing: ForcingData,
        clocks: DeviceClock,
    ) -> Advanced:
        import jax

        def step(state: ModelState, carry: Diagnostics, clock: DeviceClock) -> Advanced:
            return self._full_step(state, carry, forcing, clock)

        axes = member_axes(carries)
        done = jax.vmap(step, in_axes=(0, axes, 0), out_axes=Advanced(0, axes, 0))(  # type: ignore[arg-type]
            states, sharing_count(carries), clocks
        )
        out: Outputs = {
            "tendencies": _side_by_side(done.outputs["tendencies"]),
            "surface": _side_by_side(done.outputs["surface"]),
            "diagnostics": _side_by_side(done.outputs["diagnostics"]),
        }
        return Advanced(done.state, counting_apart(done.carry, clocks.day.shape[0]), out)

    def _hybrid_steps(
        self,
        states: ModelState,
        carries: Diagnostics,
        latest: Diagnostics,
        forcing: ForcingData,
        clocks: DeviceClock,
        fields: dict[str, jax.Array],
    ) -> Advanced:
        import jax

        def step(
            state: ModelState,
            carry: Diagnostics,
            last: Diagnostics,
            clock: DeviceClock,
            own: dict[str, jax.Array],
        ) -> Advanced:
            return self._hybrid_step(state, carry, last, forcing, clock, fields=own)

        own = _apart(fields, clocks.day.shape[0])
        done = jax.vmap(step)(states, carries, latest, clocks, own)
        out: Outputs = {
            "tendencies": _side_by_side(done.outputs["tendencies"]),
            "diagnostics": _side_by_side(done.outputs["diagnostics"]),
        }
        return Advanced(done.state, done.carry, out)

    def _observe_states(
        self,
        states: ModelState,
        carries: Diagnostics,
        forcing: ForcingData,
        clocks: DeviceClock,
    ) -> tuple[dict[str, jax.Array], dict[str, Excess]]:
        import jax

        def look(
            state: ModelState, carry: Diagnostics, clock: DeviceClock
        ) -> tuple[dict[str, jax.Array], dict[str, Excess]]:
            return self._observe_state(state, carry, forcing, clock)

        inputs, worst = jax.vmap(look)(states, carries, clocks)
        return _side_by_side(inputs), worst

    def _observe_state(
        self,
        state: ModelState,
        carry: Diagnostics,
        forcing: ForcingData,
        clock: DeviceClock,
    ) -> tuple[dict[str, jax.Array], dict[str, Excess]]:
        from climsim.hosts.gcm.observe import observe

        now = forcing.select(date_data(clock))
        return observe(
            self._core,
            state,
            carry,
            now,
            longitude=self._longitude,
            latitude=self._latitude,
        )


def full_step(
    core: dynamics.Core,
    state: ModelState,
    carry: Diagnostics,
    forcing: ForcingData,
    clock: DeviceClock,
    *,
    clear_sky: bool,
) -> Advanced:
    """Advance a model by a step with full physics.

    Args:
        core: model and grid.
        state: model state.
        carry: cross-step carry.
        forcing: boundary climatology.
        clock: beginning of the step.
        clear_sky: whether the radiation solves the sky without clouds too.
    """
    from climsim.hosts.gcm import outputs

    now = forcing.select(date_data(clock))
    done = dynamics.run_physics(core, state, carry, now)
    out: Outputs = {
        "tendencies": outputs.emulated_tendencies(done),
        "surface": outputs.physics_surface(done),
        "diagnostics": outputs.common_diagnostics(done, core.model.terrain.phis0)
        | outputs.radiation_diagnostics(done, clear_sky=clear_sky),
    }
    state, between = dynamics.advance(core, state, done)
    physics = core.model.physics
    return Advanced(state, physics.record_post_physics_state(done.carry, between), out)


def _side_by_side(fields: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """(..., member x column) from (member, ..., column)."""
    import jax.numpy as jnp

    return {
        name: jnp.moveaxis(values, 0, -2).reshape(*values.shape[1:-1], -1)
        for name, values in fields.items()
    }


def _apart(fields: dict[str, jax.Array], count: int) -> dict[str, jax.Array]:
    """(member, ..., column) from (..., member x column)."""
    import jax.numpy as jnp

    return {
        name: jnp.moveaxis(values.reshape(*values.shape[:-1], count, -1), -2, 0)
        for name, values in fields.items()
    }


def _radiation_after_hybrid(
    before: Diagnostics, latest: Diagnostics, after: Diagnostics
) -> RadiationData:
    """What the radiation remembers after a hybrid step.

    Where full physics ran at this state too, its memory counts, so that the times of its calls
    stay the same; otherwise the next step of full physics calls the radiation anew.
    """
    import jax.numpy as jnp

    remembered, old = latest["radiation"], before["radiation"]
    ran = remembered.step != old.step
    return remembered.copy(
        surface_lw_up=after["radiation"].surface_lw_up,
        step=jnp.where(ran, remembered.step, 0),
    )
