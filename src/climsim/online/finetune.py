"""Fine-tuning of a network in rollouts: it drives the host, the host's physics says what it missed.

A batch of the store keeps what the network knows of the weather; beside it stands the state that a
rollout of a few coupled steps has reached, with what the host's physics does there. The gradient is
that of the last step alone: those before lead there, and are not differentiated (the pushforward
of Brandstetter et al. 2022, arXiv 2202.03376, with labels as in Ross et al. 2011,
arXiv 1011.0686). Unlike pairs that were collected before, these are of the network as it now is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
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
from climsim.errors import ClimSimError
from climsim.export.module import EmulationMember, build_emulation
from climsim.files import require_there
from climsim.hosts import build_host
from climsim.hosts.base import SteppedHost
from climsim.hosts.members import SeparateMembers
from climsim.online.coupler import ModelOutput
from climsim.online.finetune_config import FinetuneConfig
from climsim.online.fitting import require_fitting
from climsim.online.losses import physical_targets
from climsim.online.memory import assemble
from climsim.online.model import require_for_host
from climsim.online.stepper import Stepper, Unstable
from climsim.runs.health import HealthReport
from climsim.runs.timing import Stopwatch
from climsim.stage import Progress
from climsim.training.module import EmulatorModule
from climsim.training.result import TrainResult
from climsim.training.run import train

__all__ = ["FinetuneConfig", "finetune"]
_log = logging.getLogger(__name__)


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
    require_there(dict(config.further_files))
    with TemporaryDirectory(prefix="climsim-") as folder:

        def visiting(module: EmulatorModule, card: CheckpointCard) -> Rollouts:
            built = build_host(config.host, config.host_options) if host is None else host
            return Rollouts(config, built, module, card, Path(folder))

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
            with torch.no_grad(), torch.autocast(self._module.device.type, enabled=False):
                output = self._emulation(self._tensor(vector))
        finally:
            self._module.train()
        return like(output.cpu().numpy(), vector)

    def inputs(self, vector: Array) -> Tensor:
        """What a batch of the store would hold (column, feature) for a vector of the interface."""
        with torch.no_grad():
            seen: Tensor = self._seen.to(self._module.device)(self._tensor(vector))
        return seen

    def _tensor(self, vector: Array) -> Tensor:
        return torch.as_tensor(to_numpy(vector), device=self._module.device)


class Rollouts:
    """States that the network reaches from weather, and what the host's physics does there.

    Every start begins a trajectory of the host's own physics, which knows nothing of the network.
    Rollouts leave the trajectories in turn, so that a network sees all seasons of its starts all
    the time; after each the host returns to its trajectory.

    Args:
        config: the training.
        host: the climate model, at its start state.
        module: the network in training.
        card: of its checkpoints.
        scratch: folder for restart files.

    Raises:
        ClimSimError: if a start or the network does not fit the host.
    """

    def __init__(
        self,
        config: FinetuneConfig,
        host: SteppedHost,
        module: EmulatorModule,
        card: CheckpointCard,
        scratch: Path,
    ) -> None:
        self.weight = config.rollouts.weight
        self._config, self._host, self._module = config, host, module
        self._model = NetworkInTraining(module, card)
        require_for_host(self._model, f"network {config.network.name}", host)
        require_fitting(self._model, host, config.coupler, frozenset())
        self._stepper = Stepper(SeparateMembers([host]), self._model, config.coupler, Stopwatch())
        count = max(1, len(config.rollouts.starts))
        self._states = [scratch / f"trajectory-{number}" for number in range(count)]
        self._made = self._unstable = 0
        self._begin()

    def __call__(self, step: int) -> Batch | None:
        """What the network reaches now, and what physics does there, on the network's device.

        Args:
            step: of the training.

        Returns:
            Inputs and targets (column, feature); None where no rollout is due, or where the host
            became unstable under the network.

        Raises:
            ClimSimError: if the host becomes unstable under its own physics.
        """
        rollouts = self._config.rollouts
        if step % rollouts.every:
            return None
        state = self._states[self._made % len(self._states)]
        self._made += 1
        self._advance(state)
        random = np.random.default_rng((self._config.seed, self._made))
        trouble = self._roll(int(random.integers(rollouts.steps)) + 1)
        if trouble is None:
            return self._labelled()
        self._unstable += 1
        _log.warning("step %d: the rollout is left out: %s", step, trouble)
        return None

    def state(self) -> dict[str, object]:
        """Where the trajectories stand."""
        held = [
            torch.frombuffer(bytearray(p.read_bytes()), dtype=torch.uint8) for p in self._states
        ]
        return {"made": self._made, "unstable": self._unstable, "trajectories": held}

    def restore(self, state: Mapping[str, object]) -> None:
        """Continue exactly from there."""
        self._made, self._unstable = (cast(int, state[name]) for name in ("made", "unstable"))
        held = cast(list[Tensor], state["trajectories"])
        for path, content in zip(self._states, held, strict=True):
            path.write_bytes(content.cpu().numpy().tobytes())

    def _begin(self) -> None:
        """Bring every trajectory to its start."""
        rollouts = self._config.rollouts
        for number, state in enumerate(self._states):
            if rollouts.starts:
                self._host.restore(rollouts.starts[number])
            random = np.random.default_rng((self._config.seed, number))
            self._host.perturb(int(random.integers(2**31)), rollouts.start_amplitude)
            self._host.save(state)

    def _advance(self, state: Path) -> None:
        """Bring the host some steps of its own physics further on a trajectory."""
        self._host.restore(state)
        self._stepper.forget()
        for _ in range(self._config.rollouts.stride):
            self._stepper.step(0, by_physics=True)
        if (trouble := self._host.health()) is not None:
            raise ClimSimError(
                f"host {self._host.name}: unstable under its own physics on the way to a rollout "
                f"({trouble}): begin from other rollouts.starts"
            )
        self._host.save(state)

    def _roll(self, steps: int) -> HealthReport | None:
        """Let the network drive; what made the host unstable, if it did."""
        for number in range(steps):
            try:
                self._stepper.step(self._config.coupler.spinup_steps + number)
            except Unstable as error:
                return error.trouble
            if (trouble := self._host.health()) is not None:
                return trouble
        return None

    def _labelled(self) -> Batch:
        """The present state as a batch of a store would hold it."""
        model, host = self._model, self._host
        vector = assemble(model.interface, host.inputs(), self._stepper.memory, host.grid)
        physics = host.physics()
        targets = self._module.inputs.encoding.targets
        output = ModelOutput(physics.tendencies, physics.surface)
        label = np.asarray(physical_targets(output, targets), np.float32)
        return model.inputs(vector), torch.as_tensor(label, device=self._module.device)
