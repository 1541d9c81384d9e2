"""Shards that were written before: known by what they are made of, taken over by links.

The key of a shard is a hash of its raw files, their sizes and the settings that shape its bytes. A
store keeps the keys of its shards, so one that grows by some months takes over every shard whose
key is still wanted, wherever it now lies in the order of time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from climsim.data.store.opened import open_store
from climsim.data.store.seal import METADATA, ShardSums
from climsim.data.store.shards import ShardTask
from climsim.files import read_json, write_json


@dataclass(frozen=True)
class WrittenShard:
    """A shard on disk.

    Attributes:
        arrays: folder of the arrays that it is part of.
        number: its number there.
        sums: what it is made of and holds.
    """

    arrays: Path
    number: int
    sums: ShardSums


def shards_of_store(store: Path) -> dict[str, WrittenShard]:
    """The shards of a finished store by key; none where there is no store.

    Raises:
        ClimSimError: if the store is damaged.
    """
    if not (store / METADATA).exists():
        return {}
    shards = open_store(store).index.shards()
    return {s.key: WrittenShard(store, number, s) for number, s in enumerate(shards)}


def shards_of_run(folder: Path) -> dict[str, WrittenShard]:
    """The finished shards of an interrupted preparation by key."""
    found = {}
    for note in sorted((folder / "done").glob("*.json")):
        sums = ShardSums.of_note(read_json(note))
        found[sums.key] = WrittenShard(folder / "store", int(note.stem), sums)
    return found


def take_over(tasks: Iterable[ShardTask], known: Mapping[str, WrittenShard]) -> int:
    """Tick off the tasks whose shard exists elsewhere, after linking its files.

    Args:
        tasks: tasks not done yet.
        known: shards by key.

    Returns:
        Number of tasks noted as done.
    """
    taken = 0
    for task in tasks:
        old = known.get(task.key)
        if old is None:
            continue
        with contextlib.suppress(FileNotFoundError):
            for name in task.names:
                _link(
                    task.chunk_file(old.arrays, name, old.number),
                    task.chunk_file(task.arrays, name, task.number),
                )
            write_json(task.done_note, old.sums.note())
            taken += 1
    return taken


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        # Some file systems know no hard links.
        shutil.copyfile(source, target)
