"""Members of the embedded model whose steps are one program."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import cftime
import numpy as np

from climsim.arrays import Fields
from climsim.hosts.base import HealthReport, StepResult
from climsim.hosts.gcm.exchange import (
    finish_reading,
    numpy_fields,
    on_gpu,
    singles,
    tensor_fields,
)
from climsim.hosts.gcm.host import GcmHost, Snapshot, emulated_term, worst_violation
from climsim.hosts.gcm.shared_calls import called_at_once, radiation_step
from climsim.hosts.gcm.state import Excess
from climsim.hosts.members import SeparateMembers, one_date

if TYPE_CHECKING:
    from climsim.hosts.gcm.state import Advanced, Diagnostics, ModelState


class GcmMembers:
    """Members that differ in their states alone; see `climsim.hosts.members.Members`.

    The states are stacked for hybrid steps, and lie apart for all else unless their own physics is
    to step them in one program as well.

    Args:
        hosts: of one configuration, whose programs the first one lends.
        by_physics: whether full physics steps all members in one program, of its own for each
            number of members. Members whose radiation was called at different steps then call it
            at the next one.
    """

    def __init__(self, hosts: Sequence[GcmHost], *, by_physics: bool = False) -> None:
        self._hosts = tuple(hosts)
        self._by_physics = by_physics
        self._apart = SeparateMembers(hosts)
        self._programs = hosts[0].programs
        self._levels, self._columns = hosts[0].grid.n_levels, hosts[0].grid.n_columns
        self._shares = on_gpu(hosts[0].snapshot().state)
        self._fields = tensor_fields if self._shares else numpy_fields
        for host in hosts:
            host.give_fields(self._fields)
        self._stacked: Snapshot | None = None
        # By how much time and how many steps each is ahead of the first.
        self._later = ((datetime.timedelta(0), 0),) * len(hosts)
        self._observed: tuple[Fields, dict[str, Excess]] | None = None

    @property
    def count(self) -> int:
        """Number of members."""
        return len(self._hosts)

    @property
    def date(self) -> cftime.DatetimeNoLeap:
        """Beginning of the coming step."""
        return one_date(self.dates)

    @property
    def dates(self) -> tuple[cftime.DatetimeNoLeap, ...]:
        """Beginning of the coming step of each member."""
        if self._stacked is None:
            return self._apart.dates
        return tuple(self._stacked.date + later for later, _ in self._later)

    def member(self, index: int) -> GcmHost:
        """One member."""
        self._part()
        return self._hosts[index]

    def inputs(self) -> Fields:
        """State before physics and boundary inputs of the coming step."""
        return dict(self._observe()[0])

    def physics(self) -> StepResult:
        """The hosts' own physics at the present states, without advancing."""
        self._part()
        return self._apart.physics()

    def step_physics(self) -> StepResult:
        """Advance every member one step with the host's own physics."""
        if self._by_physics:
            return self._step_stacked()
        self._part()
        return self._apart.step_physics()

    def step_emulated(self, tendencies: Fields, surface: Fields) -> StepResult:
        """Advance every member one step with the emulated term replaced by the arrays given."""
        inputs = self.inputs()
        now = self._stack()
        shape = (self._levels, self._columns * self.count)
        given = singles(surface)
        fields = emulated_term(tendencies, given, shape)
        done = self._programs.hybrid_members(now.state, now.carry, now.latest, self.dates, fields)
        return self._advanced(done, inputs, given)

    def _step_stacked(self) -> StepResult:
        """Advance every member one step with full physics, in one program."""
        inputs, now = self.inputs(), self._stack()
        done = self._programs.full_members(now.state, now.carry, self.dates)
        return self._advanced(done, inputs, self._fields(done.outputs["surface"]))

    def _advanced(self, done: Advanced, inputs: Fields, surface: Fields) -> StepResult:
        """Take the states after a step; what it saw and did."""
        now = self._stack()
        result = StepResult(
            date=now.date,
            inputs=inputs,
            tendencies=self._fields(done.outputs["tendencies"]),
            surface=surface,
            diagnostics=self._fields(done.outputs["diagnostics"]),
        )
        self._stacked, self._observed = now.advanced(done.state, done.carry), None
        # Now, while no field of this step is free: JAX would put the next inputs in its memory,
        # though torch may still have to read it.
        self._observe()
        return result

    def health(self) -> tuple[HealthReport | None, ...]:
        """The worst violation of bounds in the present state of each member, or None."""
        excesses = {
            name: Excess(*(np.asarray(values) for values in excess))  # type: ignore[arg-type]
            for name, excess in self._observe()[1].items()
        }
        return tuple(
            worst_violation(
                {n: Excess(*(values[index] for values in x)) for n, x in excesses.items()},
                self._columns,
            )
            for index in range(self.count)
        )

    def _observe(self) -> tuple[Fields, dict[str, Excess]]:
        if self._observed is None:
            now = self._stack()
            inputs, worst = self._programs.observe_members(now.state, now.carry, self.dates)
            self._observed = self._fields(inputs), worst
        return self._observed

    def _stack(self) -> Snapshot:
        """The states of all members, stacked; those of full physics at them, where that ran."""
        import jax
        import jax.numpy as jnp

        if self._stacked is None:
            self._let_torch_read()
            parts = [host.snapshot() for host in self._hosts]
            if self._by_physics and len({radiation_step(part.carry) for part in parts}) > 1:
                parts = [replace(part, carry=called_at_once(part.carry)) for part in parts]
            first = parts[0]
            self._later = tuple((part.date - first.date, part.step - first.step) for part in parts)
            states: ModelState = jax.tree.map(lambda *x: jnp.stack(x), *[p.state for p in parts])
            carries: Diagnostics
            latest: Diagnostics
            carries = jax.tree.map(lambda *x: jnp.stack(x), *[p.carry for p in parts])
            latest = jax.tree.map(lambda *x: jnp.stack(x), *[p.latest for p in parts])
            self._stacked = replace(first, state=states, carry=carries, latest=latest)
        return self._stacked

    def _part(self) -> None:
        """Give every member its state back."""
        import jax

        self._let_torch_read()
        if self._stacked is None:
            return
        for index, host in enumerate(self._hosts):
            state, carry = jax.tree.map(
                lambda x, i=index: x[i], (self._stacked.state, self._stacked.carry)
            )
            later, steps = self._later[index]
            date, step = self._stacked.date + later, self._stacked.step + steps
            host.take(Snapshot(state, carry, carry, date, step))
        self._stacked = self._observed = None

    def _let_torch_read(self) -> None:
        """Wait, before JAX uses memory again, until torch has read what it shares.

        The hybrid step needs no waiting: it starts after all that torch was given before it.
        """
        if self._shares:
            finish_reading()
