"""Batches from a store whose split lies whole in the memory of a device.

They are those of the block-shuffled reader, sample by sample and in its order; no batch passes
through the memory of the host.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from climsim.data.reading.loader import Batch
from climsim.data.reading.reader import BlockReader, Pool

_BYTES = 4


def split_bytes(reader: BlockReader) -> int:
    """Memory that the inputs and targets of a reader's split take up [bytes].

    Args:
        reader: of the split.
    """
    features = reader.set.size(reader.levels) + reader.targets.size(reader.levels)
    return _BYTES * features * reader.n_samples


class ResidentReader:
    """Draws the batches of a reader from a copy of its split on a device.

    Args:
        reader: of the split; its blocks are read once, when the first batch is asked for.
        device: where the copy lies.

    Attributes:
        epoch: whose batches come next.
        start: the batch that comes first.
    """

    def __init__(self, reader: BlockReader, device: torch.device | str) -> None:
        self._reader, self._device = reader, device
        self.epoch, self.start = 0, 0
        self._rows: dict[int, NDArray[np.intp]] = {}
        self._matrices: Batch | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch
        self._reader.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._reader)

    def __iter__(self) -> Iterator[Batch]:
        inputs, targets = self._held()
        skip = self.start
        for pool in self._reader.plan():
            if skip >= pool.batches:
                skip -= pool.batches
                continue
            rows = self._order(pool)
            size = self._reader.batch_size
            for index in range(skip, pool.batches):
                chosen = rows[index * size : (index + 1) * size]
                yield inputs.index_select(0, chosen), targets.index_select(0, chosen)
            skip = 0

    def _order(self, pool: Pool) -> Tensor:
        """Rows of the copy in the order in which the samples of a pool come."""
        rows = np.concatenate([self._rows[block] for block in pool.blocks])
        return torch.from_numpy(rows[self._reader.order(pool)]).to(self._device)

    def _held(self) -> Batch:
        """The copy of the split, made at the first call."""
        if self._matrices is None:
            sizes = (v.size(self._reader.levels) for v in (self._reader.set, self._reader.targets))
            inputs, targets = (
                torch.empty((self._reader.n_samples, size), device=self._device) for size in sizes
            )
            first = 0
            for block, (block_inputs, block_targets) in self._reader.by_block():
                end = first + len(block_inputs)
                inputs[first:end] = torch.from_numpy(block_inputs)
                targets[first:end] = torch.from_numpy(block_targets)
                self._rows[block] = np.arange(first, end)
                first = end
            self._matrices = inputs, targets
        return self._matrices
