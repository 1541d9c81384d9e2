"""One step of a run: of the host's own physics, or of a network coupled to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from climsim.arrays import Array, Fields, is_numpy
from climsim.hosts.base import HealthReport, StepResult, declaration_of, require_inputs
from climsim.hosts.members import Members
from climsim.online.coupler import Coupled, ModelOutput, couple, split_output
from climsim.online.fields import NEEDED_FIELDS
from climsim.online.losses import true_losses
from climsim.online.memory import Memory, assemble, needed_fields
from climsim.online.model import CoupledModel, non_finite_members
from climsim.online.novelty import Novelty
from climsim.physics.air import Air
from climsim.runs.coupling import NOVELTY, CouplerOptions
from climsim.runs.timing import Stopwatch

if TYPE_CHECKING:
    from climsim.losses import TrainingLoss


HEALTH_STEPS_ELSEWHERE = 12
"""Steps between two looks at the health of a host that does not compute on a CPU."""
Troubles = tuple[HealthReport | None, ...]
"""What is wrong with each member of a run; None where nothing is."""


class Unstable(Exception):
    """Every member violated a bound.

    Attributes:
        troubles: of the members.
        trouble: the first of them.
    """

    def __init__(self, troubles: Troubles) -> None:
        self.troubles = troubles
        self.trouble = next(trouble for trouble in troubles if trouble is not None)
        super().__init__(self.trouble.variable)


@dataclass(frozen=True)
class StepOutcome:
    """What one step did.

    Attributes:
        result: of the host.
        air: of the state before physics.
        handed: what the host was handed; None for a step of its own physics.
        true_loss: by target, where the host's physics ran beside the network.
        network: the model's own output, before the rules; None for a step of the host's physics.
        troubles: values of a model that are no numbers, by member; empty where there are none.
    """

    result: StepResult
    air: Air
    handed: Coupled | None = None
    true_loss: Fields = field(default_factory=dict)
    network: ModelOutput | None = None
    troubles: Troubles = ()

    @property
    def predicted_loss(self) -> Fields:
        """By target, where the network has a confidence head."""
        return {} if self.network is None else self.network.confidence

    def kept(self) -> StepOutcome:
        """To be used beside later steps; see `StepResult.kept`."""
        result = self.result.kept()
        return replace(self, result=result, air=self.air.with_copies(result.inputs))


class Stepper:
    """Advances the members of a host, and remembers what the interface of their model asks for.

    Args:
        members: of the climate model; fields of all of them lie side by side.
        model: the exported model, or the models, None for the host's own physics.
        options: rules of the coupling.
        stopwatch: times the parts of the steps.
        health_steps: steps between two looks at values, see `climsim.runs.config.RunConfig`.
        when_long: called in every step before its longest part, in which Python has least to do.

    Attributes:
        memory: of the steps before.
    """

    def __init__(
        self,
        members: Members,
        model: CoupledModel | None,
        options: CouplerOptions,
        stopwatch: Stopwatch,
        health_steps: int = 0,
        when_long: Callable[[], None] = lambda: None,
    ) -> None:
        self.members, self.model, self.options = members, model, options
        self._health_steps, self._when_long = health_steps, when_long
        host = members.member(0)
        self.grid, self.dt = host.grid, host.dt
        self.constants = declaration_of(host).constants
        self.memory = Memory(dt=host.dt)
        self._time = stopwatch
        self._loss = None if model is None else _training_loss(model)
        self._novelty = None if model is None else _novelty(model, options)
        # Of the first step, whose inputs are looked at.
        self._taken = NEEDED_FIELDS
        if model is not None:
            self._taken |= needed_fields(model.interface)

    def step(self, number: int, *, by_physics: bool = False) -> StepOutcome:
        """Advance every member one step.

        Args:
            number: of the step, counted from the start of the run.
            by_physics: let the host's own physics make this step, whatever the options say.

        Raises:
            Unstable: if the model gives every member values that are no numbers.
        """
        model = self.model
        if model is None or by_physics or number < self.options.spinup_steps:
            self._when_long()
            with self._time.part("host"):
                result = self.members.step_physics()
            self._check(result.inputs)
            self._remember(result)
            with self._time.part("coupler"):
                return StepOutcome(result, self._air(result.inputs))
        return self._coupled_step(model, number)

    def looks(self, number: int, there: Array) -> bool:
        """Whether values are looked at after a step: elsewhere than on a CPU that takes waiting.

        Args:
            number: of the step, counted from the start of the run.
            there: an array of the step.
        """
        usual = 1 if is_numpy(there) else HEALTH_STEPS_ELSEWHERE
        return (number + 1) % (self._health_steps or usual) == 0

    def forget(self) -> None:
        """Drop the memory: the host was brought to another state."""
        self.memory = Memory(dt=self.dt)

    def _coupled_step(self, model: CoupledModel, number: int) -> StepOutcome:
        with self._time.part("host"):
            inputs = self.members.inputs()
            beside = self.members.physics() if self.options.needs_physics else None
        self._check(inputs)
        with self._time.part("coupler"):
            vector = assemble(model.interface, inputs, self.memory, self.grid)
        self._when_long()
        with self._time.part("network"):
            output = model(vector)
        with self._time.part("coupler"):
            troubles = self._troubles(output) if self.looks(number, output) else ()
            network = split_output(output, self.grid.n_levels)
            physics = None if beside is None else ModelOutput(beside.tendencies, beside.surface)
            novelty = None if self._novelty is None else self._novelty(vector)
            air = self._air(inputs)
            handed = self._couple(network, inputs, air, physics, number, novelty)
            true = self._true_loss(network, physics)
        with self._time.part("host"):
            result = self.members.step_emulated(handed.tendencies, handed.surface)
        self._remember(result)
        return StepOutcome(
            result,
            air,
            handed,
            true_loss=true,
            network=network,
            troubles=troubles,
        )

    def _troubles(self, output: Array) -> Troubles:
        troubles = non_finite_members(output, self.grid, self.members.count)
        if all(troubles):
            raise Unstable(troubles)
        return troubles

    def _check(self, inputs: Fields) -> None:
        if self._taken:
            require_inputs(self.members.member(0), self._taken, inputs)
            self._taken = frozenset()

    def _air(self, inputs: Fields) -> Air:
        return Air.of(inputs, self.grid, self.constants)

    def _couple(
        self,
        network: ModelOutput,
        inputs: Fields,
        air: Air,
        physics: ModelOutput | None,
        number: int,
        novelty: Array | None,
    ) -> Coupled:
        return couple(
            network,
            inputs,
            air,
            self.options,
            number - self.options.spinup_steps,
            physics=physics,
            dt=self.dt,
            novelty=novelty,
        )

    def _true_loss(self, network: ModelOutput, physics: ModelOutput | None) -> Fields:
        if physics is None or self._loss is None:
            return {}
        return true_losses(self._loss, network, physics, self.grid.n_levels)

    def _remember(self, result: StepResult) -> None:
        with self._time.part("coupler"):
            if self.model is not None and self.model.interface.steps_of_memory:
                self.memory = self.memory.advance(result.inputs, result.tendencies)


def _training_loss(model: CoupledModel) -> TrainingLoss | None:
    # Imported here: a run without a model needs no torch.
    from climsim.losses import TrainingLoss

    return TrainingLoss.of(model)


def _novelty(model: CoupledModel, options: CouplerOptions) -> Novelty | None:
    if options.mixing != NOVELTY:
        return None
    return Novelty.from_file(Path(options.mixing_statistics), model.interface, model.n_levels)
