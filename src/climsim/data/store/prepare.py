"""Preparation: raw step pairs to a store, in parallel, restartable, memory flat.

The work is cut into shards of time steps. Each is read, derived and written by one worker, then
ticked off by a small file; a run that was killed finds the ticks and does the rest. The store gets
its name only when every shard is written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climsim.calendar import to_date
from climsim.cluster import SlurmConfig
from climsim.data.raw.features import MEMORY, STORED, memory_needed, memory_of
from climsim.data.raw.identity import IDENTITIES, step_labels
from climsim.data.raw.steps import GRID_FILE, StepFiles, list_steps, read_grid_info
from climsim.data.raw.time_step import settle_time_step
from climsim.data.store.address import is_url
from climsim.data.store.opened import FORMAT, STORE, Layout, create_arrays, open_store, seal_store
from climsim.data.store.reuse import (
    WrittenShard,
    shards_of_run,
    shards_of_store,
    take_over,
)
from climsim.data.store.seal import METADATA, ShardSums
from climsim.data.store.shards import ShardTask, write_shard
from climsim.data.store.splits import NO_SPLIT, SplitConfig, assign_splits
from climsim.errors import ClimSimError
from climsim.files import atomic_path, provenance, read_json, remove, write_json
from climsim.grid import ColumnGrid
from climsim.locks import only_process
from climsim.parallel import run_tasks
from climsim.products import Kind, claim, noted
from climsim.validation import Checks, require
from climsim.variables import variable

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
_BLOCK_SAMPLES = 24 * 384
_ELSEWHERE = ("workers", "dask", "slurm")
"""Settings that say where the work is done, not what comes out."""
_NOTE = "plan.json"
_WORK_ENTRIES = ("store", "done")
PREPARATION = Kind(
    "the folder of an interrupted preparation",
    lambda path: noted(path / _NOTE, "plan"),
    is_folder=True,
    owns={_NOTE, *_WORK_ENTRIES}.__contains__,
    scaffold=_WORK_ENTRIES,
)


@dataclass(frozen=True)
class PrepareConfig:
    """What to prepare and how.

    Attributes:
        raw: folder with the raw step pairs (``YYYY-MM/E3SM-MMF.mli...``).
        store: the store to make.
        outputs: folder of the output files where they are not in `raw`; empty otherwise.
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
        object.__setattr__(self, "store", Path(self.store))
        holds = isinstance(self.split, SplitConfig)
        require("split", self.split, holds, "the fields of SplitConfig")
        check = Checks(self)
        check.whole("workers", "block_steps", "time_step")
        check.one_of(IDENTITIES, "identity")
        self.layout(1)

    def layout(self, columns: int) -> Layout:
        """Chunks and compression for a number of columns."""
        steps = self.block_steps or min(24, max(1, _BLOCK_SAMPLES // columns))
        return Layout(steps, self.shard_blocks, self.compression)

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
class Plan:
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
        for key in (*_ELSEWHERE, "raw", "outputs", "grid", "store"):
            settings.pop(key)
        settings["time_step"] = self.time_step
        made = json.dumps(settings, sort_keys=True)
        return _hash(FORMAT, made, self._grid_hash, *self.labels)

    @cached_property
    def _grid_hash(self) -> str:
        names = ("lat", "lon", "area", "hyam", "hybm", "hyai", "hybi")
        digest = hashlib.sha256(b"".join(getattr(self.grid, n).tobytes() for n in names))
        digest.update(np.float64(self.grid.p0).tobytes())
        return digest.hexdigest()

    @cached_property
    def _shard_settings(self) -> str:
        """What shapes the bytes of a shard beside its files."""
        layout = self.config.layout(self.grid.n_columns)
        block = min(layout.block_steps, self.selected.size)
        return json.dumps(
            [FORMAT, self._grid_hash, self.config.names, block, layout.shard_blocks,
             layout.compression, self.config.check_ranges, self.time_step]
        )  # fmt: skip

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
                folder, number, _hash(self._shard_settings, str(memory), *sources),
                tuple(tuple(self.files[k] for k in window) for window in windows),
                tuple(memory), self.config.names, self.grid, self.time_step,
                self.config.check_ranges,
            )  # fmt: skip


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def make_plan(config: PrepareConfig) -> Plan:
    """List the raw record and settle which steps go where.

    Raises:
        ClimSimError: if the record, the grid file or the splits do not fit.
    """
    # Before the grid file, which lies in the raw folder: its absence says little.
    steps = list_steps(config.raw, config.outputs)
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
    return Plan(config, grid, files, selected, codes[selected], memory[selected], time_step)


def prepare(config: PrepareConfig, progress: Progress | None = None) -> Path:
    """Make a store from raw step pairs.

    A store that was already made from the same files with the same settings is left alone; a run
    that was interrupted continues where it stopped.

    Args:
        config: what and how.
        progress: called with the steps done and their total.

    Returns:
        Path of the store.

    Raises:
        ClimSimError: if a raw file is missing, damaged or inconsistent, or the disk is too small.
    """
    folder = config.store.with_name(config.store.name + ".preparing")
    _claim(config, folder)
    lock = config.store.with_name(f".{config.store.name}.lock")
    with only_process(lock, f"{config.store}: another process prepares this store"):
        return _prepare(config, folder, progress)


def _prepare(config: PrepareConfig, folder: Path, progress: Progress | None) -> Path:
    """Prepare a store that no other process prepares."""
    plan = make_plan(config)
    if _finished(plan):
        logger.info("%s is up to date", config.store)
        return config.store
    tasks = list(plan.tasks(folder))
    written = shards_of_store(config.store)
    _begin(plan, folder, tasks, written)
    _take_over(config.store, tasks, written)
    todo = [t for t in tasks if not t.tick.is_file()]
    done = plan.selected.size - sum(len(t.windows) for t in todo)
    total = int(plan.selected.size)
    if progress is not None:
        progress(done, total)
    for steps in run_tasks(write_shard, todo, config.workers, config.dask, config.slurm):
        done += steps
        if progress is not None:
            progress(done, total)
    _finish(plan, folder, tasks)
    return config.store


def _claim(config: PrepareConfig, folder: Path) -> None:
    """Claim the store, and the folders beside it that are removed on the way."""
    inputs = {"raw": config.raw, "grid": config.grid}
    claim(config.store, STORE, inputs, key="store")
    for beside in (folder, _earlier(config.store)):
        claim(beside, PREPARATION, inputs, key="store")


def _finished(plan: Plan) -> bool:
    """Whether the store is there already.

    Raises:
        ClimSimError: if a store is there, but damaged.
    """
    path = plan.config.store
    if not (path / METADATA).exists():
        return False
    return bool(open_store(path).group.attrs.get("plan") == plan.digest)


def _begin(
    plan: Plan, folder: Path, tasks: list[ShardTask], written: dict[str, WrittenShard]
) -> None:
    """Create the empty store, unless an interrupted run of the same plan left one."""
    note = folder / _NOTE
    if note.is_file() and read_json(note).get("plan") == plan.digest:
        logger.info("continuing the interrupted preparation of %s", plan.config.store)
        return
    if written:
        _check_growth(plan)
    # What a run of another plan had finished may serve this one.
    if any((folder / "done").glob("*.json")):
        remove(_earlier(plan.config.store))
        folder.rename(_earlier(plan.config.store))
    remove(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_disk(plan, folder, sum(task.key not in written for task in tasks) / len(tasks))
    create_arrays(
        folder / "store",
        plan.grid,
        plan.seconds,
        plan.split,
        plan.memory,
        plan.config.layout(plan.grid.n_columns),
        plan.config.names,
        plan.time_step,
    )
    write_json(note, {"plan": plan.digest})


def _earlier(store: Path) -> Path:
    """Folder of an interrupted run of another plan, while its shards are taken over."""
    return store.with_name(store.name + ".earlier")


def _take_over(store: Path, tasks: list[ShardTask], written: dict[str, WrittenShard]) -> None:
    """Link the shards that the present store or an earlier run already has."""
    known = {**shards_of_run(_earlier(store)), **written}
    taken = take_over([t for t in tasks if not t.tick.is_file()], known)
    if taken:
        logger.info("%s: %d of %d shards are there already", store, taken, len(tasks))
    remove(_earlier(store))


def _check_growth(plan: Plan) -> None:
    """Refuse to drop steps of the present store; warn of splits that move.

    Raises:
        ClimSimError: if raw files of the present store are gone.
    """
    path = plan.config.store
    store = open_store(path)
    gone = store.times[~np.isin(store.times, [s.seconds for s in plan.files])]
    if gone.size:
        raise ClimSimError(
            f"{path}: it holds {gone.size} steps whose files are no longer in {plan.config.raw} "
            f"(the first {to_date(int(gone[0]))}): put them back, give another store=, or delete "
            "this one"
        )
    if plan.config.split.by_share and store.n_steps < plan.seconds.size:
        logger.warning(
            "%s: its splits are shares of the record and move as it grows: give periods "
            "(split.train=0001-02/0008-01) for splits that stay",
            path,
        )


def _check_disk(plan: Plan, folder: Path, share: float) -> None:
    """Refuse a disk without room for the share of the store that is still to be written."""
    missing = plan.bytes * share
    free = shutil.disk_usage(folder.parent).free
    # Weather compresses by a quarter at least; less room than that cannot suffice.
    if free < 0.75 * missing:
        raise ClimSimError(
            f"{plan.config.store}: the disk has {free / 2**30:.1f} GiB free, the store needs about "
            f"{missing / 2**30:.1f} GiB: free some space or choose larger strides"
        )


def _finish(plan: Plan, folder: Path, tasks: list[ShardTask]) -> None:
    """Seal the store: index of shards, fingerprint, provenance, name."""
    shards = [ShardSums.of_note(read_json(task.tick)) for task in tasks]
    settings = asdict(plan.config)
    inputs: dict[str, Any] = {"raw": plan.digest}
    seal_store(folder / "store", shards, {**provenance(settings, inputs), "plan": plan.digest})
    with atomic_path(plan.config.store) as temporary:
        (folder / "store").rename(temporary)
    remove(folder)
