"""Locks that end with the last process that holds them, children included."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from climsim.errors import ClimSimError
from climsim.files import leaving_no_empty_folder
from climsim.system import refusal

LOCK_NAME = ".lock"
"""Lock file of a process that works in a folder."""
_GLANCE = 0.5
"""Time that another process may look whether a lock is held, and so hold it itself [s]."""
_ATTEMPTS = 10
"""Times that the folder of a lock may vanish before it is no coincidence."""


class LockedError(Exception):
    """Another process holds the lock."""


@contextmanager
def hold(path: Path, patience: float = _GLANCE, *, keep: bool = True) -> Iterator[int]:
    """Hold a lock file; a child that gets the descriptor holds it too.

    Args:
        path: of the lock file.
        patience: how long to wait for who looks at it, or for the processes of a call that was
            killed to go [s].
        keep: whether the file stays; if not, it goes at the end, and so do folders that were made
            for it and hold nothing else.

    Yields:
        The descriptor, for ``pass_fds``.

    Raises:
        LockedError: if another process holds it.
        ClimSimError: if it cannot be made.
    """
    with contextlib.nullcontext() if keep else leaving_no_empty_folder(path.parent):
        handle = _take(path, time.monotonic() + patience)
        try:
            yield handle
        finally:
            if not keep:
                path.unlink(missing_ok=True)
            os.close(handle)


@contextmanager
def only_process(path: Path, what: str) -> Iterator[None]:
    """Keep a second process from the same work; nothing is left of the lock afterwards.

    Args:
        path: of the lock file.
        what: the other process does, for the message, such as ``"runs/unet: another process
            trains"``.

    Raises:
        ClimSimError: if there is one.
    """
    try:
        with hold(path, keep=False):
            yield
    except LockedError as error:
        raise ClimSimError(f"{what}: wait for it or choose another place") from error


def _take(path: Path, until: float) -> int:
    """Open and lock the file that has the name then: one that was removed locks nobody out."""
    attempts = _ATTEMPTS
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            attempts -= 1
            if isinstance(error, FileNotFoundError) and attempts:
                # Another process has just removed the folder, which it left empty.
                continue
            raise refusal(error, path) or error from error
        try:
            _wait_for(handle, path, until)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
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
