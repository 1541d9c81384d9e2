"""What preparation makes of a record: its settings, and the plan that follows from the files."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.data.raw.emulated import settle_processes
from climsim.data.raw.features import MEMORY, memory_of
from climsim.data.raw.identity import step_labels
from climsim.data.raw.steps import StepFiles, list_steps, read_grid_info
from climsim.data.raw.time_step import settle_time_step
from climsim.data.store.config import PrepareConfig
from climsim.data.store.creation import StoreCoordinates
from climsim.data.store.opened import FORMAT
from climsim.data.store.shards import FilesTask, ShardTask
from climsim.data.store.splits import NO_SPLIT, assign_splits
from climsim.errors import ClimSimError
from climsim.grid import GRID_AXES, ColumnGrid
from climsim.parallel import run_tasks
from climsim.processes import as_attribute
from climsim.variables import variable

logger = logging.getLogger(__name__)
_ELSEWHERE = ("workers", "dask", "slurm")
"""Settings that say where the work is done, not what comes out."""


@dataclass(frozen=True)
class StorePlan(ABC):
    """Which steps make the store, settled before any is read.

    Attributes:
        config: the configuration.
        grid: the columns and levels.
        times: (record time,) time stamps of the complete steps of the record, ascending.
        selected: (time,) indices into ``times`` of the steps in a split.
        split: (time,) codes of the selected steps.
        memory: (time,) gapless previous steps of the selected steps.
        time_step: physics time step [s].
        emulated_processes: in the emulated term of the record; empty where it is unknown.
    """

    config: PrepareConfig
    grid: ColumnGrid
    times: NDArray[np.int64]
    selected: NDArray[np.intp]
    split: NDArray[np.int8]
    memory: NDArray[np.int8]
    time_step: int
    emulated_processes: frozenset[str]

    @property
    @abstractmethod
    def labels(self) -> list[str]:
        """Name and identity of the files that the record is made of."""

    @abstractmethod
    def tasks(self, folder: Path) -> Iterator[ShardTask]:
        """The shards to write, in order of time."""

    @abstractmethod
    def spread(
        self, write: Callable[[ShardTask], int], tasks: Sequence[ShardTask]
    ) -> Iterator[int]:
        """Write shards where the configuration says.

        Args:
            write: writes one shard.
            tasks: some of `tasks`, in order.

        Returns:
            Number of steps of each shard that is written, as they are done.
        """

    @property
    def coordinates(self) -> StoreCoordinates:
        """Where and when the values of the store will be."""
        return StoreCoordinates(self.grid, self.seconds, self.split, self.memory)

    @property
    def seconds(self) -> NDArray[np.int64]:
        """(time,) time stamps of the selected steps."""
        return self.times[self.selected]

    @cached_property
    def digest(self) -> str:
        """Hash of what determines the store: configuration, identities of the files, grid."""
        settings = asdict(self.config)
        for key in (*_ELSEWHERE, "raw", "outputs", "also", "grid", "store"):
            settings.pop(key)
        if not self.config.of_rows:
            settings.pop("rows")
        settings["time_step"] = self.time_step
        settings |= as_attribute(self.emulated_processes)
        made = json.dumps(settings, sort_keys=True)
        return digest_of(FORMAT, made, self._grid_hash, *self.labels)

    @cached_property
    def steps_hash(self) -> str:
        """Hash of which steps the store holds, and their splits."""
        return hashlib.sha256(self.seconds.tobytes() + self.split.tobytes()).hexdigest()

    @cached_property
    def _grid_hash(self) -> str:
        values = (getattr(self.grid, name).tobytes() for name in GRID_AXES)
        digest = hashlib.sha256(b"".join(values))
        digest.update(np.float64(self.grid.p0).tobytes())
        return digest.hexdigest()

    @cached_property
    def shard_settings(self) -> str:
        """What shapes the bytes of a shard beside its files."""
        layout = self.config.layout(self.grid.n_columns)
        block = min(layout.block_steps, self.selected.size)
        return json.dumps(
            [
                FORMAT,
                self._grid_hash,
                self.config.names,
                block,
                layout.shard_blocks,
                layout.compression,
                self.config.check_ranges,
                self.time_step,
                # A shard whose files were compared with others must be read again.
                *as_attribute(self.emulated_processes).values(),
            ]
        )

    @property
    def bytes(self) -> int:
        """Size of the store before compression."""
        levels = sum(self.grid.n_levels if variable(n).profile else 1 for n in self.config.names)
        return 4 * self.selected.size * self.grid.n_columns * levels

    def shards(self) -> Iterator[tuple[int, slice]]:
        """Number of each shard and its part of the selected steps."""
        length = self.config.layout(self.grid.n_columns).shard_steps
        for number, start in enumerate(range(0, self.selected.size, length)):
            yield number, slice(start, min(start + length, self.selected.size))


@dataclass(frozen=True)
class FilesPlan(StorePlan):
    """A store of pairs of step files.

    Attributes:
        files: the complete steps of the record, ascending.
    """

    files: list[StepFiles]

    @cached_property
    def labels(self) -> list[str]:
        """Name of the input file, and identity of both files, of every step of the record."""
        return step_labels(self.files, self.config.identity)

    def tasks(self, folder: Path) -> Iterator[FilesTask]:
        """The shards to write, in order of time."""
        position = {s.seconds: k for k, s in enumerate(self.files)}
        for number, part in self.shards():
            windows = []
            for row in range(part.start, part.stop):
                now = self.files[self.selected[row]]
                back = 0 if now.expanded or not self.config.memory else int(self.memory[row])
                steps = (now.seconds - k * self.time_step for k in range(back + 1))
                windows.append([position[seconds] for seconds in steps])
            memory = (self.memory[part] * self.config.memory).tolist()
            sources = (self.labels[k] for window in windows for k in window)
            yield FilesTask(
                folder=folder,
                number=number,
                key=digest_of(self.shard_settings, str(memory), *sources),
                windows=tuple(tuple(self.files[k] for k in window) for window in windows),
                memory=tuple(memory),
                names=self.config.names,
                grid=self.grid,
                time_step=self.time_step,
                check_ranges=self.config.check_ranges,
                emulated_processes=self.emulated_processes,
            )

    def spread(
        self, write: Callable[[ShardTask], int], tasks: Sequence[ShardTask]
    ) -> Iterator[int]:
        """Write shards in processes or on a cluster; see `StorePlan.spread`."""
        return run_tasks(write, tasks, self.config.workers, self.config.dask, self.config.slurm)


def digest_of(*texts: str) -> str:
    """Hash of some texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def plan_of_files(config: PrepareConfig) -> FilesPlan:
    """List the raw record of step files and settle which steps go where.

    Raises:
        ClimSimError: if the record, the grid file or the splits do not fit.
    """
    # Before the grid file, which lies in the raw folder: its absence says little.
    steps = list_steps(config.raw, config.outputs, config.also)
    grid = read_grid_info(config.grid_file)
    files = [s for s in steps if s.after is not None]
    if len(files) < len(steps):
        logger.warning(
            "%d input files without an output file are left out", len(steps) - len(files)
        )
    if not files:
        raise ClimSimError(f"{config.raw}: no input file has its output file (mlo): nothing to do")
    seconds = np.array([s.seconds for s in files], dtype=np.int64)
    codes = assign_splits(seconds, config.split)
    selected = np.flatnonzero(codes != NO_SPLIT)
    time_step = settle_time_step(config.raw, files, config.time_step)
    memory = memory_of(seconds, time_step)
    # An expanded input file brings the memory of two steps along, gaps or not.
    memory[[s.expanded for s in files]] = MEMORY
    return FilesPlan(
        config=config,
        grid=grid,
        files=files,
        times=seconds,
        selected=selected,
        split=codes[selected],
        memory=memory[selected],
        time_step=time_step,
        emulated_processes=settle_processes(files),
    )
