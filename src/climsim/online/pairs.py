"""Step pairs of the members of a run, written beside its steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import cftime
import numpy as np

from climsim.arrays import Array, Fields, is_numpy, to_numpy
from climsim.data.raw.steps import write_step_pair
from climsim.grid import ColumnGrid
from climsim.hosts.base import StepResult
from climsim.hosts.members import of_member
from climsim.variables import PROGNOSTIC

_MOST_WAITING = 2
"""Steps that wait to be written before the run waits for them."""


def after_physics(result: StepResult, dt: float) -> Fields:
    """Prognostic state after the emulated physics, and the surface outputs.

    `x_after = x_before + dt * ptend_x`, in double precision.

    Args:
        result: of a step.
        dt: time step [s].
    """
    after = {
        name: np.asarray(result.inputs[name], np.float64)
        + dt * np.asarray(result.tendencies[name.replace("state_", "ptend_")], np.float64)
        for name in PROGNOSTIC
    }
    return {**after, **result.surface}


@dataclass(frozen=True)
class PairFiles:
    """Where the pairs of a run go and what their files say.

    Attributes:
        folders: of the members.
        grid: the columns of one member.
        dt: time step [s].
        source: what made the data, in words.
    """

    folders: tuple[Path, ...]
    grid: ColumnGrid
    dt: float
    source: str

    def write(self, result: StepResult, dates: Sequence[cftime.DatetimeNoLeap]) -> None:
        """Write the pair of every member.

        Args:
            result: of a step of all of them, side by side.
            dates: in the files, by member.
        """
        count = len(self.folders)
        for index, (folder, date) in enumerate(zip(self.folders, dates, strict=True)):
            own = replace(
                result,
                inputs=of_member(result.inputs, index, count),
                tendencies=of_member(result.tendencies, index, count),
                surface=of_member(result.surface, index, count),
            )
            after = after_physics(own, self.dt)
            write_step_pair(
                folder, date, own.inputs, after, self.grid, self.source, time_step=self.dt
            )


class PairWriter:
    """Writes pairs in a thread of its own, a few steps behind the run.

    One thread, as the netCDF library takes no more. An error comes at the next call.

    Args:
        files: where to.
    """

    def __init__(self, files: PairFiles) -> None:
        self._files = files
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pairs")
        self._waiting: deque[Future[None]] = deque()

    def add(self, result: StepResult, dates: Sequence[cftime.DatetimeNoLeap]) -> None:
        """Take the pairs of one step; see `PairFiles.write`."""
        while len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft().result()
        # A host may use the memory of its fields again in the next step.
        kept = StepResult(
            result.date, _copies(result.inputs), _copies(result.tendencies), _copies(result.surface)
        )
        self._waiting.append(self._pool.submit(self._files.write, kept, tuple(dates)))

    def settle(self) -> None:
        """Wait until all that was given is written."""
        while self._waiting:
            self._waiting.popleft().result()

    def __enter__(self) -> PairWriter:
        """The writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what was given; an error of that hides no other."""
        self._pool.shutdown(wait=True)
        if error is None:
            self.settle()


def _copies(fields: Mapping[str, Array]) -> Fields:
    return {n: np.array(x) if is_numpy(x) else to_numpy(x) for n, x in fields.items()}
