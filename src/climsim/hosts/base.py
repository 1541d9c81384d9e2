"""The interface between the coupler and a climate model that is stepped from here.

What an adapter of a climate model needs to be written is in this module.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

import cftime
import numpy as np

from climsim.arrays import Fields, is_numpy, to_numpy
from climsim.constants import E3SM, PhysicalConstants
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.processes import EMULATED_ATTRIBUTE, read_processes
from climsim.runs.health import HealthReport
from climsim.variables import OUTPUTS, RAW_PROFILES, SCALARS_IN

__all__ = [
    "Declaration",
    "HealthReport",
    "HostFactory",
    "HostSteps",
    "Options",
    "StepResult",
    "SteppedHost",
    "declaration_of",
    "require_fit",
]
Options: TypeAlias = Mapping[str, object]
"""Settings of a host, by key."""


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

    def kept(self) -> StepResult:
        """Copies in NumPy, to be used beside later steps, in which a host may overwrite its own."""
        parts = (self.inputs, self.tendencies, self.surface, self.diagnostics)
        return StepResult(self.date, *(_copies(fields) for fields in parts))


def _copies(fields: Fields) -> Fields:
    # What comes from a device is a copy already.
    return {n: np.array(x) if is_numpy(x) else to_numpy(x) for n, x in fields.items()}


class SteppedHost(Protocol):
    """A climate model, stepped from here, with its own physics or with an emulated one.

    What it provides and requires, and its constants, it may declare: see `Declaration`.
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

    def perturb(
        self,
        seed: int,
        amplitude: float,
        *,
        humidity: float = 0.0,
        wind: float = 0.0,
        cloud: float = 0.0,
    ) -> None:
        """Add noise to every cell, white in level, for other members and for perturbed profiles.

        A host that is never asked for noise on anything else needs the first two alone.

        Args:
            seed: of the noise.
            amplitude: standard deviation on the temperature [K].
            humidity: on the specific humidity, as a share of it [1].
            wind: on both components [m/s].
            cloud: on the logarithm of a factor on liquid and ice [1].
        """
        ...

    def save(self, path: Path) -> None:
        """Write a restart file atomically."""
        ...

    def restore(self, path: Path) -> None:
        """Continue exactly from a restart file."""
        ...


HostT_co = TypeVar("HostT_co", bound=SteppedHost, covariant=True)


@dataclass(frozen=True)
class HostSteps(Generic[HostT_co]):
    """Steps of a host that are counted from where the work with it began.

    Attributes:
        host: at its start or where it was saved.
        first_step: number of its first step.
    """

    host: HostT_co
    first_step: int

    @property
    def steps_done(self) -> int:
        """Steps since the start state."""
        return self.host.step_number - self.first_step


class HostFactory(Protocol):
    """What builds a stepped host from its settings."""

    def __call__(self, options: Options) -> SteppedHost:
        """Build the host at its start state."""
        ...


@dataclass(frozen=True)
class Declaration:
    """What a host says about itself before its first step, each as an attribute of this name.

    Attributes:
        provides: names of the fields of `SteppedHost.inputs`; unless declared, every variable of a
            raw input file.
        requires: names of the tendencies and surface scalars that `SteppedHost.step_emulated`
            takes; unless declared, all that an exported model gives.
        constants: that its own physics computes with; unless declared, E3SM's.
        emulated_processes: that `SteppedHost.step_emulated` leaves out, names of
            `climsim.processes.PROCESSES`; unless declared, unknown, which fits every model.
        processes_option: key of the host's options that chooses them; none unless declared.
    """

    provides: frozenset[str] = frozenset((*RAW_PROFILES, *SCALARS_IN))
    requires: frozenset[str] = frozenset(OUTPUTS.names)
    constants: PhysicalConstants = E3SM
    emulated_processes: frozenset[str] = frozenset()
    processes_option: str = ""


