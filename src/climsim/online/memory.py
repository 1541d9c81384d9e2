"""The memory of two steps that the expanded interface asks for, and the vectors that models take.

Source: spec of ClimSim's expanded set. With `before` and `after` the state around the physics:
physics tendency of the previous step ``(after(t-1) - before(t-1)) / dt``, large-scale forcing
``(before(t) - after(t-1)) / dt``; the prefix ``tm_`` marks both one step earlier.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from climsim.arrays import Array
from climsim.constants import TIME_STEP
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.interfaces import V6, Interface
from climsim.online.hosts.base import Fields
from climsim.physics.thermodynamics import relative_humidity
from climsim.variables import variable

_PHYSICS = ("t", "q0001", "q0002", "q0003", "u")
_WATER = ("q0001", "q0002", "q0003")
_EARLIER = "tm_"


@dataclass(frozen=True)
class Memory:
    """Tendencies of the two steps before the coming one.

    Attributes:
        steps: number of steps remembered: 0, 1 or 2.
        physics: ``state_*_prvphy`` and ``tm_state_*_prvphy``, (level, column).
        forcing: ``state_*_dyn`` of the previous step (its ``tm_`` form for the coming one).
        after: t, total water and u after the physics of the previous step.
        dt: time step [s].
    """

    steps: int = 0
    physics: Fields = field(default_factory=dict)
    forcing: Fields = field(default_factory=dict)
    after: Fields = field(default_factory=dict)
    dt: float = TIME_STEP

    def features(self, inputs: Fields) -> Fields:
        """Features of the coming step that come from earlier ones.

        Args:
            inputs: state before physics of the coming step.

        Returns:
            The forcings and physics tendencies of t-1 and t-2, (level, column).

        Raises:
            ClimSimError: if fewer than two steps are remembered.
        """
        needed = V6.steps_of_memory
        if self.steps < needed:
            raise ClimSimError(
                f"memory: the interface {V6.name} needs {needed} earlier steps, found "
                f"{self.steps}: set coupler.spinup_steps to {needed} or more"
            )
        earlier = {_EARLIER + name: value for name, value in self.forcing.items()}
        return {**self._forcing(inputs), **earlier, **self.physics}

    def advance(self, inputs: Fields, tendencies: Fields) -> Memory:
        """Remember one more step.

        Args:
            inputs: state before physics of the step.
            tendencies: ``ptend_*`` as the host applied them.
        """
        forcing = self._forcing(inputs) if self.steps else {}
        previous = {f"state_{k}_prvphy": np.asarray(tendencies[f"ptend_{k}"]) for k in _PHYSICS}
        earlier = {
            _EARLIER + name: value
            for name, value in self.physics.items()
            if not name.startswith(_EARLIER)
        }
        return Memory(
            steps=min(self.steps + 1, 2),
            physics={**previous, **earlier},
            forcing=forcing,
            after=_after(inputs, tendencies, self.dt),
            dt=self.dt,
        )

    def _forcing(self, inputs: Fields) -> Fields:
        before = _large_scale(inputs)
        return {f"state_{k}_dyn": (before[k] - self.after[k]) / self.dt for k in before}

    def to_arrays(self) -> dict[str, Array]:
        """Flatten into named arrays, for a restart file."""
        parts = {"physics": self.physics, "forcing": self.forcing, "after": self.after}
        arrays = {f"{part}/{n}": x for part, fields in parts.items() for n, x in fields.items()}
        return {**arrays, "steps": np.array(self.steps), "dt": np.array(self.dt)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> Memory:
        """Rebuild what `to_arrays` flattened."""
        parts: dict[str, Fields] = {"physics": {}, "forcing": {}, "after": {}}
        for key, value in arrays.items():
            part, _, name = key.partition("/")
            if name:
                parts[part][name] = value
        return cls(steps=int(arrays["steps"]), dt=float(arrays["dt"]), **parts)


def _large_scale(fields: Fields) -> Fields:
    """Temperature, total water and eastward wind, in float64."""
    state = {k: np.asarray(fields[f"state_{k}"], dtype=np.float64) for k in ("t", *_WATER, "u")}
    water = state["q0001"] + state["q0002"] + state["q0003"]
    return {"t": state["t"], "q0": water, "u": state["u"]}


def _after(inputs: Fields, tendencies: Fields, dt: float) -> Fields:
    before = _large_scale(inputs)
    change = {k: np.asarray(tendencies[f"ptend_{k}"], dtype=np.float64) for k in _PHYSICS}
    water = sum(change[k] for k in _WATER)
    return {
        "t": before["t"] + dt * change["t"],
        "q0": before["q0"] + dt * water,
        "u": before["u"] + dt * change["u"],
    }


def assemble(interface: Interface, inputs: Fields, memory: Memory, grid: ColumnGrid) -> Array:
    """Build the vector that a model takes.

    Args:
        interface: of the model.
        inputs: state before physics and boundary inputs, as in a raw input file.
        memory: of the two steps before, where the interface asks for them.
        grid: the host's columns, for their latitude.

    Returns:
        (column, feature) float32.
    """
    fields = dict(inputs)
    fields["state_rh"] = relative_humidity(
        inputs["state_q0001"], inputs["state_t"], inputs["state_pmid"]
    )
    fields["clat"] = np.cos(np.deg2rad(grid.lat))
    fields["slat"] = np.sin(np.deg2rad(grid.lat))
    if interface.steps_of_memory:
        fields.update(memory.features(inputs))
    vector = np.empty((grid.n_columns, interface.variables.size(grid.n_levels)), dtype=np.float32)
    for name, where in interface.variables.slices(grid.n_levels).items():
        value = fields[name]
        vector[:, where] = value.T if variable(name).profile else value[:, None]
    return vector
