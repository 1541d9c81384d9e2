"""Members of the embedded model whose hybrid steps are one program."""

from __future__ import annotations

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
from climsim.hosts.gcm.host import GcmHost, emulated_term, worst_violation
from climsim.hosts.gcm.state import Excess
from climsim.hosts.members import SeparateMembers

if TYPE_CHECKING:
    from climsim.hosts.gcm.host import Snapshot
    from climsim.hosts.gcm.state import Diagnostics, ModelState


class GcmMembers:
    """Members that differ in their states alone; see `climsim.hosts.members.Members`.

    The states are stacked for hybrid steps and lie apart for all else: full physics steps member
    by member, because stacked it would call the radiation at every step.

    Args:
        hosts: of one configuration, whose programs the first one lends.
    """

    def __init__(self, hosts: Sequence[GcmHost]) -> None:
        self._hosts = tuple(hosts)
        self._apart = SeparateMembers(hosts)
        self._programs = hosts[0].programs
        self._levels, self._columns = hosts[0].grid.n_levels, hosts[0].grid.n_columns
        self._shares = on_gpu(hosts[0].snapshot().state)
        self._fields = tensor_fields if self._shares else numpy_fields
        for host in hosts:
            host.give_fields(self._fields)
        self._stacked: Snapshot | None = None
        self._observed: tuple[Fields, dict[str, Excess]] | None = None

    @property
    def count(self) -> int:
        """Number of members."""
        return len(self._hosts)

    @property
    def date(self) -> cftime.DatetimeNoLeap:
        """Beginning of the coming step."""
        return self._apart.date if self._stacked is None else self._stacked.date

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
        self._part()
        return self._apart.step_physics()

    def step_emulated(self, tendencies: Fields, surface: Fields) -> StepResult:
        """Advance every member one step with the emulated term replaced by the arrays given."""
        inputs = self.inputs()
        now = self._stack()
        shape = (self._levels, self._columns * self.count)
        given = singles(surface)
        fields = emulated_term(tendencies, given, shape)
        state, carry, out = self._programs.hybrid_members(
            now.state, now.carry, now.latest, now.date, fields
        )
        result = StepResult(
            date=now.date,
            inputs=inputs,
            tendencies=self._fields(out["tendencies"]),
            surface=given,
            diagnostics=self._fields(out["diagnostics"]),
        )
        self._stacked, self._observed = now.advanced(state, carry), None
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
            inputs, worst = self._programs.observe_members(now.state, now.carry, now.date)
            self._observed = self._fields(inputs), worst
        return self._observed

    def _stack(self) -> Snapshot:
        """The states of all members, stacked; those of full physics at them, where that ran."""
        import jax
        import jax.numpy as jnp

        if self._stacked is None:
            self._let_torch_read()
            parts = [host.snapshot() for host in self._hosts]
            states: ModelState = jax.tree.map(lambda *x: jnp.stack(x), *[p.state for p in parts])
            carries: Diagnostics
            latest: Diagnostics
            carries = jax.tree.map(lambda *x: jnp.stack(x), *[p.carry for p in parts])
            latest = jax.tree.map(lambda *x: jnp.stack(x), *[p.latest for p in parts])
            self._stacked = replace(parts[0], state=states, carry=carries, latest=latest)
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
            host.take(replace(self._stacked, state=state, carry=carry, latest=carry))
        self._stacked = self._observed = None

    def _let_torch_read(self) -> None:
        """Wait, before JAX uses memory again, until torch has read what it shares.

        The hybrid step needs no waiting: it starts after all that torch was given before it.
        """
        if self._shares:
            finish_reading()
