"""A store of a file of samples: which rows are which step, read once from the first to the last.

Each step is a row for each column of the grid, in the order of the grid file, and the steps follow
each other in time, as in the training file of the Kaggle competition. The rows hold no previous
step, so the store has no previous-step features.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from climsim.arrays import Array, Fields
from climsim.constants import TIME_STEP
from climsim.data.raw.features import present_features
from climsim.data.raw.identity import file_label
from climsim.data.raw.steps import read_grid_info
from climsim.data.rows.samples import SampleBlock, Samples, open_samples, sample_terms
from climsim.data.store.config import PrepareConfig
from climsim.data.store.plan import StorePlan, digest_of
from climsim.data.store.shards import ShardTask
from climsim.data.store.splits import NO_SPLIT, assign_splits
from climsim.errors import ClimSimError

logger = logging.getLogger(__name__)
_FIXED = "cam_in_LANDFRAC"
"""A field that does not change in time: it tells whether the rows are whole steps."""
_CHANGED = 1e-3


class StepRows:
    """The steps of a file of samples, one after the other.

    Args:
        samples: the file.
        columns: of the grid.
    """

    def __init__(self, samples: Samples, columns: int) -> None:
        self._samples = samples
        self._steps = enumerate(samples.blocks(columns))
        self._first: Array | None = None

    def take(self, number: int) -> SampleBlock:
        """The rows of a step; those before it are passed over.

        Raises:
            ClimSimError: if the rows are not whole steps in the order of the columns, or end.
        """
        for at, block in self._steps:
            self._check(at, block)
            if at == number:
                return block
        raise ClimSimError(
            f"{self._samples.path}: it ends before step {number + 1}: it has blank lines, or "
            "changed during the preparation"
        )

    def _check(self, step: int, block: SampleBlock) -> None:
        where = self._samples.inputs.slice(_FIXED, self._samples.levels)
        land = block.inputs[:, where.start]
        if self._first is None:
            self._first = land
        moved = np.flatnonzero(np.abs(land - self._first) > _CHANGED)
        if moved.size:
            row = block.first + int(moved[0])
            raise ClimSimError(
                f"{self._samples.path}: row {row + 1}: {_FIXED} is {land[moved[0]]:.4g}, but "
                f"{self._first[moved[0]]:.4g} in the first step: expected the columns of the grid "
                "file in their order, step after step: was the file shuffled or cut? (shuffled "
                "samples can be scored by `climsim kaggle score`)"
            )


@dataclass(frozen=True, kw_only=True)
class RowsTask(ShardTask):
    """A shard of steps that are rows of a file.

    Attributes:
        numbers: of the steps in the file.
        samples: the file.
        rows: its steps, which all shards take in turn.
    """

    numbers: tuple[int, ...]
    samples: Samples = field(repr=False)
    rows: StepRows = field(repr=False)

    def source(self, row: int) -> Path:
        """The file of samples."""
        del row
        return self.samples.path

    def steps(self) -> Iterator[Fields]:
        """The stored variables of each step in turn, profiles (level, column)."""
        for number in self.numbers:
            block = self.rows.take(number)
            terms = sample_terms(self.samples, block, self.grid, self.time_step, self.check_ranges)
            yield present_features(terms, self.grid.lat)


@dataclass(frozen=True)
class RowsPlan(StorePlan):
    """A store of a file of samples.

    Attributes:
        samples: the file.
    """

    samples: Samples

    @cached_property
    def labels(self) -> list[str]:
        """Name and identity of the files."""
        return [file_label(file.path, self.config.identity) for file in self.samples.files]

    def tasks(self, folder: Path) -> Iterator[RowsTask]:
        """The shards to write, in order of time."""
        rows = StepRows(self.samples, self.grid.n_columns)
        for number, part in self.shards():
            numbers = tuple(self.selected[part].tolist())
            yield RowsTask(
                folder=folder,
                number=number,
                key=digest_of(self.shard_settings, str(numbers), *self.labels),
                numbers=numbers,
                memory=(0,) * len(numbers),
                names=self.config.names,
                grid=self.grid,
                time_step=self.time_step,
                check_ranges=self.config.check_ranges,
                samples=self.samples,
                rows=rows,
            )

    def spread(
        self, write: Callable[[ShardTask], int], tasks: Sequence[ShardTask]
    ) -> Iterator[int]:
        """Write shards one after the other; see `StorePlan.spread`."""
        # A CSV file can be read from its beginning only: one process, in which pyarrow has threads.
        return map(write, tasks)


def plan_of_rows(config: PrepareConfig) -> RowsPlan:
    """Count the rows of a file of samples and settle which steps go where.

    Raises:
        ClimSimError: if the file, the grid file or the splits do not fit.
    """
    for key in ("also", "dask"):
        if getattr(config, key):
            raise ClimSimError(
                f"{key}={getattr(config, key)}: {config.raw} is a file of samples, which one "
                "process reads from beginning to end: leave the key out"
            )
    grid = read_grid_info(config.grid_file)
    samples = open_samples(config.raw, grid.n_levels, config.outputs)
    logger.info("%s: counting its rows", config.raw)
    rows = samples.count()
    if not rows or rows % grid.n_columns:
        raise ClimSimError(
            f"{config.raw}: {rows} rows, expected a multiple of the {grid.n_columns} columns of "
            f"{config.grid_file}: give whole steps, and their grid file (grid=)"
        )
    times = config.rows.times(rows // grid.n_columns)
    codes = assign_splits(times, config.split)
    selected = np.flatnonzero(codes != NO_SPLIT)
    return RowsPlan(
        config=replace(config, memory=False),
        grid=grid,
        times=times,
        selected=selected,
        split=codes[selected],
        memory=np.zeros(selected.size, np.int8),
        time_step=config.time_step or int(TIME_STEP),
        emulated_processes=frozenset(),
        samples=samples,
    )
