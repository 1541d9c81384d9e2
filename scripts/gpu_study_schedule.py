"""A learning rate that falls by the clock, for trainings that end at a given time."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

from climsim.training.schedules import Schedule

if TYPE_CHECKING:
    from climsim.training.config import ScheduleConfig

WARMUP = 0.02
"""Share of the time in which the rate rises."""
FLOOR = 0.01
"""Share of the rate that is left at the end."""


class ByClock(Schedule):
    """A short rise, then half a period of a cosine up to STUDY_END (seconds since 1970)."""

    def __init__(self, config: ScheduleConfig) -> None:
        """Take the time from the environment; the clock starts at the first step."""
        super().__init__(config)
        self._end = float(os.environ["STUDY_END"])
        self._begin: float | None = None

    def factor(self, epoch: float, epochs: int) -> float:
        """Factor on the learning rate [1] (see `Schedule.factor`)."""
        del epoch, epochs
        now = time.time()
        if self._begin is None:
            self._begin = now
        share = min(1.0, (now - self._begin) / max(1.0, self._end - self._begin))
        if share < WARMUP:
            return (share + 1e-3) / (WARMUP + 1e-3)
        return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * share))
