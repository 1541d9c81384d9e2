"""The seam between the coupler and a climate model: what every host provides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cftime
import numpy as np
from numpy.typing import NDArray

from climsim.grid import ColumnGrid

Fields = dict[str, NDArray[np.floating]]
"""Arrays by variable name: profiles (level, column), scalars (column,); level 0 at the top."""


@dataclass(frozen=True)
class HealthReport:
    """The worst violation of physical bounds in a state.

    Attributes:
        variable: name of the offending variable.
        column: index of the column.
        level: index of the level, or None for a scalar.
        value: the offending value.
        bounds: the allowed range.
    """

    variable: str
    column: int
    level: int | None
    value: float
    bounds: tuple[float, float]


@dataclass(frozen=True)
class StepResult:
    """What one step of a host saw and did.

    Attributes:
        date: beginning of the step.
        inputs: state before physics and boundary inputs, every variable of a raw input file.
        tendencies: ``ptend_*`` of t, q0001, q0002, q0003, u, v of the emulated term as applied.
        surface: the eight ``cam_out_*`` scalars.
        diagnostics: fields for the history that only the host knows, under E3SM's names.
    """

    date: cftime.DatetimeNoLeap
    inputs: Fields
    tendencies: Fields
    surface: Fields
    diagnostics: Fields = field(default_factory=dict)


class Host(Protocol):
    """A climate model that can run with its own physics or with an emulated one."""

    name: str
    grid: ColumnGrid
    dt: float

    @property
    def source(self) -> str:
        """What makes the data, in words, for the attributes of files."""
        ...

    @property
    def date(self) -> cftime.DatetimeNoLeap:
        """Beginning of the coming step."""
        ...

    @property
    def step_number(self) -> int:
        """Steps since the start state."""
        ...

    def inputs(self) -> Fields:
        """State before physics and boundary inputs of the coming step."""
        ...

    def physics(self) -> StepResult:
        """The host's own physics at the present state, without advancing."""
        ...

    def step_physics(self) -> StepResult:
        """Advance one step with the host's own physics."""
        ...

    def step_emulated(self, tendencies: Fields, surface: Fields) -> StepResult:
        """Advance one step with the emulated term replaced by the arrays given."""
        ...

    def health(self) -> HealthReport | None:
        """The worst violation of bounds in the present state, or None."""
        ...

    def perturb(self, seed: int, amplitude: float) -> None:
        """Add noise [K] to the temperature, for members that measure internal variability."""
        ...

    def save(self, path: Path) -> None:
        """Write a restart file atomically."""
        ...

    def restore(self, path: Path) -> None:
        """Continue exactly from a restart file."""
        ...
