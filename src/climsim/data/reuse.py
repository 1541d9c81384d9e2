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
from typing import Any

import numpy as np
import zarr

from climsim.data.shards import ShardTask
from climsim.files import read_json, write_json

INDEX = "shards"
"""Group in a store with key and content hash of each shard, (shard, byte), in order."""

_HASHES = ("key", "content")


@dataclass(frozen=True)
class WrittenShard:
    """A shard on disk.

    Attributes:
        arrays: folder of the arrays that it is part of.
        number: its number there.
        content: hash of its values.
    """

    arrays: Path
    number: int
    content: str


def shards_of_store(store: Path) -> dict[str, WrittenShard]:
    """The shards of a finished store by key; none where there is no store with an index."""
    try:
        group: Any = zarr.open_group(store / INDEX, mode="r")
        keys, contents = (np.asarray(group[name][...]) for name in _HASHES)
    except (OSError, ValueError, KeyError, RuntimeError):
        return {}
    return {
        key.tobytes().hex(): WrittenShard(store, number, content.tobytes().hex())
        for number, (key, content) in enumerate(zip(keys, contents, strict=True))
    }


def shards_of_run(folder: Path) -> dict[str, WrittenShard]:
    """The finished shards of an interrupted preparation by key."""
    found = {}
    for tick in sorted((folder / "done").glob("*.json")):
        row = read_json(tick)
        found[row["key"]] = WrittenShard(folder / "store", int(tick.stem), row["content"])
    return found


def write_index(store: Path, tasks: Iterable[ShardTask]) -> list[str]:
    """Write the index of a store whose shards are all ticked off.

    Returns:
        The content hashes, in order.
    """
    rows = [read_json(task.tick) for task in tasks]
    group = zarr.create_group(store / INDEX, overwrite=True)
    for name in _HASHES:
        data = np.array([list(bytes.fromhex(row[name])) for row in rows], dtype=np.uint8)
        group.create_array(name, data=data, dimension_names=("shard", "byte"))
    return [row["content"] for row in rows]


def take_over(tasks: Iterable[ShardTask], known: Mapping[str, WrittenShard]) -> int:
    """Tick off the tasks whose shard exists elsewhere, after linking its files.

    Args:
        tasks: tasks not done yet.
        known: shards by key.

    Returns:
        Number of tasks ticked off.
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
            write_json(task.tick, {"key": task.key, "content": old.content})
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
