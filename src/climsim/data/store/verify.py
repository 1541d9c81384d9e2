"""The full check of a prepared store: every chunk is read and compared with what was prepared."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from climsim.data.store.address import StoreAddress
from climsim.data.store.config import VerifyConfig
from climsim.data.store.opened import Store, open_store
from climsim.data.store.seal import content_hash
from climsim.errors import ClimSimError
from climsim.parallel import run_tasks
from climsim.stage import Progress

_LISTED, _MOST_PARTS = 20, 256


@dataclass(frozen=True)
class VerifyReport:
    """What was found in a store.

    Attributes:
        store: its address.
        steps: its time steps.
        shards: number of its shards.
        problems: one line for each damaged chunk or shard.
    """

    store: StoreAddress
    steps: int
    shards: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def __str__(self) -> str:
        size = f"{self.steps} steps in {self.shards} shards"
        if self.ok:
            return f"{self.store}: {size}: every value as it was prepared"
        more = len(self.problems) - _LISTED
        rest = [f"and {more} more"] if more > 0 else []
        lines = [f"{self.store}: {size}: problems found: {len(self.problems)}"]
        return "\n  ".join([*lines, *self.problems[:_LISTED], *rest])


@dataclass(frozen=True)
class _Part:
    store: StoreAddress
    shards: tuple[int, ...]


def verify(config: VerifyConfig, progress: Progress | None = None) -> VerifyReport:
    """Read every value of a store and compare it with the checksums of its preparation.

    Opening a store compares metadata, coordinates and index, and reading compares each chunk that
    is read; this reads all of them, and compares the values after decompression too.

    Args:
        config: which store.
        progress: called with the shards done and their total.

    Returns:
        The problems found; ``ok`` says whether there is none.

    Raises:
        ClimSimError: if the store cannot be opened.
    """
    store = open_store(config.store)
    count = len(store.index.contents)
    numbers = np.array_split(np.arange(count), min(count, _MOST_PARTS))
    parts = [_Part(store.path, tuple(map(int, part))) for part in numbers]
    problems: dict[int, list[str]] = {}
    for found in run_tasks(_check_part, parts, config.workers):
        problems |= found
        if progress is not None:
            progress(len(problems), count)
    lines = tuple(line for shard in sorted(problems) for line in problems[shard])
    return VerifyReport(store.path, store.n_steps, count, lines)


def _check_part(part: _Part) -> dict[int, list[str]]:
    """Problems by shard; an empty list where there is none."""
    store = open_store(part.store)
    return {shard: _check_shard(store, shard) for shard in part.shards}


def _check_shard(store: Store, shard: int) -> list[str]:
    sums, problems = [], []
    for name in store.names:
        try:
            sums.append((name, _values_sum(store, name, shard)))
        except ClimSimError as error:
            problems.append(str(error))
    if not problems and content_hash(sums) != store.index.contents[shard].tobytes().hex():
        problems.append(f"{store.path}: the values of shard {shard} are not those prepared")
    return problems


def _values_sum(store: Store, name: str, shard: int) -> int:
    """CRC-32 of the values of a variable in a shard."""
    files, result = store.blocks(name), 0
    memory, length = files.memory(), files.layout.shard_blocks
    for block in range(shard * length, min((shard + 1) * length, files.layout.blocks)):
        result = zlib.crc32(files.read(block, memory).data, result)
    return result
