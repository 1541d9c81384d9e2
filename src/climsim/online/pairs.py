"""Step pairs of the members of a run, written beside its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType

import cftime
import numpy as np

from climsim.arrays import Fields
from climsim.data.raw.steps import write_step_pair
from climsim.grid import ColumnGrid
from climsim.hosts.base import SteppedHost, StepResult, declaration_of
from climsim.hosts.members import of_member
from climsim.parallel import Background
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
        emulated_processes: in the emulated term, whose tendencies the pairs hold.
    """

    folders: tuple[Path, ...]
    grid: ColumnGrid
    dt: float
    source: str
    emulated_processes: frozenset[str]

    @classmethod
    def of(cls, host: SteppedHost, folders: tuple[Path, ...], source: str) -> PairFiles:
        """Files of a host, which say what it declares."""
        processes = declaration_of(host).emulated_processes
        return cls(folders, host.grid, host.dt, source, processes)

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
                folder,
                date,
                own.inputs,
                after,
                self.grid,
                source=self.source,
                time_step=self.dt,
                emulated_processes=self.emulated_processes,
            )


class PairWriter:
    """Writes pairs in a thread of its own, a few steps behind the run.

    One thread, as the netCDF library takes no more. An error comes at the next call.
    """

    def __init__(self) -> None:
        self._background = Background("pairs", _MOST_WAITING)

    def add(
        self, files: PairFiles, result: StepResult, dates: Sequence[cftime.DatetimeNoLeap]
    ) -> None:
        """Take the pairs of one step for some files; see `PairFiles.write`."""
        kept = replace(result, diagnostics={}).kept()  # pairs hold no diagnostics
        self._background.submit(partial(files.write, kept, tuple(dates)))

    def settle(self) -> None:
        """Wait until all that was given is written."""
        self._background.settle()

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
        try:
            if error is None:
                self.settle()
        finally:
            self._background.close()
