"""What preparation makes of a record: its settings, and the plan that follows from the files."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.cluster import SlurmConfig
from climsim.data.raw.features import MEMORY, STORED, memory_needed, memory_of
from climsim.data.raw.identity import IDENTITIES, step_labels
from climsim.data.raw.steps import GRID_FILE, StepFiles, list_steps, read_grid_info
from climsim.data.raw.time_step import settle_time_step
from climsim.data.store.address import is_url
from climsim.data.store.creation import StoreCoordinates, StoreLayout
from climsim.data.store.opened import FORMAT
from climsim.data.store.shards import ShardTask
from climsim.data.store.splits import NO_SPLIT, SplitConfig, assign_splits
from climsim.errors import ClimSimError
from climsim.grid import GRID_AXES, ColumnGrid
from climsim.validation import Checks, require
from climsim.variables import variable

logger = logging.getLogger(__name__)
_BLOCK_SAMPLES = 24 * 384
_ELSEWHERE = ("workers", "dask", "slurm")
"""Settings that say where the work is done, not what comes out."""


@dataclass(frozen=True)
class PrepareConfig:
    """What to prepare and how.

    Attributes:
        raw: folder with the raw step pairs (``YYYY-MM/E3SM-MMF.mli...``).
        store: the store to make.
        outputs: folder of the output files where they are not in `raw`; empty otherwise.
        also: further folders with step pairs of the same grid and model, such as collected ones;
            no step may be in two of them.
        grid: grid file; None for ``ClimSim_low-res_grid-info.nc`` in the raw folder.
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
        found = list(self.raw.glob("*grid-info.nc"))
        return found[0] if len(found) == 1 else self.raw / GRID_FILE

    @property
    def names(self) -> tuple[str, ...]:
        """Variables to store."""
        return tuple(n for n in STORED if self.memory or not memory_needed(n))


@dataclass(frozen=True)
class StorePlan:
    """Which steps make the store, settled before any is read.

    Attributes:
        config: the configuration.
        grid: the columns and levels.
        files: the complete steps of the record, ascending.
        selected: (time,) indices into ``files`` of the steps in a split.
        split: (time,) codes of the selected steps.
        memory: (time,) gapless previous steps of the selected steps.
        time_step: physics time step [s].
    """

    config: PrepareConfig
    grid: ColumnGrid
    files: list[StepFiles]
    selected: NDArray[np.intp]
    split: NDArray[np.int8]
    memory: NDArray[np.int8]
    time_step: int

    @property
    def coordinates(self) -> StoreCoordinates:
        """Where and when the values of the store will be."""
        return StoreCoordinates(self.grid, self.seconds, self.split, self.memory)

    @cached_property
    def seconds(self) -> NDArray[np.int64]:
        """(time,) time stamps of the selected steps."""
        return np.array([self.files[i].seconds for i in self.selected], dtype=np.int64)

    @cached_property
    def labels(self) -> list[str]:
        """Name of the input file, and identity of both files, of every step of the record."""
        return step_labels(self.files, self.config.identity)

    @cached_property
    def digest(self) -> str:
        """Hash of what determines the store: configuration, identities of the files, grid."""
        settings = asdict(self.config)
        for key in (*_ELSEWHERE, "raw", "outputs", "also", "grid", "store"):
            settings.pop(key)
        settings["time_step"] = self.time_step
        made = json.dumps(settings, sort_keys=True)
        return _hash(FORMAT, made, self._grid_hash, *self.labels)

    @cached_property
    def _grid_hash(self) -> str:
        values = (getattr(self.grid, name).tobytes() for name in GRID_AXES)
        digest = hashlib.sha256(b"".join(values))
        digest.update(np.float64(self.grid.p0).tobytes())
        return digest.hexdigest()

    @cached_property
    def _shard_settings(self) -> str:
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

    def tasks(self, folder: Path) -> Iterator[ShardTask]:
        """The shards to write, in order of time."""
        length = self.config.layout(self.grid.n_columns).shard_steps
        step = self.time_step
        position = {s.seconds: k for k, s in enumerate(self.files)}
        for number, start in enumerate(range(0, self.selected.size, length)):
            rows = range(start, min(start + length, self.selected.size))
            windows = []
            for row in rows:
                now = self.files[self.selected[row]]
                back = 0 if now.expanded or not self.config.memory else int(self.memory[row])
                windows.append([position[now.seconds - k * step] for k in range(back + 1)])
            memory = (self.memory[rows.start : rows.stop] * self.config.memory).tolist()
            sources = (self.labels[k] for window in windows for k in window)
            yield ShardTask(
                folder=folder,
                number=number,
                key=_hash(self._shard_settings, str(memory), *sources),
                windows=tuple(tuple(self.files[k] for k in window) for window in windows),
                memory=tuple(memory),
                names=self.config.names,
                grid=self.grid,
                time_step=self.time_step,
                check_ranges=self.config.check_ranges,
            )


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def make_plan(config: PrepareConfig) -> StorePlan:
    """List the raw record and settle which steps go where.

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
    return StorePlan(
        config=config,
        grid=grid,
        files=files,
        selected=selected,
        split=codes[selected],
        memory=memory[selected],
        time_step=time_step,
    )
