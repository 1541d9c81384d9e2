"""How a network learns from states that it reaches itself, in rollouts of a few steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from climsim.errors import ClimSimError
from climsim.interfaces import encoding
from climsim.online.stages import FINETUNE
from climsim.plugins import absolute_reference, is_reference, reference_file
from climsim.runs.coupling import CONFIDENCE, CouplerOptions
from climsim.stage import Stage
from climsim.training.config import TrainConfig
from climsim.validation import Checks, require


@dataclass(frozen=True)
class RolloutConfig:
    """Where rollouts begin, how far they go, and what they count for.

    Attributes:
        steps: most coupled steps of a rollout; each makes one to that many, chosen at random.
        every: batches of the store between two rollouts.
        weight: share of the loss at the state that a rollout reached in the loss of its batch.
        stride: steps of the host's own physics between the beginnings of two rollouts of a
            trajectory, the first steps that a coupled run needs included.
        starts: restart files of the host, each the beginning of a trajectory of its own physics
            that rollouts leave in turn; empty takes the host's own start state.
        start_amplitude: standard deviation of the noise on the temperature of the starts [K].
    """

    steps: int = 4
    every: int = 4
    weight: float = 0.5
    stride: int = 6
    starts: tuple[Path, ...] = ()
    start_amplitude: float = 1.0e-2

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", tuple(Path(start) for start in self.starts))
        check = Checks(self, "rollouts")
        check.whole("steps", "every", "stride", least=1)
        check.between(0, 1, "weight")
        check.at_least(0, "start_amplitude", unit="K")


@dataclass(frozen=True)
class FinetuneConfig(TrainConfig):
    """A training on a store, as any other, and in rollouts of the network coupled to a host.

    Attributes:
        rollouts: where they begin, how far they go, and what they count for.
        host: name of the host, a module of `climsim.hosts`, or
            ``path/to/file.py:build_host``.
        host_options: settings of the host, by key.
        coupler: rules of the coupling.
    """

    rollouts: RolloutConfig = field(default_factory=RolloutConfig)
    host: str = "gcm"
    host_options: dict[str, object] = field(default_factory=dict)
    coupler: CouplerOptions = field(default_factory=CouplerOptions)
    stage: ClassVar[Stage] = FINETUNE

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "host", absolute_reference(self.host))
        encoding(self.recipe.inputs).require_coupled("recipe.inputs")
        require(
            "coupler.mixing",
            self.coupler.mixing,
            self.coupler.mixing != CONFIDENCE or self.recipe.confidence,
            f"another one with recipe.name={self.recipe.name}",
            "its network has no confidence head",
        )
        stride, needed = self.rollouts.stride, self.coupler.spinup_steps
        if stride < needed:
            raise ClimSimError(
                f"rollouts.stride: expected {needed} or more, the steps of physics before a "
                f"network takes over (coupler.spinup_steps), found {stride}"
            )
        if (processes := self.trainer.devices * self.trainer.nodes) > 1:
            raise ClimSimError(
                "trainer.devices: expected one process, as one host is in the loop, found "
                f"{processes}: train on several devices with `climsim train`"
            )

    @property
    def further_files(self) -> Mapping[str, Path]:
        """Starts, the statistics that the coupler mixes by, and the code of a user's host."""
        files = {f"rollouts.starts[{i}]": path for i, path in enumerate(self.rollouts.starts)}
        if (statistics := self.coupler.statistics_file) is not None:
            files["coupler.mixing_statistics"] = statistics
        if is_reference(self.host):
            files["host"] = reference_file(self.host)
        return files
