"""Learning rates as functions of progress, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from climsim.errors import ClimSimError
from climsim.registry import Registry

if TYPE_CHECKING:
    from climsim.training.config import ScheduleConfig


class Schedule:
    """Factor on the learning rate: 1 throughout, unless a subclass says otherwise.

    A factor that follows from progress alone needs no state; one that follows from the validation
    loss keeps what resuming needs in `state`.

    Attributes:
        follows_length: whether the factor at every step follows from the number of epochs, so that
            a run cannot be made longer afterwards.
        learning_rate: what the factor is multiplied by, for schedules that know limits of it.
    """

    follows_length: ClassVar[bool] = False
    learning_rate: float = 1.0

    def __init__(self, config: ScheduleConfig) -> None:
        """Take the settings.

        Args:
            config: the settings of all schedules.
        """
        self.config = config

    def factor(self, epoch: float, epochs: int) -> float:
        """Factor on the learning rate [1].

        Args:
            epoch: epochs done, with a fraction.
            epochs: epochs of the whole run.
        """
        del epoch, epochs
        return 1.0

    def update(self, loss: float) -> None:
        """Take the validation loss of an epoch into account."""
        del loss

    def state(self) -> dict[str, float]:
        """What resuming needs."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Take a saved state over."""
        del state


def _of_user(name: str, schedule: object) -> type[Schedule]:
    """The class that a user brings."""
    if not (isinstance(schedule, type) and issubclass(schedule, Schedule)):
        raise ClimSimError(
            f"schedule {name!r}: expected a subclass of climsim.training.schedules.Schedule, found "
            f"{getattr(schedule, '__name__', schedule)!r}: derive the class from Schedule"
        )
    return schedule


SCHEDULES: Registry[type[Schedule]] = Registry(
    "schedule", entry_points="climsim.schedules", adapt=_of_user
)
"""Every schedule, by the name that users type."""
SCHEDULES.add("constant", Schedule)


@SCHEDULES.register("step")
class Step(Schedule):
    """``factor^floor(epoch / every)``."""

    def factor(self, epoch: float, epochs: int) -> float:
        """Factor on the learning rate [1] (see `Schedule.factor`)."""
        return self.config.factor ** int(epoch // self.config.every_epochs)


@SCHEDULES.register("cosine")
class Cosine(Schedule):
    """From 1 to the floor over the run, along half a period of a cosine."""

    follows_length = True
    _warms_up: ClassVar[bool] = False

    def factor(self, epoch: float, epochs: int) -> float:
        """Factor on the learning rate [1] (see `Schedule.factor`)."""
        warmup = self.config.warmup_epochs if self._warms_up else 0.0
        if epoch < warmup:
            return epoch / warmup
        share = min(1.0, (epoch - warmup) / max(epochs - warmup, 1e-9))
        floor = self.config.floor
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))


@SCHEDULES.register("warmup_cosine")
class WarmupCosine(Cosine):
    """A linear rise over the first epochs, then the cosine over the rest."""

    _warms_up = True


@SCHEDULES.register("cosine_annealing")
class CosineAnnealing(Schedule):
    """From the learning rate to ``eta_min`` along a cosine of period ``2 t_max``, by epochs.

    Source: torch's ``CosineAnnealingLR``, stepped once an epoch.
    """

    def factor(self, epoch: float, epochs: int) -> float:
        """Factor on the learning rate [1] (see `Schedule.factor`)."""
        lowest = self.config.eta_min / self.learning_rate
        phase = math.pi * int(epoch) / self.config.t_max
        return lowest + (1 - lowest) * 0.5 * (1 + math.cos(phase))


@SCHEDULES.register("plateau")
class Plateau(Schedule):
    """Multiplied when the validation loss has not improved for some epochs.

    A loss is an improvement if it lies below the best by a share of it. A step of the rate that is
    too small to matter is not taken. Source: torch's ``ReduceLROnPlateau``, relative threshold.
    """

    _LEAST_STEP: ClassVar[float] = 1.0e-8

    def __init__(self, config: ScheduleConfig) -> None:
        """Start at factor 1.

        Args:
            config: factor, patience and floor.
        """
        super().__init__(config)
        self._present = 1.0
        self._best = math.inf
        self._bad_epochs = 0

    def factor(self, epoch: float, epochs: int) -> float:
        """Factor on the learning rate [1] (see `Schedule.factor`)."""
        del epoch, epochs
        return self._present

    def update(self, loss: float) -> None:
        """Take the validation loss of an epoch into account."""
        if loss < self._best * (1 - self.config.threshold):
            self._best, self._bad_epochs = loss, 0
            return
        self._bad_epochs += 1
        if self._bad_epochs > self.config.patience:
            lower = max(self.config.floor, self._present * self.config.factor)
            if (self._present - lower) * self.learning_rate > self._LEAST_STEP:
                self._present = lower
            self._bad_epochs = 0

    def state(self) -> dict[str, float]:
        """What resuming needs."""
        return {"factor": self._present, "best": self._best, "bad_epochs": self._bad_epochs}

    def restore(self, state: Mapping[str, float]) -> None:
        """Take a saved state over."""
        self._present, self._best = state["factor"], state["best"]
        self._bad_epochs = int(state["bad_epochs"])


def build_schedule(config: ScheduleConfig, learning_rate: float = 1.0) -> Schedule:
    """Build the schedule of a configuration.

    Args:
        config: its settings.
        learning_rate: before the schedule.

    Raises:
        ClimSimError: for an unknown name.
    """
    schedule = SCHEDULES.find(config.name)(config)
    schedule.learning_rate = learning_rate
    return schedule
