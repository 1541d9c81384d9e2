"""Locks that end with the last process that holds them, children included."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = ".lock"
"""Lock file of a process that works in a folder."""


class LockedError(Exception):
    """Another process holds the lock."""


@contextmanager
def hold(path: Path, patience: float = 0.0) -> Iterator[int]:
    """Hold a lock file; a child that gets the descriptor holds it too.

    Args:
        path: of the lock file.
        patience: how long to wait for the processes of a call that was killed to go [s].

    Yields:
        The descriptor, for ``pass_fds``.

    Raises:
        LockedError: if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _wait_for(handle, path, time.monotonic() + patience)
        yield handle
    finally:
        os.close(handle)


def _wait_for(handle: int, path: Path, until: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise LockedError(str(path)) from error
        time.sleep(0.1)


def held(path: Path) -> bool:
    """Whether a process holds a lock file."""
    if not path.exists():
        return False
    with path.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
