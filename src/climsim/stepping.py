"""Long work in steps: saved now and then, resumed exactly, and ended in good order by an interrupt.

One loop for every run of a climate model: coupled runs, generated data, spin-up, measured climates.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from climsim.constants import SECONDS_PER_DAY
from climsim.interrupts import on_interrupt
from climsim.stage import Progress
from climsim.validation import require

_log = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """An interrupt after which the work was saved and can be resumed where it stopped."""


class SteppedWork(Protocol):
    """Work that is done step by step and can be resumed from what it saved."""

    @property
    def steps_done(self) -> int:
        """Steps done, those before it was resumed included."""
        ...

    def step(self) -> bool:
        """Do one step; False where the work ended with it, before all steps were done."""
        ...

    def save(self) -> None:
        """Write what a later call resumes from, exactly."""
        ...


def steps_of(days: float, dt: float) -> int:
    """Number of steps nearest to some simulated days.

    Args:
        days: simulated days.
        dt: time step [s]; 0 where it is unknown, and the number of steps then too.
    """
    return round(days * SECONDS_PER_DAY / dt) if dt > 0 else 0


def steps_asked(days: float, dt: float) -> int:
    """Number of steps of a run that is asked for with the key ``days``.

    Args:
        days: simulated days.
        dt: time step [s].

    Raises:
        ClimSimError: if they are nearer to no step at all.
    """
    steps = steps_of(days, dt)
    least = f"at least one step of {dt:g} s ({dt / SECONDS_PER_DAY:.3g} days)"
    require("days", days, steps > 0, least)
    return steps


def advance(
    work: SteppedWork, steps: int, steps_between: int, progress: Progress | None = None
) -> bool:
    """Do the steps that are left, and save at regular intervals, at the end and at an interrupt.

    Args:
        work: at its start or resumed.
        steps: number of steps in all.
        steps_between: steps between two times that the work is saved.
        progress: called after every step.

    Returns:
        Whether all steps were done; False where the work ended by itself.

    Raises:
        Interrupted: after an interrupt, once the work is saved.
        KeyboardInterrupt: at a second interrupt, at once.
    """
    with _interruptions() as stopped:
        while work.steps_done < steps:
            if not work.step():
                return False
            done = work.steps_done
            if progress is not None:
                progress(done, steps)
            if stopped.is_set() or done % steps_between == 0 or done == steps:
                work.save()
            if stopped.is_set():
                raise Interrupted
    return True


@contextmanager
def _interruptions() -> Iterator[threading.Event]:
    """Turn the first interrupt into a request to stop after the step; Ctrl-C then stops at once."""
    stopped = threading.Event()

    def request(_: int) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        _log.warning("stopping after this step: press Ctrl-C again to stop immediately")

    with on_interrupt(request):
        yield stopped
