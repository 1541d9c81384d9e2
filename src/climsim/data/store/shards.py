"""One shard of preparation: read its steps, derive the features, write them to the store."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Fields
from climsim.data.raw.classic import HeaderCache
from climsim.data.raw.declared import Declared
from climsim.data.raw.features import (
    EXPANDED_FILE,
    StepTerms,
    expanded_file_features,
    memory_features,
    memory_needed,
    present_features,
    step_terms,
)
from climsim.data.raw.pressure import order_problem, pressure_problem
from climsim.data.raw.ranges import outside_range
from climsim.data.raw.step_file import read_fields
from climsim.data.raw.steps import RawStep, StepFiles, read_step
from climsim.data.store.chunks import shard_file, write_blocks
from climsim.data.store.seal import ShardSums, content_hash
from climsim.errors import ClimSimError
from climsim.files import write_json
from climsim.grid import ColumnGrid
from climsim.variables import variable


@dataclass(frozen=True, kw_only=True)
class ShardTask(ABC):
    """What one worker does in one go.

    Attributes:
        folder: working folder of the preparation.
        number: number of the shard.
        key: hash of what the shard is made of.
        memory: (step,) previous steps whose features each step has.
        names: variables to store.
        grid: the columns and levels.
        time_step: physics time step [s].
        check_ranges: whether to refuse values outside their physical range.
    """

    folder: Path
    number: int
    key: str
    memory: tuple[int, ...]
    names: tuple[str, ...]
    grid: ColumnGrid = field(repr=False)
    time_step: int
    check_ranges: bool = True

    @abstractmethod
    def steps(self) -> Iterator[Fields]:
        """The stored variables of each step in turn, profiles (level, column)."""

    @abstractmethod
    def source(self, row: int) -> Path:
        """The file that a step of the shard is from, for messages."""

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return len(self.memory)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of levels and columns."""
        return self.grid.n_levels, self.grid.n_columns

    @property
    def done_note(self) -> Path:
        """File that says the shard is written; it holds its `ShardSums`."""
        return self.folder / "done" / f"{self.number:06d}.json"

    @property
    def arrays(self) -> Path:
        """Folder of the arrays that the shard is part of."""
        return self.folder / "store"

    @staticmethod
    def chunk_file(arrays: Path, name: str, number: int) -> Path:
        """File of a variable in a shard, in any folder of arrays."""
        axes = 3 if variable(name).profile else 2
        return arrays / name / shard_file(number, axes)


@dataclass(frozen=True, kw_only=True)
class FilesTask(ShardTask):
    """A shard of steps that are pairs of files.

    Attributes:
        windows: for each step its files, then those of the gapless previous steps.
        emulated_processes: in the emulated term of the record; empty where it is unknown.
    """

    windows: tuple[tuple[StepFiles, ...], ...]
    emulated_processes: frozenset[str] = frozenset()

    def source(self, row: int) -> Path:
        """The input file of a step."""
        return self.windows[row][0].before

    def steps(self) -> Iterator[Fields]:
        """The stored variables of each step in turn, profiles (level, column)."""
        terms: dict[StepFiles, StepTerms] = {}
        headers = HeaderCache()
        for row, window in enumerate(self.windows):
            terms = {files: terms.get(files) or _read(files, self, headers) for files in window}
            now, previous, earlier = [*(terms[files] for files in window), None, None][:3]
            assert now is not None
            fields = present_features(now, self.grid.lat)
            if window[0].expanded and self.memory[row]:
                kept = read_fields(window[0].before, EXPANDED_FILE, headers)
                fields.update(expanded_file_features(kept))
            else:
                fields.update(memory_features(now, previous, earlier))
            yield fields


def write_shard(task: ShardTask) -> int:
    """Read, derive and write the steps of a shard.

    Args:
        task: the shard.

    Returns:
        Number of steps written.

    Raises:
        ClimSimError: if a raw file is damaged or of another grid.
    """
    arrays = _empty_arrays(task)
    for row, fields in enumerate(task.steps()):
        for name, array in arrays.items():
            # A missing memory feature is NaN: a reader that takes it has ignored `memory`.
            array[row] = fields[name].T if name in fields else np.nan
    _check_finite(task, arrays)
    write_json(task.done_note, write_arrays(task.arrays, task.number, task.key, arrays).note())
    return task.n_steps


def _empty_arrays(task: ShardTask) -> dict[str, NDArray[np.float32]]:
    levels, columns = task.shape
    arrays = {}
    for name in task.names:
        shape = (task.n_steps, columns, *((levels,) if variable(name).profile else ()))
        arrays[name] = np.empty(shape, dtype=np.float32)
    return arrays


def _read(files: StepFiles, task: FilesTask, headers: HeaderCache) -> StepTerms:
    path = files.before
    expected = Declared(task.time_step, task.emulated_processes)
    step = read_step(path, headers, files.after, expected)
    if step.shape != task.shape:
        raise ClimSimError(
            f"{path}: (level, column) is {step.shape}, the grid file says {task.shape}: "
            "give the grid file of these data"
        )
    _check_pressure(path, step, task)
    bad = {**outside_range(step.before), **outside_range(step.after)} if task.check_ranges else {}
    if bad:
        counts = ", ".join(f"{name} ({count})" for name, count in bad.items())
        raise ClimSimError(
            f"{path}: implausible values in this step: {counts}: look at it with `climsim data "
            "check`, and replace or remove the step, or prepare with check_ranges=false"
        )
    return step_terms(step, task.time_step)


def _check_pressure(path: Path, step: RawStep, task: ShardTask) -> None:
    """Refuse levels out of order always, and with ``check_ranges`` a pressure not of the grid."""
    pressure = step.before["state_pmid"]
    problem = (
        pressure_problem(pressure, step.before["state_ps"], task.grid)
        if task.check_ranges
        else order_problem(pressure)
    )
    if problem:
        raise ClimSimError(f"{path}: {problem}")


def _check_finite(task: ShardTask, arrays: dict[str, NDArray[np.float32]]) -> None:
    """Refuse values that overflowed or were undefined in a derived feature."""
    memory = np.array(task.memory)
    for name, array in arrays.items():
        rows = np.flatnonzero(memory >= memory_needed(name))
        if not rows.size:
            continue
        finite = np.isfinite(array[rows]).reshape(rows.size, -1).all(axis=1)
        if not finite.all():
            path = task.source(int(rows[np.argmin(finite)]))
            raise ClimSimError(
                f"{path}: {name} derived from this step is not finite: "
                "look at the file with `climsim data check`"
            )


def write_arrays(
    folder: Path, number: int, key: str, arrays: Mapping[str, NDArray[np.float32]]
) -> ShardSums:
    """Write every variable of a shard.

    Args:
        folder: folder of the arrays, which exist.
        number: number of the shard.
        key: hash of what it is made of.
        arrays: (time, column[, level]) by name, in the order of the store.

    Raises:
        ClimSimError: if the disk is full or cannot be written.
    """
    chunks = tuple(write_blocks(folder / name, number, array) for name, array in arrays.items())
    content = content_hash((name, zlib.crc32(array.data)) for name, array in arrays.items())
    return ShardSums(key, content, chunks)
