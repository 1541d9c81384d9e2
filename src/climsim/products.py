"""What a product is recognized by, and the guard that no product replaces anything else.

Every command calls `claim` for each of its outputs before it reads or computes anything. The kinds
are defined beside the code that writes them.
"""

from __future__ import annotations

import json
import mmap
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from climsim.errors import ClimSimError, some_of
from climsim.files import TEMPORARY_PREFIX, end_of_links, read_json, same_path, stored_attributes
from climsim.locks import LOCK_NAME

_STORE_NOTE = "zarr.json"
LISTED = "files"
"""Key of a note: names of the entries of its folder."""


@dataclass(frozen=True)
class Kind:
    """A kind of product and how one is recognized.

    Attributes:
        name: in words, with its article, such as ``"an exported model"``.
        recognizes: whether a path that exists is one.
        is_folder: whether it is a folder.
        owns: whether an entry of that name is part of the product. Where it is given, the folder
            may hold nothing else; otherwise a recognized folder may hold what it likes, because
            nothing in it is removed.
        scaffold: names of entries that a run may leave before the folder can be recognized.
    """

    name: str
    recognizes: Callable[[Path], bool]
    is_folder: bool = False
    owns: Callable[[str], bool] | None = None
    scaffold: tuple[str, ...] = ()


def claim(
    path: str | Path,
    kind: Kind,
    inputs: Mapping[str, str | Path | None] | None = None,
    key: str = "out",
) -> Path:
    """Make sure that writing a product to a path loses nothing, before the work begins.

    Free are a path where nothing is, an empty file or folder, and a product of the same kind.

    Args:
        path: where the product will be written.
        kind: of the product.
        inputs: what it is made from, by key, or by its own path where a key names several; none of
            them may be the product itself.
        key: that named the path, for the message.

    Returns:
        The path.

    Raises:
        ClimSimError: if the path holds something else, is an input or lies inside a store, or if
            its folder cannot be made or written.
    """
    path = Path(path)
    _refuse_inside_store(path, key)
    for name, source in (inputs or {}).items():
        if source is not None and same_path(path, Path(source)):
            raise ClimSimError(
                f"{key}={path}: the same path as "
                + ("an input" if name == str(source) else f"{name}={source}")
                + ", which would be lost: give another one"
            )
    if path.exists():
        _refuse_foreign(path, kind, key)
    _require_writable(end_of_links(path), kind, key)
    return path


def _refuse_inside_store(path: Path, key: str) -> None:
    """A Zarr store holds its arrays alone: a further file would keep it from being prepared again.

    Raises:
        ClimSimError: if a folder above the path is a store.
    """
    for folder in reversed(path.resolve().parents):
        if (folder / _STORE_NOTE).is_file():
            raise ClimSimError(
                f"{key}={path}: lies inside the store {folder}, which holds its arrays alone: "
                "give a path outside it"
            )


def _refuse_foreign(path: Path, kind: Kind, key: str) -> None:
    if kind.is_folder:
        foreign = _foreign_entries(path, kind) if path.is_dir() else ("a file",)
        if not foreign:
            return
        beside = path.is_dir() and kind.recognizes(path)
        found = "is a file" if not path.is_dir() else f"holds {some_of(foreign)}"
        raise ClimSimError(
            f"{key}={path}: expected a new or empty folder or {kind.name}"
            f"{' and nothing beside it' if beside else ''}, but it {found}: "
            + ("move that away" if beside else "give another path")
        )
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a device"
        raise ClimSimError(f"{key}={path}: {what}: give the name of a file for {kind.name}")
    if path.stat().st_size and not kind.recognizes(path):
        raise ClimSimError(
            f"{key}={path}: the file that is there is not {kind.name} and would be lost: give "
            "another name, or move it away"
        )


def _foreign_entries(path: Path, kind: Kind) -> tuple[str, ...]:
    """Names in a folder that keep it from being claimed."""
    names = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.name != LOCK_NAME and not entry.name.startswith(TEMPORARY_PREFIX)
    )
    if not names:
        return ()
    if not kind.recognizes(path):
        return tuple(name for name in names if name not in kind.scaffold)
    return () if kind.owns is None else tuple(name for name in names if not kind.owns(name))


def _require_writable(path: Path, kind: Kind, key: str) -> None:
    """Find out now, not after hours of work, that nothing can be written there."""
    parent = path if kind.is_folder and path.is_dir() else path.absolute().parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise ClimSimError(f"{key}={path}: {parent} is a file, not a folder: give another path")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ClimSimError(
            f"{key}={path}: the folder {parent} cannot be written (read-only, or not yours): give "
            "another path"
        )


def attributes_of(path: Path) -> Mapping[str, object]:
    """Attributes of a netCDF file or a store; none where it is neither."""
    try:
        return stored_attributes(path)
    except (ClimSimError, OSError, AttributeError):
        return {}


def noted(path: Path, *keys: str, damaged: bool = True) -> bool:
    """Whether a JSON file is the note of a product, by its keys.

    Args:
        path: of the file.
        *keys: that it has.
        damaged: whether a file that is not valid JSON counts: its reader refuses it and says
            what is wrong.
    """
    if not path.is_file():
        return False
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return damaged
    return isinstance(value, dict) and value.keys() >= set(keys)


def listed(name: str, folder: Path, note: str, *keys: str) -> Kind:
    """A kind of folder that holds what a note in it lists, and nothing else.

    Its files have names that others could have as well, so they alone prove nothing.

    Args:
        name: of the kind, in words.
        folder: whose note says which entries are part of the product.
        note: name of that JSON file, with the list under `LISTED`.
        *keys: further ones that the note has.
    """
    entries = {note}
    if noted(folder / note, LISTED, damaged=False):
        entries |= {str(entry) for entry in read_json(folder / note)[LISTED]}
    return Kind(
        name,
        lambda path: noted(path / note, *keys),
        is_folder=True,
        owns=entries.__contains__,
    )


def note_of(path: Path) -> Path:
    """The JSON file beside a product that can hold no note itself, such as a table for others."""
    return path.with_name(f"{path.name}.json")


def archived(path: Path, ending: str) -> bytes:
    """The first entry with such an ending of a zip archive; empty where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(ending)]
            return archive.read(names[0]) if names else b""
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError):
        return b""


def mentions(path: Path, *texts: bytes) -> bool:
    """Whether a file contains all of some texts."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return all(m.find(text) >= 0 for text in texts)
    except (OSError, ValueError):
        return False
