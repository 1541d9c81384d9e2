"""Fine-tuning of a network in rollouts: it drives the host, the host's physics says what it missed.

A batch of the store keeps what the network knows of the weather; beside it stands the state that a
rollout of a few coupled steps has reached, with what the host's physics does there. The gradient is
that of the last step alone: those before lead there, and are not differentiated (the pushforward
of Brandstetter et al. 2022, arXiv 2202.03376, with labels as in Ross et al. 2011,
arXiv 1011.0686). Unlike pairs that were collected before, these are of the network as it now is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
import torch
from torch import Tensor

from climsim.arrays import Array, like, to_numpy
from climsim.cards import ModelCard
from climsim.checkpoint_cards import CheckpointCard
from climsim.data.reading.loader import Batch
from climsim.data.store.opened import Store
from climsim.errors import ClimSimError
from climsim.export.module import EmulationMember, build_emulation
from climsim.hosts import build_host
from climsim.hosts.base import SteppedHost, require_methods
from climsim.hosts.members import SeparateMembers
from climsim.interfaces import encoding
from climsim.online.coupler import ModelOutput
from climsim.online.finetune_config import FinetuneConfig
from climsim.online.fitting import require_fitting
from climsim.online.losses import physical_targets
from climsim.online.memory import assemble
from climsim.online.model import require_for_host
from climsim.online.stepper import Stepper, Unstable
from climsim.runs.timing import Stopwatch
from climsim.stage import Progress
from climsim.training.checkpoint import LAST_NAME
from climsim.training.module import EmulatorModule
from climsim.training.result import TrainResult
from climsim.training.run import train

__all__ = ["FinetuneConfig", "finetune"]
_log = logging.getLogger(__name__)
_MOST_IN_A_ROW = 20
"""Rollouts without a state to learn from, after which a training ends."""


def finetune(
    config: FinetuneConfig, progress: Progress | None = None, host: SteppedHost | None = None
) -> TrainResult:
    """Train a network on a store and in rollouts, or continue that; see `climsim.training.run`.

    Args:
        config: the training, and its rollouts.
        progress: called with steps done and their total.
        host: one built before, at its start state; None builds it from the configuration.

    Raises:
        ClimSimError: as in training; if there is no checkpoint to start from, or a start or the
            network does not fit the host; and if the host's own physics makes it unstable.
    """
    if config.trainer.warm_start is None:
        raise ClimSimError(
            "trainer.warm_start: expected the checkpoint to fine-tune, found none: give one that "
            "`climsim train` made, such as its best.ckpt"
        )
    with TemporaryDirectory(prefix="climsim-") as folder:

        def visiting(store: Store) -> Callable[[EmulatorModule, CheckpointCard], Rollouts]:
            built = build_host(config.host, config.host_options) if host is None else host
            start = Trajectories(config, built, store, Path(folder))
            return lambda module, card: Rollouts(config, start, module, card)

        return train(config, progress, visiting)


class NetworkInTraining:
    """A network between two steps of its training, as an exported file of it would answer.

    Args:
        module: holds the network and its transforms.
        card: of its checkpoints.
    """

    def __init__(self, module: EmulatorModule, card: CheckpointCard) -> None:
        self._module = module
        member = EmulationMember(module.network, module.transforms)
        self.interface = member.inputs.encoding.interface
        self.n_levels, self.confidence = member.inputs.n_levels, card.network.confidence
        self.card = ModelCard(
            interface=self.interface,
            n_levels=self.n_levels,
            confidence=self.confidence,
            time_step=card.time_step_s,
            emulated_processes=card.emulated_processes,
        )
        self._seen = member.interface
        self._emulation = build_emulation([member], self.confidence, card.time_step)
        module.train()

    def __call__(self, vector: Array) -> Array:
        """Physical outputs (column, feature) of physical inputs (column, feature), float32."""
        self._emulation.to(self._module.device).eval()
        try:
            output = self._emulation(self._tensor(vector))
        finally:
            self._module.train()
        return like(output.cpu().numpy(), vector)

    def inputs(self, vector: Array) -> Tensor:
        """What a batch of the store would hold (column, feature) for a vector of the interface."""
        seen: Tensor = self._seen.to(self._module.device)(self._tensor(vector))
        return seen

    def _tensor(self, vector: Array) -> Tensor:
        return torch.as_tensor(to_numpy(vector), device=self._module.device)


class Trajectories:
    """Runs of the host with its own physics, from which rollouts leave and which they do not touch.

    Args:
        config: the training.
        host: the climate model, at its start state.
        store: whose network is to drive it.
        scratch: folder for restart files.

    Raises:
        ClimSimError: if a start, or a network of such data, does not fit the host.
    """

    def __init__(
        self, config: FinetuneConfig, host: SteppedHost, store: Store, scratch: Path
    ) -> None:
        self._starts, self.host = config.rollouts.starts, host
        require_methods(host, ("physics", "perturb"), "rollouts in training")
        require_for_host(host, str(store.path), store.n_levels, store.emulated_processes)
        ModelCard(time_step=store.time_step).compare_time_step("the host", host.dt)
        interface = encoding(config.recipe.inputs).interface
        require_fitting(interface, host, config.coupler, frozenset())
        self._states = [scratch / f"trajectory-{i}" for i in range(max(1, len(self._starts)))]
        for number, state in enumerate(self._states):
            if self._starts:
                host.restore(self._starts[number])
            random = np.random.default_rng((config.seed, number))
            host.perturb(int(random.integers(2**31)), config.rollouts.start_amplitude)
            host.save(state)

    def bring(self, number: int) -> None:
        """Bring the host to a trajectory; they are taken in turn."""
        self.host.restore(self._states[number % len(self._states)])

    def keep(self, number: int) -> None:
        """Let a trajectory continue where the host is now."""
        self.host.save(self._states[number % len(self._states)])

    def start(self, number: int) -> str:
        """Where a trajectory began, in words."""
        return str(self._starts[number % len(self._states)]) if self._starts else "the host's start"

    def state(self) -> list[Tensor]:
        """Restart files of all, as bytes."""
        contents = (bytearray(path.read_bytes()) for path in self._states)
        return [torch.frombuffer(content, dtype=torch.uint8) for content in contents]

    def restore(self, contents: Sequence[Tensor]) -> None:
        """Continue exactly from what `state` gave."""
        for path, content in zip(self._states, contents, strict=True):
            path.write_bytes(content.cpu().numpy().tobytes())


class Rollouts:
    """States that the network reaches from weather, and what the host's physics does there.

    Rollouts leave the trajectories in turn, so that a network sees all seasons of its starts all
    the time.

    Args:
        config: the training.
        trajectories: of the host.
        module: the network in training.
        card: of its checkpoints.
    """

    def __init__(
        self,
        config: FinetuneConfig,
        trajectories: Trajectories,
        module: EmulatorModule,
        card: CheckpointCard,
    ) -> None:
        self.weight = config.rollouts.weight
        self._config, self._trajectories, self._module = config, trajectories, module
        self._host, self._model = trajectories.host, NetworkInTraining(module, card)
        members = SeparateMembers([self._host])
        self._stepper = Stepper(members, self._model, config.coupler, Stopwatch())
        self._made = self._left_out = self._in_a_row = 0

    def __call__(self, step: int) -> Batch | None:
        """What the network reaches now, and what physics does there, on the network's device.

        Args:
            step: of the training.

        Returns:
            Inputs and targets (column, feature); None where no rollout is due, or where this one
            left the bounds of the host.

        Raises:
            ClimSimError: if the host becomes unstable under its own physics, or the network takes
                it out of its bounds again and again.
        """
        if step % self._config.rollouts.every:
            return None
        with torch.no_grad(), torch.autocast(self._module.device.type, enabled=False):
            self._advance()
            random = np.random.default_rng((self._config.seed, self._made))
            trouble = self._roll(int(random.integers(self._config.rollouts.steps)) + 1)
            reached = self._labelled() if trouble is None else trouble
        self._made += 1
        if not isinstance(reached, str):
            self._in_a_row = 0
            return reached
        self._leave_out(reached)
        return None

    def state(self) -> dict[str, object]:
        """Where the trajectories stand, and what became of the rollouts."""
        counts = (self._made, self._left_out, self._in_a_row)
        return {"counts": list(counts), "trajectories": self._trajectories.state()}

    def restore(self, state: Mapping[str, object]) -> None:
        """Continue exactly from there."""
        self._made, self._left_out, self._in_a_row = cast(list[int], state["counts"])
        self._trajectories.restore(cast(list[Tensor], state["trajectories"]))

    def _advance(self) -> None:
        """Bring the host some steps of its own physics further on the trajectory whose turn it is.

        The steps also fill the memory that some interfaces ask for.
        """
        config, number = self._config, self._made
        self._trajectories.bring(number)
        self._stepper.forget()
        for _ in range(config.rollouts.stride):
            self._stepper.step(0, by_physics=True)
        if (trouble := self._host.health()) is not None:
            raise ClimSimError(
                f"host {self._host.name}: unstable under its own physics on the trajectory from "
                f"{self._trajectories.start(number)} ({trouble}): train in another `out`, with "
                f"other rollouts.starts and trainer.warm_start={config.out / LAST_NAME}"
            )
        self._trajectories.keep(number)

    def _roll(self, steps: int) -> str | None:
        """Let the network drive; what made the host unstable, if it did."""
        for number in range(steps):
            try:
                self._stepper.step(self._config.coupler.whole_step + number)
            except Unstable as error:
                return str(error.trouble)
            if (trouble := self._host.health()) is not None:
                return str(trouble)
        return None

    def _labelled(self) -> Batch | str:
        """The present state as a batch of a store would hold it, or why there is none."""
        model, host = self._model, self._host
        vector = assemble(model.interface, host.inputs(), self._stepper.memory, host.grid)
        physics = host.physics()
        targets = self._module.inputs.encoding.targets
        output = ModelOutput(physics.tendencies, physics.surface)
        label = np.asarray(physical_targets(output, targets), np.float32)
        seen = model.inputs(vector)
        if not (np.isfinite(label).all() and bool(torch.isfinite(seen).all())):
            return f"host {host.name} gives values there that are no numbers"
        return seen, torch.as_tensor(label, device=self._module.device)

    def _leave_out(self, reason: str) -> None:
        """Count a rollout that left no state to learn from.

        Raises:
            ClimSimError: if there were too many of them without any other between.
        """
        self._left_out += 1
        self._in_a_row += 1
        if self._left_out & (self._left_out - 1) == 0:  # not each: there may be thousands
            _log.warning(
                "%d of %d rollouts left out, the last one because %s",
                self._left_out,
                self._made,
                reason,
            )
        if self._in_a_row == _MOST_IN_A_ROW:
            raise ClimSimError(
                f"rollouts: {_MOST_IN_A_ROW} of them in a row left no state to learn from (last: "
                f"{reason}): train in another `out`, with fewer rollouts.steps or a network that "
                "was trained for longer"
            )
