"""What is prepared as a store and how it is stored, and which store is verified."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.calendar import parse_period
from climsim.cluster import SlurmConfig
from climsim.constants import TIME_STEP
from climsim.data.raw.features import STORED, memory_needed
from climsim.data.raw.identity import IDENTITIES
from climsim.data.raw.steps import GRID_FILE
from climsim.data.rows.endings import is_row_file
from climsim.data.store.address import StoreAddress, is_url
from climsim.data.store.splits import SplitConfig
from climsim.errors import ClimSimError
from climsim.files import require_apart
from climsim.validation import Checks, require

_BLOCK_SAMPLES = 24 * 384


@dataclass(frozen=True)
class StoreLayout:
    """Sizes and compression of a store.

    Attributes:
        block_steps: time steps in a chunk: what the reader shuffles.
        shard_blocks: chunks in one file: what preparation writes at once.
        compression: ``lz4`` (fast), ``zstd`` (smaller) or ``none``.
    """

    block_steps: int = 24
    shard_blocks: int = 1
    compression: str = "lz4"

    def __post_init__(self) -> None:
        check = Checks(self)
        check.whole("block_steps", "shard_blocks", least=1)
        check.one_of(("lz4", "zstd", "none"), "compression")

    @property
    def shard_steps(self) -> int:
        """Time steps in one file."""
        return self.block_steps * self.shard_blocks


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
        named = self.store.name not in ("", "..")
        ending = "a path that ends with the name of the store, such as runs/store.zarr"
        require("store", str(self.store), named, ending)
        require_apart({"raw": self.raw, "also": self.also}, "no step may come twice: leave it out")
        self._require_no_folder_in_another()
        self.layout(1)

    def _require_no_folder_in_another(self) -> None:
        """Refuse folders of which one is read as a part of another, so that steps come twice."""
        further = [("also", path) for path in self.also]
        others = [("raw", self.raw), *([("outputs", Path(self.outputs))] if self.outputs else [])]
        for (key, path), (other, above) in itertools.permutations([*others, *further], 2):
            inside = Path(os.path.realpath(above)) in Path(os.path.realpath(path)).parents
            # The folder of the outputs is read for these alone: it may lie in `raw`.
            if inside and "also" in (key, other):
                raise ClimSimError(
                    f"{key}={path}: lies inside {other}={above}, which is read with all that is "
                    f"in it: leave {'it out' if key == 'also' else f'{other} out'}"
                )

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
class VerifyConfig:
    """Which store to check.

    Attributes:
        store: prepared store: a folder, or a URL that fsspec reads.
        workers: processes; 0 for one per core.
    """

    store: StoreAddress
    workers: int = 0

    def __post_init__(self) -> None:
        Checks(self).whole("workers")
