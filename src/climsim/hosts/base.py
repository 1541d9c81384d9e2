"""The seam between the coupler and a climate model: what every host provides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import cftime

from climsim.arrays import Fields
from climsim.constants import E3SM, PhysicalConstants
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid


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


@dataclass(frozen=True)
class RunKeys:
    """Which keys of a run a host that runs in batch acts on; it refuses all others by name.

    Attributes:
        taken: dotted names of the keys of `RunConfig` and `EnsembleConfig`.
        refused: by dotted name of a key that the host cannot act on, why, or what does it there.
    """

    taken: frozenset[str]
    refused: Mapping[str, str]

    def require(self, config: object, host: str) -> None:
        """Refuse a configuration that sets what the host does not act on.

        Args:
            config: dataclass of a run or an ensemble.
            host: name of the host, for the message.

        Raises:
            ClimSimError: naming the key.
        """
        for name, (value, default) in leaf_keys(config).items():
            if name in self.taken or value == default:
                continue
            reason = self.refused.get(name, "it does not act on this key")
            raise ClimSimError(
                f"{name}={value}: the host {host} cannot take it ({reason}): leave it at {default}"
            )


def leaf_keys(config: Any, prefix: str = "") -> dict[str, tuple[object, object]]:
    """Value and default of every key of a configuration, nested ones by dotted name.

    Args:
        config: dataclass.
        prefix: of the names.
    """
    found: dict[str, tuple[object, object]] = {}
    for one in fields(config):
        value, name = getattr(config, one.name), f"{prefix}{one.name}"
        if is_dataclass(value):
            found |= leaf_keys(value, f"{name}.")
        else:
            made = None if one.default_factory is MISSING else one.default_factory()
            found[name] = (value, made if one.default is MISSING else one.default)
    return found


def constants_of(host: Host) -> PhysicalConstants:
    """The constants that a host declares as its attribute ``constants``; without one, E3SM's."""
    declared = getattr(host, "constants", E3SM)
    if not isinstance(declared, PhysicalConstants):
        raise ClimSimError(
            f"host {host.name}: expected its constants to be a climsim.constants."
            f"PhysicalConstants, found {type(declared).__name__}: declare them with it"
        )
    return declared


class Host(Protocol):
    """A climate model that can run with its own physics or with an emulated one.

    A host whose constants are not E3SM's declares them as ``constants``, see `constants_of`.
    """

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
