"""The loader: batches of an epoch, read ahead, resumable at any of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Protocol

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

Batch = tuple[Tensor, Tensor]
"""Physical inputs and targets, each (sample, feature) float32."""
_JOIN_SECONDS = 30.0


class EpochReader(Protocol):
    """What the loader needs: batches of an epoch, in a fixed order, from any position.

    Attributes:
        epoch: whose batches come next.
        start: the batch that comes first.
    """

    epoch: int
    start: int

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""

    def __iter__(self) -> Iterator[Batch]:
        """Batches of the epoch, from batch ``start`` on."""

    def __len__(self) -> int:
        """Batches of the epoch."""


class BlockLoader:
    """An iterable over one epoch at a time that can stop and resume at any batch.

    ``state_dict`` holds the epoch and the batches delivered; after ``load_state_dict`` iteration
    over that epoch begins with the batch after those, until it has been run through once.

    Epoch and position are looked up when the first batch is taken: Lightning calls `set_epoch`
    through ``sampler`` after it has made the iterator.
    """

    def __init__(
        self, reader: EpochReader, workers: int = 0, prefetch: int = 4, pin_memory: bool = False
    ) -> None:
        """Wrap a reader.

        Args:
            reader: gives the batches of an epoch.
            workers: worker processes, for which the reader has to be a torch dataset; 0 reads in
                this process.
            prefetch: batches read ahead by a thread of this process; 0 reads when asked.
            pin_memory: whether worker processes pin the batches for a GPU.
        """
        self.reader = reader
        self.workers = workers
        self.prefetch = prefetch
        self.pin_memory = pin_memory
        self.sampler = self
        self.batch_sampler = None
        self.delivered = 0
        self._resumed = (-1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that iteration gives next."""
        self.reader.set_epoch(epoch)

    def resume_at(self, epoch: int, batch: int) -> None:
        """Begin the given epoch at this batch; other epochs begin at their first."""
        self._resumed = (epoch, batch)
        self.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.reader)

    def __iter__(self) -> Iterator[Batch]:
        epoch, batch = self._resumed
        self.delivered = self.reader.start = batch if self.reader.epoch == epoch else 0
        for item in self._batches():
            self.delivered += 1
            yield item
        self.delivered, self._resumed = 0, (-1, 0)

    def _batches(self) -> Iterator[Batch]:
        if self.workers:
            if not isinstance(self.reader, IterableDataset):
                raise TypeError(f"workers={self.workers}: expected a torch dataset as reader")
            return iter(
                DataLoader(
                    self.reader,
                    batch_size=None,
                    num_workers=self.workers,
                    pin_memory=self.pin_memory,
                )
            )
        batches = iter(self.reader)
        return read_ahead(batches, self.prefetch) if self.prefetch else batches

    def state_dict(self) -> dict[str, int]:
        """Epoch and batches delivered in it."""
        return {"epoch": self.reader.epoch, "delivered": self.delivered}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Resume after the batches that a state says were delivered."""
        self.resume_at(state["epoch"], state["delivered"])


def read_ahead(batches: Iterator[Batch], size: int) -> Iterator[Batch]:
    """Give the same batches, read by a thread up to ``size`` ahead.

    Errors of the reader are raised here. The thread ends when the iteration is dropped.
    """
    slots: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=size)
    stopped = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                slots.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for batch in batches:
                put(batch)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (item := slots.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join(_JOIN_SECONDS)
