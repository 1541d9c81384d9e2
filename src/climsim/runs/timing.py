"""Where the wall time of a run goes, and its speed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from climsim.constants import DAYS_PER_YEAR

PARTS = ("host", "network", "coupler", "history", "restart")
"""Parts that the wall time is split into."""


@dataclass
class Timing:
    """Wall time of a run, without the first step of each kind, which compiles.

    Attributes:
        steps: number of steps timed.
        seconds: by part of `PARTS`, of the steps timed [s].
        first_steps: wall time of the steps left out [s].
        beside: time of the thread that keeps history and records while the next step is under way
            [s]; `seconds` hold only what a step waited for it.
    """

    steps: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    first_steps: float = 0.0
    beside: float = 0.0

    def total(self) -> float:
        """Wall time of the steps timed [s]."""
        return sum(self.seconds.values())

    def years_per_day(self, dt: float) -> float | None:
        """Simulated years per day of wall time; None before there is anything to say."""
        if not self.steps or self.total() <= 0:
            return None
        return self.steps * dt / (DAYS_PER_YEAR * self.total())


class Stopwatch:
    """Times the parts of the steps of one process."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._kinds: set[str] = set()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what runs inside as a part of the step.

        Args:
            name: of `PARTS`.
        """
        before = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - before
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def spent(self) -> float:
        """Time of the parts since the last step that ended [s]."""
        return sum(self._seconds.values())

    def end_step(self, kind: str, timings: Iterable[Timing]) -> None:
        """Add the parts of a step to the timing of the members of a run.

        Args:
            kind: of the step; the first of each kind compiles and counts apart.
            timings: take the wall time, each all of it.
        """
        first = kind not in self._kinds
        self._kinds.add(kind)
        if not first:
            self.end_outside_step(timings, steps=1)
            return
        spent, self._seconds = self.spent(), {}
        for timing in timings:
            timing.first_steps += spent

    def end_outside_step(self, timings: Iterable[Timing], steps: int = 0) -> None:
        """Add the parts of what ran between two steps, such as a restart point."""
        seconds, self._seconds = self._seconds, {}
        for timing in timings:
            timing.steps += steps
            for name, spent in seconds.items():
                timing.seconds[name] += spent
