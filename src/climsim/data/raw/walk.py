"""Walking raw folders: linked folders are followed, each once, and what is not followed named."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

_PREFIX, _SUFFIX = "E3SM-MMF.", ".nc"


@dataclass
class RawFiles:
    """What lies in a raw folder and below.

    Attributes:
        paths: files named as step files are, sorted.
        repeated: linked folders that were not read a second time, one line each.
        unread: links that lead nowhere and folders that cannot be read, one line each.
    """

    paths: list[Path] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def warn(self) -> None:
        """Log what was not followed."""
        for line in (*self.unread, *self.repeated):
            logger.warning("%s", line)


def find_step_files(folder: Path) -> RawFiles:
    """Find the step files in a folder and below, in linked folders too.

    Args:
        folder: raw data, usually with monthly folders or links to them.

    Returns:
        The files, and what was not followed.
    """
    found = RawFiles()
    found.paths = sorted(iterate_step_files(folder, found))
    return found


def iterate_step_files(folder: Path, notes: RawFiles | None = None) -> Iterator[Path]:
    """Yield the step files in a folder and below, own folders before linked ones.

    Args:
        folder: where to begin.
        notes: takes up what is not followed; None where nobody asks.
    """
    notes = RawFiles() if notes is None else notes
    seen: dict[tuple[int, int], Path] = {}
    folders, linked = deque([folder]), deque[Path]()
    while folders or linked:
        # A link to a folder that also lies here itself must not take its place.
        here = folders.popleft() if folders else linked.popleft()
        try:
            about = here.stat()
            earlier = seen.setdefault((about.st_dev, about.st_ino), here)
            if earlier is not here:
                notes.repeated.append(f"{here}: not followed: the same folder as {earlier}")
                continue
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            notes.unread.append(f"{here}: not followed ({error.strerror})")
            continue
        for entry in entries:
            path = here / entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                yield path
            elif entry.is_symlink() and (_is_folder(entry) or not path.exists()):
                linked.append(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself.
        return False