def declaration_of(host: SteppedHost) -> Declaration:
    """What a host declares, and the defaults for what it does not.

    Raises:
        ClimSimError: if it declares something of another type, or a process that is unknown.
    """
    usual = Declaration()
    constants = getattr(host, "constants", usual.constants)
    if not isinstance(constants, PhysicalConstants):
        raise ClimSimError(
            f"host {host.name}: expected its constants to be a climsim.constants."
            f"PhysicalConstants, found {type(constants).__name__}: declare them with it"
        )
    return Declaration(
        _names(host, "provides", usual.provides),
        _names(host, "requires", usual.requires),
        constants,
        read_processes(getattr(host, EMULATED_ATTRIBUTE, None), f"host {host.name}"),
        getattr(host, "processes_option", usual.processes_option),
    )


def _names(host: SteppedHost, attribute: str, usual: frozenset[str]) -> frozenset[str]:
    declared = getattr(host, attribute, usual)
    if isinstance(declared, str) or not all(isinstance(name, str) for name in declared):
        raise ClimSimError(
            f"host {host.name}: expected its {attribute} to be names of variables, found "
            f"{declared!r}: declare them as a set of names"
        )
    return frozenset(declared)


def require_inputs(host: SteppedHost, taken: frozenset[str], inputs: Fields) -> None:
    """Refuse a host whose inputs lack what it declares.

    Args:
        host: with its declaration, which was found to hold what is taken.
        taken: fields of the host that the run takes.
        inputs: of a step.

    Raises:
        ClimSimError: naming what is missing.
    """
    missing = sorted(taken - inputs.keys())
    if missing:
        raise ClimSimError(
            f"host {host.name}: expected its inputs to hold {', '.join(missing)}, found none: add "
            "them, or name in its attribute `provides` what there is"
        )


def require_methods(host: SteppedHost, names: Iterable[str], purpose: str) -> None:
    """Refuse a host that lacks methods which coupled runs alone do not need.

    Args:
        host: the climate model.
        names: of `SteppedHost`.
        purpose: of the work, for the message.

    Raises:
        ClimSimError: naming what is missing.
    """
    missing = [name for name in names if not hasattr(host, name)]
    if missing:
        raise ClimSimError(
            f"host {host.name}: expected the methods {', '.join(names)} for {purpose}, found no "
            f"{', '.join(missing)}: see climsim.hosts.base.SteppedHost"
        )


def require_noise(host: SteppedHost, names: Iterable[str], purpose: str) -> None:
    """Refuse a host that cannot add noise to what a piece of work asks for.

    Args:
        host: with its `SteppedHost.perturb`.
        names: arguments of it besides seed and amplitude.
        purpose: of the work, for the message.

    Raises:
        ClimSimError: naming what is missing.
    """
    known = inspect.signature(host.perturb).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        return
    missing = [name for name in names if name not in known]
    if missing:
        raise ClimSimError(
            f"host {host.name}: expected its perturb to take {', '.join(missing)} for {purpose}, "
            "found no such argument: add it to the host"
        )


def require_fit(
    host: SteppedHost, taken: frozenset[str], given: frozenset[str], purpose: str
) -> None:
    """Refuse a host that cannot take part in a run, before anything is computed.

    Args:
        host: with its declaration.
        taken: fields of the host that the run takes.
        given: tendencies and surface scalars that the run gives it; empty with its own physics.
        purpose: of the run, for the message.

    Raises:
        ClimSimError: naming what is missing on either side.
    """
    declaration = declaration_of(host)
    missing = sorted(taken - declaration.provides)
    if missing:
        raise ClimSimError(
            f"host {host.name}: expected it to provide {', '.join(missing)} for {purpose}, found "
            "none among what it declares: add them to the host, or choose another model or host"
        )
    lacking = sorted(declaration.requires - given) if given else []
    if lacking:
        raise ClimSimError(
            f"host {host.name}: requires {', '.join(lacking)}, which {purpose} does not give: "
            "choose another model or host"
        )
