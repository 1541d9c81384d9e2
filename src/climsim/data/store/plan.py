"""What preparation makes of a record: its settings, and the plan that follows from the files."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.calendar import parse_period
from climsim.cluster import SlurmConfig
from climsim.constants import TIME_STEP
from climsim.data.raw.features import MEMORY, STORED, memory_needed, memory_of
from climsim.data.raw.identity import IDENTITIES, step_labels
from climsim.data.raw.steps import GRID_FILE, StepFiles, list_steps, read_grid_info
from climsim.data.raw.time_step import settle_time_step
from climsim.data.rows.forms import is_row_file
from climsim.data.store.address import is_url
from climsim.data.store.creation import StoreCoordinates, StoreLayout
from climsim.data.store.opened import FORMAT
from climsim.data.store.shards import FilesTask, ShardTask
from climsim.data.store.splits import NO_SPLIT, SplitConfig, assign_splits
from climsim.errors import ClimSimError
from climsim.grid import GRID_AXES, ColumnGrid
from climsim.parallel import run_tasks
from climsim.validation import Checks, require
from climsim.variables import variable

logger = logging.getLogger(__name__)
_BLOCK_SAMPLES = 24 * 384
_ELSEWHERE = ("workers", "dask", "slurm")
"""Settings that say where the work is done, not what comes out."""


@dataclass(frozen=True)
class RowsConfig:
    """When the rows of a file of samples were taken; by default those of the Kaggle competition.

    Attributes:
        start: date of the first step.
        spacing: time between two steps [s]; the competition kept every seventh step.
    """

    start: str = "0001-02-01"
    spacing: int = 7 * int(TIME_STEP)

    def __post_init__(self) -> None:
        Checks(self, "rows").whole("spacing", least=1)
        parse_period(self.start, "rows.start")

    def times(self, steps: int) -> NDArray[np.int64]:
        """(time,) time stamps of the steps."""
        first, _ = parse_period(self.start, "rows.start")
        return first + np.arange(steps, dtype=np.int64) * self.spacing


@dataclass(frozen=True)
class PrepareConfig:
    """What to prepare and how.

    Attributes:
        raw: folder with the raw step pairs (``YYYY-MM/E3SM-MMF.mli...``), or a file of samples
            (``.csv``, ``.parquet``, ``.npy``, ``.h5``), a row for each column of each step.
        store: the store to make.
        outputs: folder of the output files, or file of the targets, where they are not in `raw`;
            empty otherwise.
        also: further folders with step pairs of the same grid and model, such as collected ones;
            no step may be in two of them.
        grid: grid file; None for ``ClimSim_low-res_grid-info.nc`` in the raw folder, or beside the
            file of samples.
        split: splits by time.
        memory: whether to store the previous-step features of the expanded set.
        block_steps: time steps in a chunk, the unit of shuffling; 0 for about 9000 samples, at
            most 24 steps.
        shard_blocks: chunks in a file, the unit of work.
        compression: ``lz4``, ``zstd`` or ``none``.
        check_ranges: whether to refuse steps with values outside their physical range, and with a
            pressure that is not that of the grid file.
        time_step: physics time step of the model that wrote the data [s], over which tendencies are
            taken; 0 for the one that the files declare, or else that follows from their spacing.
        identity: how a raw file is known again: ``time`` by its name, size and modification time,
            ``content`` by its name and the SHA-256 of its content, which reads each once more.
        workers: processes; 0 for one per core.
        dask: where to work: empty for processes of this machine, ``threads``, ``slurm``, or the
            address or file of a Dask scheduler.
        slurm: the jobs of ``dask=slurm``.
        rows: when the rows of a file of samples were taken.
    """

    raw: Path
    store: Path
    outputs: str | Path = ""
    also: tuple[Path, ...] = ()
    grid: Path | None = None
    split: SplitConfig = field(default_factory=SplitConfig)
    memory: bool = True
    block_steps: int = 0
    shard_blocks: int = 1
    compression: str = "lz4"
    check_ranges: bool = True
    time_step: int = 0
    identity: str = "time"
    workers: int = 0
    dask: str = ""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    rows: RowsConfig = field(default_factory=RowsConfig)

    def __post_init__(self) -> None:
        if is_url(self.store):
            raise ClimSimError(
                f"store={self.store}: stores are prepared in a folder of this machine: give one, "
                "and copy it whole; it can be read by URL from there"
            )
        object.__setattr__(self, "raw", Path(self.raw))
        object.__setattr__(self, "also", tuple(Path(folder) for folder in self.also))
        object.__setattr__(self, "store", Path(self.store))
        holds = isinstance(self.split, SplitConfig)
        require("split", self.split, holds, "the fields of SplitConfig")
        check = Checks(self)
        check.whole("workers", "block_steps", "time_step")
        check.one_of(IDENTITIES, "identity")
        self.layout(1)

    def layout(self, columns: int) -> StoreLayout:
        """Chunks and compression for a number of columns."""
        steps = self.block_steps or min(24, max(1, _BLOCK_SAMPLES // columns))
        return StoreLayout(steps, self.shard_blocks, self.compression)

    @property
    def grid_file(self) -> Path:
        """The grid file, given or the one ``*grid-info.nc`` beside the raw data."""
        if self.grid:
            return Path(self.grid)
        folder = self.raw.parent if self.of_rows else self.raw
        found = list(folder.glob("*grid-info.nc"))
        return found[0] if len(found) == 1 else folder / GRID_FILE

    @property
    def of_rows(self) -> bool:
        """Whether the raw data are a file of samples."""
        return is_row_file(self.raw) and not self.raw.is_dir()

    @property
    def names(self) -> tuple[str, ...]:
        """Variables to store."""
        return tuple(n for n in STORED if self.memory or not memory_needed(n))


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
    """

    config: PrepareConfig
    grid: ColumnGrid
    times: NDArray[np.int64]
    selected: NDArray[np.intp]
    split: NDArray[np.int8]
    memory: NDArray[np.int8]
    time_step: int

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
        made = json.dumps(settings, sort_keys=True)
        return digest_of(FORMAT, made, self._grid_hash, *self.labels)

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
    )
