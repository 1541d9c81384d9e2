"""Batches for the training loop: positioned exactly, read ahead by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor

Batch = tuple[Tensor, Tensor]
_JOIN_SECONDS = 30.0


class EpochReader(Protocol):
    """What the loop needs of a reader: batches of an epoch, in a fixed order, from any position."""

    start: int

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""

    def __iter__(self) -> Iterator[Batch]:
        """Physical (inputs, targets) of the epoch, from batch ``start`` on."""

    def __len__(self) -> int:
        """Batches of the epoch."""


class EpochLoader:
    """An iterable over one epoch at a time, resumable at any batch.

    Lightning calls `set_epoch` through ``sampler`` before it takes the first batch of an epoch;
    iteration therefore looks the epoch up when that batch is taken.
    """

    def __init__(self, reader: EpochReader, prefetch: int = 4) -> None:
        """Wrap a reader.

        Args:
            reader: gives the batches of an epoch.
            prefetch: batches read ahead by a thread; 0 reads when asked.
        """
        self.reader = reader
        self.prefetch = prefetch
        self.sampler = self
        self.batch_sampler = None
        self._epoch = 0
        self._resumed = (-1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that iteration gives next."""
        self._epoch = epoch
        self.reader.set_epoch(epoch)

    def resume_at(self, epoch: int, batch: int) -> None:
        """Start the given epoch at this batch; other epochs start at their first."""
        self._resumed = (epoch, batch)
        self.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.reader)

    def __iter__(self) -> Iterator[Batch]:
        epoch, batch = self._resumed
        self.reader.start = batch if self._epoch == epoch else 0
        batches = iter(self.reader)
        yield from read_ahead(batches, self.prefetch) if self.prefetch else batches

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the position follows from the step count of the checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take nothing over (see `resume_at`)."""


def read_ahead(batches: Iterator[Batch], size: int) -> Iterator[Batch]:
    """Give the same batches, read by a thread up to ``size`` ahead.

    Errors of the reader are raised here. The thread ends when the iteration is dropped.
    """
    slots: queue.Queue[Any] = queue.Queue(maxsize=size)
    stopped, end = threading.Event(), object()

    def put(item: Any) -> None:
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
            put(end)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (item := slots.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join(_JOIN_SECONDS)
