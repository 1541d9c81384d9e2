"""How raw files are known again: by name, size and modification time, or by content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from climsim.data.raw.steps import StepFiles
from climsim.errors import ClimSimError

IDENTITIES = ("time", "content")
"""What the identity of a file is made of beside its name."""
_READERS = 8


def step_labels(files: Sequence[StepFiles], identity: str) -> list[str]:
    """Name of the input file and identity of both files of each step.

    Args:
        files: the steps.
        identity: ``time`` for size and modification time, ``content`` for the SHA-256.

    Raises:
        ClimSimError: if a file cannot be read.
    """
    if identity == "time":
        return [f"{step.before.name} {[_by_time(p) for p in _pair(step)]}" for step in files]
    # Hashing and reading run outside Python's lock.
    with ThreadPoolExecutor(_READERS) as pool:
        hashes = pool.map(lambda step: [_by_content(p) for p in _pair(step)], files)
        return [f"{s.before.name} {found}" for s, found in zip(files, hashes, strict=True)]


def file_label(path: Path, identity: str) -> str:
    """Name and identity of one file; see `step_labels`."""
    return f"{path.name} {_by_time(path) if identity == 'time' else _by_content(path)}"


def _pair(step: StepFiles) -> tuple[Path, ...]:
    return (step.before,) if step.after is None else (step.before, step.after)


def _by_time(path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return about.st_size, about.st_mtime_ns


def _by_content(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ClimSimError:
    return ClimSimError(
        f"{path}: cannot be read ({error.strerror}): replace the file or remove the step"
    )
