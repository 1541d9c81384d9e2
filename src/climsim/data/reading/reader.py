"""The block-shuffled reader: batches of physical feature vectors from a store.

An epoch shuffles the blocks of time steps, gathers several of them in a pool in memory and shuffles
the samples of the pool. The order depends on seed, epoch, rank and pool size alone, so an epoch can
be continued in its middle and repeated exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from climsim.data.raw.features import require_features
from climsim.data.reading.loader import Batch
from climsim.data.store.opened import Store, open_store
from climsim.errors import ClimSimError
from climsim.interfaces import encoding
from climsim.validation import between, whole

Matrices = tuple[NDArray[np.float32], NDArray[np.float32]]


def check_inputs(store: Store, inputs: str, split: str = "train") -> None:
    """Refuse a store whose split has no step for a kind of inputs.

    Args:
        store: the store.
        inputs: name of an encoding, such as ``standard``, ``multirep`` or ``expanded``.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        ClimSimError: if the store lacks the previous-step features, or no step of the split has
            them or exists at all.
    """
    chosen = encoding(inputs)
    require_features(str(store.path), store.names, inputs)
    if not store.steps(split).size:
        raise ClimSimError(
            f"{store.path}: no step of split {split}, so none serves {inputs} inputs: prepare it "
            f"again with another split.{split}"
        )
    memory = chosen.interface.steps_of_memory
    if not store.steps(split, memory).size:
        raise ClimSimError(
            f"{store.path}: no step of split {split} serves {inputs} inputs: none has {memory} "
            "gapless previous steps, as in raw data that were downloaded with a stride"
        )


@dataclass(frozen=True)
class Pool:
    """Blocks that are in memory together.

    Attributes:
        number: position in the order of the epoch.
        blocks: numbers of the blocks.
        samples: samples of the split in them.
        batches: batches to take from them.
    """

    number: int
    blocks: tuple[int, ...]
    samples: int
    batches: int


class BlockReader(IterableDataset[Batch]):
    """Yields (inputs, targets) batches of one split.

    Inputs are (sample, feature) float32 in the layout of the encoding's variables (`STANDARD` also
    for multirep), targets (sample, feature) in that of its targets; physical units, profiles with
    level 0 at the model top. Each sample of the split comes once per epoch; with ``drop_last`` the
    remainder of each pool is left out, another one each epoch.

    Args:
        store: the store or its path.
        inputs: ``standard``, ``multirep`` or ``expanded``.
        split: ``train``, ``validation`` or ``test``.
        batch_size: samples in a batch.
        seed: seed of the order.
        shuffle: whether to shuffle; else blocks and samples come in the order of time and column.
        drop_last: whether every batch must be full, and every rank gets equally many.
        pool_blocks: blocks in memory together: the more, the better mixed.
        rank: this process among those that train together.
        world_size: their number.
        threads: threads that read and decompress, one pool ahead of the batches; 0 reads a pool
            when its first batch is asked for.

    Raises:
        ClimSimError: if an argument is out of range or the split has no step.
    """

    def __init__(
        self,
        store: Store | str | Path,
        inputs: str = "standard",
        split: str = "train",
        batch_size: int = 512,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        pool_blocks: int = 8,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
    ) -> None:
        super().__init__()
        opened = store if isinstance(store, Store) else open_store(store)
        for key, value in (("batch_size", batch_size), ("pool_blocks", pool_blocks)):
            whole(key, value, least=1)
        between("rank", rank, 0, world_size - 1)
        chosen = encoding(inputs)
        self.set, self.targets = chosen.variables, chosen.targets
        self.batch_size, self.seed = batch_size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.rank, self.world_size = rank, world_size
        self.epoch, self.start = 0, 0
        self.threads = threads
        self.levels, self.columns = opened.n_levels, opened.n_columns
        self.block_steps = opened.block_steps
        check_inputs(opened, inputs, split)
        self.steps = opened.steps(split, chosen.interface.steps_of_memory)
        self.blocks = np.unique(self.steps // self.block_steps)
        if self.blocks.size < world_size:
            raise ClimSimError(
                f"{opened.path}: split {split} has {self.blocks.size} blocks, fewer than the "
                f"{world_size} processes: prepare with smaller block_steps"
            )
        self.pool_blocks = pool_blocks if shuffle else 1
        self._files = {n: opened.blocks(n) for n in (*self.set.names, *self.targets.names)}

    @property
    def n_samples(self) -> int:
        """Samples of the split, over all ranks."""
        return int(self.steps.size) * self.columns

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch

    def plan(self) -> list[Pool]:
        """The pools of this rank in this epoch, in order."""
        order = self.blocks
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(order)
        per_rank = [self._pools(order[r :: self.world_size]) for r in range(self.world_size)]
        if not self.drop_last:
            return per_rank[self.rank]
        # Processes that train together wait for each other: all stop after the shortest.
        limit = min(sum(p.batches for p in pools) for pools in per_rank)
        if not limit:
            largest = min(max((p.samples for p in pools), default=0) for pools in per_rank)
            raise ClimSimError(
                f"data.batch_size={self.batch_size}: more than the {largest} samples that a "
                f"process holds at a time (data.pool_blocks={self.pool_blocks}): give at most "
                f"{largest}"
            )
        result = []
        for pool in per_rank[self.rank]:
            batches = min(pool.batches, limit)
            limit -= batches
            result.append(Pool(pool.number, pool.blocks, pool.samples, batches))
        return result

    def _pools(self, blocks: NDArray[np.intp]) -> list[Pool]:
        result = []
        # As equal pools as possible: a small last one would be badly mixed.
        count = -(-blocks.size // self.pool_blocks)
        for number, part in enumerate(np.array_split(blocks, count)):
            samples = sum(self._inside(int(b)).size for b in part) * self.columns
            full, rest = divmod(samples, self.batch_size)
            batches = full if self.drop_last or not rest else full + 1
            result.append(Pool(number, tuple(int(b) for b in part), samples, batches))
        return result

    def _inside(self, block: int) -> NDArray[np.intp]:
        """Steps of the split in a block, counted from its beginning."""
        first = block * self.block_steps
        low, high = np.searchsorted(self.steps, (first, first + self.block_steps))
        return self.steps[low:high] - first

    def __len__(self) -> int:
        return sum(pool.batches for pool in self.plan())

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        pools, skip = _resume(self.plan(), workers, self.start)[worker]
        while pools and skip >= pools[0].batches:
            skip -= pools[0].batches
            pools = pools[1:]
        for pool, samples in self._loaded(pools):
            yield from itertools.islice(self._batches(pool, samples), skip, pool.batches)
            skip = 0

    def _loaded(self, pools: list[Pool]) -> Iterator[tuple[Pool, Matrices]]:
        """The samples of each pool, in memory that later pools use again.

        Threads load the next pool meanwhile.
        """
        largest = max((pool.samples for pool in pools), default=0)
        if not self.threads:
            memory = self._memory(largest)
            for pool in pools:
                samples, copies = self._copies(pool, memory)
                for copy in copies:
                    copy()
                yield pool, samples
            return
        # Two sets of matrices take turns: one is drawn from, the other is filled.
        memories = [self._memory(largest) for _ in pools[:2]]
        with ThreadPoolExecutor(self.threads) as executor:
            ahead: list[tuple[Matrices, list[Future[None]]]] = []
            try:
                for index, pool in enumerate(pools):
                    for number in range(index + len(ahead), min(index + 2, len(pools))):
                        samples, copies = self._copies(pools[number], memories[number % 2])
                        ahead.append((samples, [executor.submit(copy) for copy in copies]))
                    samples, futures = ahead.pop(0)
                    for future in futures:
                        future.result()
                    yield pool, samples
            finally:
                executor.shutdown(wait=True, cancel_futures=True)

    def _memory(self, samples: int) -> Matrices:
        """Uninitialized (sample, feature) matrices for inputs and targets."""
        sizes = (variables.size(self.levels) for variables in (self.set, self.targets))
        inputs, targets = (np.empty((samples, size), dtype=np.float32) for size in sizes)
        return inputs, targets

    def _batches(self, pool: Pool, samples: Matrices) -> Iterator[Batch]:
        order = self.order(pool)
        for index in range(pool.batches):
            rows = order[index * self.batch_size : (index + 1) * self.batch_size]
            # One thread: torch's own would wait, spinning, for cores that load the next pool.
            inputs, targets = (np.take(matrix, rows, axis=0) for matrix in samples)
            yield torch.from_numpy(inputs), torch.from_numpy(targets)

    def order(self, pool: Pool) -> NDArray[np.intp]:
        """The order in which the samples of a pool come in this epoch."""
        if not self.shuffle:
            return np.arange(pool.samples)
        rng = np.random.default_rng((self.seed, self.epoch, self.rank, pool.number))
        return rng.permutation(pool.samples)

    def by_block(self) -> Iterator[tuple[int, Matrices]]:
        """Number and samples of every block of the split, whatever the epoch.

        The matrices are filled again for the next block.
        """
        pools = [
            Pool(number, (int(block),), self._inside(int(block)).size * self.columns, 0)
            for number, block in enumerate(self.blocks)
        ]
        for pool, samples in self._loaded(pools):
            yield pool.blocks[0], samples

    def _copies(self, pool: Pool, memory: Matrices) -> tuple[Matrices, list[Callable[[], None]]]:
        """The matrices of a pool, in the memory given, and the copies that fill them."""
        inputs, targets = (whole[: pool.samples] for whole in memory)
        copies: list[Callable[[], None]] = []
        for variables, matrix in ((self.set, inputs), (self.targets, targets)):
            places = variables.slices(self.levels)
            copies += [
                partial(self._fill, name, pool.blocks, matrix[:, places[name]])
                for name in variables.names
            ]
        return (inputs, targets), copies

    def _fill(self, name: str, blocks: tuple[int, ...], target: NDArray[np.float32]) -> None:
        """Copy a variable of the blocks into its columns of the matrix."""
        row, files = 0, self._files[name]
        memory = files.memory()
        for block in blocks:
            inside = self._inside(block)
            values = files.read(block, memory)
            if inside.size < values.shape[0]:
                values = values[inside]
            end = row + inside.size * self.columns
            target[row:end] = values.reshape(end - row, -1)
            row = end


def _resume(pools: list[Pool], workers: int, start: int) -> list[tuple[list[Pool], int]]:
    """What each worker still has to do when a number of batches was delivered.

    A data loader takes one batch of each worker in turn, passing over those that have finished.

    Args:
        pools: pools of this rank; worker w has every ``workers``-th from w.
        workers: number of workers.
        start: batches delivered before.

    Returns:
        For each worker its pools and the batches to skip, so that the turn continues where it was.
    """
    shares = [pools[w::workers] for w in range(workers)]
    left = [sum(p.batches for p in share) for share in shares]
    taken = [0] * workers
    turn, remaining = 0, min(start, sum(left))
    while remaining:
        # Whole rounds at once, while no worker runs dry.
        active = [w for w in range(workers) if taken[w] < left[w]]
        rounds = min(left[w] - taken[w] for w in active)
        if turn == 0 and remaining >= len(active) * rounds:
            for w in active:
                taken[w] += rounds
            remaining -= len(active) * rounds
            continue
        if taken[turn] < left[turn]:
            taken[turn] += 1
            remaining -= 1
        turn = (turn + 1) % workers
    order = [(turn + w) % workers for w in range(workers)]
    return [(shares[w], taken[w]) for w in order]
