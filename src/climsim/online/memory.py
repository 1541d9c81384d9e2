"""The memory of two steps that the expanded interface asks for, and the vectors that models take.

The features themselves are those of `climsim.physics.previous_steps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from array_api_compat import device

from climsim.arrays import Array, Fields, as_array, like, namespace, to_numpy
from climsim.constants import TIME_STEP
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.hosts.members import of_member, side_by_side
from climsim.interfaces import V6, Interface
from climsim.physics.derived import state_features
from climsim.physics.previous_steps import (
    EARLIER,
    earlier_scalars,
    large_scale_forcing,
    large_scale_state,
    one_step_earlier,
    physics_features,
)
from climsim.variables import PROGNOSTIC, RAW_PROFILES, SCALARS_IN

_PARTS = ("physics", "forcing", "scalars", "after")
"""Parts of a memory, each fields by name."""
_PHYSICS = ("t", "q0001", "q0002", "q0003", "u")
_PADDING = 16
"""Numbers between two rows, which powers of two apart would share few lines of a cache."""


@dataclass(frozen=True)
class Memory:
    """Tendencies of the two steps before the coming one.

    Attributes:
        steps: number of steps remembered: 0, 1 or 2.
        physics: ``state_*_prvphy`` and ``tm_state_*_prvphy``, (level, column).
        forcing: ``state_*_dyn`` of the previous step (its ``tm_`` form for the coming one).
        scalars: ``tm_*`` boundary inputs of the previous step, (column,).
        after: t, total water and u after the physics of the previous step.
        dt: time step [s].
    """

    steps: int = 0
    physics: Fields = field(default_factory=dict)
    forcing: Fields = field(default_factory=dict)
    scalars: Fields = field(default_factory=dict)
    after: Fields = field(default_factory=dict)
    dt: float = TIME_STEP

    def features(self, inputs: Fields, interface: Interface = V6) -> Fields:
        """Features of the coming step that come from earlier ones.

        Args:
            inputs: state before physics of the coming step.
            interface: that they are for.

        Returns:
            The forcings and physics tendencies of t-1 and t-2, (level, column), and scalars of t-1.

        Raises:
            ClimSimError: if fewer steps are remembered than the interface looks back.
        """
        needed = interface.steps_of_memory
        if self.steps < needed:
            raise ClimSimError(
                f"memory: the interface {interface.name} needs {needed} earlier steps, found "
                f"{self.steps}: set coupler.spinup_steps to {needed} or more"
            )
        earlier = {**one_step_earlier(self.forcing), **self.physics, **self.scalars}
        return {**self._forcing(inputs), **_where(inputs, earlier)}

    def advance(self, inputs: Fields, tendencies: Fields) -> Memory:
        """Remember one more step.

        Args:
            inputs: state before physics of the step.
            tendencies: ``ptend_*`` as the host applied them.
        """
        forcing = self._forcing(inputs) if self.steps else {}
        previous = physics_features(tendencies, _PHYSICS, "ptend_")
        last = {n: x for n, x in self.physics.items() if not n.startswith(EARLIER)}
        return Memory(
            steps=min(self.steps + 1, 2),
            physics={**previous, **one_step_earlier(last)},
            forcing=forcing,
            scalars=earlier_scalars(inputs),
            after=_after(inputs, tendencies, self.dt),
            dt=self.dt,
        )

    def _forcing(self, inputs: Fields) -> Fields:
        after = _where(inputs, self.after)
        return large_scale_forcing(large_scale_state(inputs), after, self.dt)

    def to_arrays(self) -> dict[str, Array]:
        """Flatten into named arrays, for a restart file."""
        arrays = {
            f"{part}/{name}": to_numpy(values)
            for part in _PARTS
            for name, values in getattr(self, part).items()
        }
        return {**arrays, "steps": np.array(self.steps), "dt": np.array(self.dt)}

    def of_member(self, index: int, count: int) -> Memory:
        """The memory of one of several members, whose columns lie side by side.

        Args:
            index: of the member.
            count: number of members.
        """
        parts = {n: of_member(getattr(self, n), index, count) for n in _PARTS}
        return Memory(steps=self.steps, dt=self.dt, **parts)

    @classmethod
    def joined(cls, memories: Sequence[Memory]) -> Memory:
        """The memory of several members, side by side."""
        first = memories[0]
        parts = {n: side_by_side([getattr(m, n) for m in memories]) for n in _PARTS}
        return cls(steps=first.steps, dt=first.dt, **parts)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> Memory:
        """Rebuild what `to_arrays` flattened."""
        parts: dict[str, Fields] = {part: {} for part in _PARTS}
        for key, value in arrays.items():
            part, _, name = key.partition("/")
            if name:
                parts[part][name] = value
        return cls(steps=int(arrays["steps"]), dt=float(arrays["dt"]), **parts)


def _where(inputs: Fields, fields: Fields) -> Fields:
    """Fields where the inputs are; those of a restart come as NumPy's."""
    return {name: like(values, inputs["state_t"]) for name, values in fields.items()}


def _after(inputs: Fields, tendencies: Fields, dt: float) -> Fields:
    before, change = large_scale_state(inputs), large_scale_state(tendencies, "ptend_")
    return {name: before[name] + dt * change[name] for name in before}


def needed_fields(interface: Interface) -> frozenset[str]:
    """Fields of a host that the vector of an interface is made of.

    What is derived and what is remembered follows from the state before and after the physics.
    """
    provided = {*RAW_PROFILES, *SCALARS_IN}
    return frozenset(provided & {*interface.variables.names, *PROGNOSTIC, "state_pmid"})


def assemble(interface: Interface, inputs: Fields, memory: Memory, grid: ColumnGrid) -> Array:
    """Build the vector that a model takes.

    Args:
        interface: of the model.
        inputs: state before physics and boundary inputs, as in a raw input file.
        memory: of the two steps before, where the interface asks for them.
        grid: the host's columns, for their latitude; fields may hold those of several members.

    Returns:
        (column, feature) float32.
    """
    state = as_array(inputs["state_t"])
    members = state.shape[1] // grid.n_columns
    fields = {**inputs, **state_features(inputs), **grid.places(members, state)}
    if interface.steps_of_memory:
        fields.update(memory.features(inputs, interface))
    xp = namespace(state)
    features, columns = interface.variables.size(grid.n_levels), state.shape[1]
    padded = xp.empty((features, columns + _PADDING), dtype=xp.float32, device=device(state))
    rows = padded[:, :columns]
    for name, where in interface.variables.slices(grid.n_levels).items():
        rows[where] = fields[name]
    vector: Array = xp.empty((columns, features), dtype=xp.float32, device=device(state))
    vector[:, :] = rows.T
    return vector
