"""Preparation: raw step pairs to a store, in parallel, restartable, memory flat.

The work is cut into shards of time steps. Each is read, derived and written by one worker, then
noted in a small file; a run that was killed finds these notes and does the rest. The store gets
its name only when every shard is written.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.calendar import to_date
from climsim.data.store.config import PrepareConfig
from climsim.data.store.creation import create_arrays, seal_store
from climsim.data.store.opened import STORE, Store, open_store
from climsim.data.store.plan import StorePlan, plan_of_files
from climsim.data.store.reuse import (
    WrittenShard,
    shards_of_run,
    shards_of_store,
    take_over,
)
from climsim.data.store.rows import plan_of_rows
from climsim.data.store.seal import METADATA, ShardSums
from climsim.data.store.shards import ShardTask, write_shard
from climsim.errors import ClimSimError
from climsim.files import end_of_links, provenance, read_json, remove, write_json
from climsim.locks import only_process
from climsim.products import Kind, claim, noted
from climsim.stage import Progress

logger = logging.getLogger(__name__)
_NOTE = "plan.json"
_ARRAYS = "store"
_WORK_ENTRIES = (_ARRAYS, "done")
PREPARATION = Kind(
    "the folder of an interrupted preparation",
    lambda path: noted(path / _NOTE, "plan"),
    is_folder=True,
    owns={_NOTE, *_WORK_ENTRIES}.__contains__,
    scaffold=_WORK_ENTRIES,
)


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
    # What is made on the way lies on the disk of the store, and a link to it stays.
    config = replace(config, store=end_of_links(config.store))
    folder = config.store.with_name(config.store.name + ".preparing")
    _claim(config, folder)
    lock = config.store.with_name(f".{config.store.name}.lock")
    with only_process(lock, f"{config.store}: another process prepares this store"):
        return _prepare(config, folder, progress)


def make_plan(config: PrepareConfig) -> StorePlan:
    """Settle which steps of the raw data go where.

    Raises:
        ClimSimError: if the record, the grid file or the splits do not fit.
    """
    return plan_of_rows(config) if config.of_rows else plan_of_files(config)


def _prepare(config: PrepareConfig, folder: Path, progress: Progress | None) -> Path:
    """Prepare a store that no other process prepares."""
    plan = make_plan(config)
    if _finished(plan):
        logger.info("%s is up to date", config.store)
        _tidy(config.store, folder)
        return config.store
    tasks = list(plan.tasks(folder))
    written = shards_of_store(config.store)
    _begin(plan, folder, tasks, written)
    _take_over(config.store, tasks, written)
    todo = [t for t in tasks if not t.done_note.is_file()]
    done = plan.selected.size - sum(t.n_steps for t in todo)
    total = int(plan.selected.size)
    if progress is not None:
        progress(done, total)
    for steps in plan.spread(write_shard, todo):
        done += steps
        if progress is not None:
            progress(done, total)
    _finish(plan, folder, tasks)
    return config.store


def _claim(config: PrepareConfig, folder: Path) -> None:
    """Claim the store, and the folders beside it that are removed on the way."""
    inputs = {"raw": config.raw, "grid": config.grid}
    inputs |= {f"also[{number}]": folder for number, folder in enumerate(config.also)}
    claim(config.store, STORE, inputs, key="store")
    for beside in (folder, _earlier(config.store)):
        claim(beside, PREPARATION, inputs, key="store")


def _finished(plan: StorePlan) -> bool:
    """Whether the store is there already.

    Raises:
        ClimSimError: if a store is there, but damaged.
    """
    path = plan.config.store
    if not (path / METADATA).exists():
        return False
    store = open_store(path)
    # The same settings may have split the record otherwise in another version.
    same = np.array_equal(store.times, plan.seconds) and np.array_equal(store.split, plan.split)
    return same and store.group.attrs.get("plan") == plan.digest


def _begin(
    plan: StorePlan, folder: Path, tasks: list[ShardTask], written: dict[str, WrittenShard]
) -> None:
    """Create the empty store, unless an interrupted run of the same plan left one."""
    note, arrays = folder / _NOTE, folder / _ARRAYS
    wanted = {"plan": plan.digest, "steps": plan.steps_hash}
    begun = note.is_file() and (arrays / METADATA).is_file()
    if begun and read_json(note) == wanted:
        logger.info("continuing the interrupted preparation of %s", plan.config.store)
        return
    if written:
        _check_growth(plan)
    # What a run of another plan had finished may serve this one.
    if _holds_shards(folder):
        remove(_earlier(plan.config.store))
        folder.rename(_earlier(plan.config.store))
    remove(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_disk(plan, folder, sum(task.key not in written for task in tasks) / len(tasks))
    create_arrays(
        arrays,
        plan.coordinates,
        plan.config.layout(plan.grid.n_columns),
        plan.config.names,
        plan.time_step,
        plan.emulated_processes,
    )
    write_json(note, wanted)


def _holds_shards(folder: Path) -> bool:
    """Whether the folder of an interrupted run has finished shards."""
    written = (folder / _ARRAYS / METADATA).is_file()
    return written and any((folder / "done").glob("*.json"))


def _earlier(store: Path) -> Path:
    """Folder of an interrupted run of another plan, while its shards are taken over."""
    return store.with_name(store.name + ".earlier")


def _take_over(store: Path, tasks: list[ShardTask], written: dict[str, WrittenShard]) -> None:
    """Link the shards that the present store or an earlier run already has."""
    known = {**shards_of_run(_earlier(store)), **written}
    taken = take_over([t for t in tasks if not t.done_note.is_file()], known)
    if taken:
        logger.info("%s: %d of %d shards are there already", store, taken, len(tasks))
    remove(_earlier(store))


def lost_steps(store: Store, plan: StorePlan) -> NDArray[np.int64]:
    """Times of the steps that a store holds and the raw data of a plan no longer do."""
    return store.times[~np.isin(store.times, plan.times)]


def _check_growth(plan: StorePlan) -> None:
    """Refuse to drop steps of the present store; warn of splits that move.

    Raises:
        ClimSimError: if raw files of the present store are gone.
    """
    path = plan.config.store
    store = open_store(path)
    gone = lost_steps(store, plan)
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


def _check_disk(plan: StorePlan, folder: Path, share: float) -> None:
    """Refuse a disk without room for the share of the store that is still to be written."""
    missing = plan.bytes * share
    free = shutil.disk_usage(folder.parent).free
    # Weather compresses by a quarter at least; less room than that cannot suffice.
    if free < 0.75 * missing:
        raise ClimSimError(
            f"{plan.config.store}: the disk has {free / 2**30:.1f} GiB free, the store needs about "
            f"{missing / 2**30:.1f} GiB: free some space or choose larger strides"
        )


def _finish(plan: StorePlan, folder: Path, tasks: list[ShardTask]) -> None:
    """Seal the store: index of shards, fingerprint, provenance, name."""
    shards = [ShardSums.of_note(read_json(task.done_note)) for task in tasks]
    settings = asdict(plan.config)
    inputs = {"raw": plan.digest}
    seal_store(folder / _ARRAYS, shards, {**provenance(settings, inputs), "plan": plan.digest})
    _name(plan.config.store, folder)


def _name(store: Path, folder: Path) -> None:
    """Give a sealed store its name, in the place of an earlier one.

    It goes there in one step: a run killed before finds it in the folder of the preparation, and
    one killed behind finds it finished. A name in between would be lost with the process.
    """
    earlier = _earlier(store)
    if store.exists():
        remove(earlier)
        earlier.mkdir()
        store.rename(earlier / _ARRAYS)
    (folder / _ARRAYS).rename(store)
    _tidy(store, folder)


def _tidy(store: Path, folder: Path) -> None:
    """Remove what is left of a preparation whose store has its name."""
    if not (folder / _ARRAYS).exists():
        remove(folder)
    # What another plan had finished may serve its next run.
    if not _holds_shards(_earlier(store)):
        remove(_earlier(store))
