"""What the operating system refuses, as one line each: what happened, and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from climsim.errors import ClimSimError

_REASONS: dict[int, str] = {
    errno.ENOSPC: "the disk is full: free some space and run again",
    errno.EDQUOT: "the quota of the disk is used up: free some space and run again",
    errno.EFBIG: "the file would be larger than is allowed here (ulimit -f): raise the limit",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EACCES: "no permission (the file may be whole): ask its owner, or change the permissions",
    errno.EPERM: "not permitted (the file may be whole): ask its owner, or change the permissions",
    errno.ENOENT: "no such file or folder",
    errno.ENOTDIR: "a part of this path is a file, not a folder: give another path",
    errno.EISDIR: "a folder, where a file was expected: give another path",
    errno.EEXIST: "a file is in the way: give another path",
    errno.ENAMETOOLONG: "the name is too long for the file system: give a shorter one",
    errno.ELOOP: "symbolic links lead in a circle: give another path",
    errno.EMFILE: "too many files are open (ulimit -n): raise the limit or use fewer workers",
    errno.ENFILE: "too many files are open on this machine: try again later",
    errno.EIO: "the disk or the network file system failed: try again, or look at the disk",
    errno.ESTALE: "the network file system lost the file: try again",
    errno.ETXTBSY: "another process uses the file: wait for it",
}
_MEMORY = ("can't allocate memory", "out of memory", "Unable to allocate")


def refusal(error: BaseException, path: str | Path | None = None) -> ClimSimError | None:
    """The clear line for an error of the operating system; None for any other error.

    Args:
        error: what was raised.
        path: what was read or written, where the error does not name it.
    """
    if isinstance(error, MemoryError) or any(text in str(error) for text in _MEMORY):
        first = " ".join(str(error).split())
        return ClimSimError(
            f"{f'{path}: ' if path else ''}out of memory{f' ({first})' if first else ''}: use "
            "fewer workers, smaller batches or blocks, or a machine with more memory"
        )
    if not isinstance(error, OSError) or error.errno not in _REASONS:
        return None
    if working_folder_is_gone():
        return ClimSimError("the working folder was removed: change to one that exists (cd)")
    named = path if path is not None else error.filename
    where = "" if named is None else f"{os.fsdecode(named)}: "
    return ClimSimError(f"{where}{_REASONS[error.errno]}")


def working_folder_is_gone() -> bool:
    """Whether the folder that the process stands in was removed."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False
