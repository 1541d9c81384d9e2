"""Where a store lies: a folder of this machine, or a URL that fsspec reads.

Both kinds of folder answer the same questions, so nothing else asks which one it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from climsim.errors import ClimSimError

if TYPE_CHECKING:
    import zarr.abc.store

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")


def is_url(text: object) -> bool:
    """Whether a text names a place by protocol, such as ``s3://bucket/store.zarr``."""
    return _URL.match(str(text)) is not None


class StoreUrl(str):
    """Address of a store behind a protocol of fsspec (``s3://``, ``https://``, ``memory://``).

    A text, so that records and configurations hold it as it is.
    """

    __slots__ = ()


StoreAddress = StoreUrl | Path
"""Where a store can be read from."""


def store_address(value: str | Path) -> StoreAddress:
    """The address that a text or path means."""
    return StoreUrl(value) if isinstance(value, str) and is_url(value) else Path(value)


class StoreFolder(Protocol):
    """The files of a store, by names relative to its folder (``state_t/zarr.json``)."""

    @property
    def address(self) -> StoreAddress:
        """Where the folder is."""

    def exists(self) -> bool:
        """Whether there is anything."""

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Whole files, by name.

        Raises:
            OSError: if one is missing or cannot be read.
        """

    def read_into(self, name: str, memory: NDArray[np.uint8], start: int = 0) -> int:
        """Fill memory from a place in a file on; returns the bytes read, fewer at its end."""

    def read_end(self, name: str, size: int) -> bytes:
        """The last bytes of a file."""

    def zarr_store(self) -> zarr.abc.store.Store:
        """The same folder for Zarr and xarray."""


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine."""

    address: Path

    def exists(self) -> bool:
        """Whether there is anything."""
        return self.address.exists()

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Whole files, by name."""
        return {name: (self.address / name).read_bytes() for name in names}

    def read_into(self, name: str, memory: NDArray[np.uint8], start: int = 0) -> int:
        """Fill memory from a place in a file on; returns the bytes read, fewer at its end."""
        with (self.address / name).open("rb", buffering=0) as stream:
            if start:
                stream.seek(start)
            return stream.readinto(memory.data) or 0

    def read_end(self, name: str, size: int) -> bytes:
        """The last bytes of a file."""
        with (self.address / name).open("rb", buffering=0) as stream:
            stream.seek(-size, 2)
            return stream.read(size)

    def zarr_store(self) -> zarr.abc.store.Store:
        """The same folder for Zarr and xarray."""
        import zarr.storage

        return zarr.storage.LocalStore(self.address, read_only=True)


@dataclass(frozen=True)
class RemoteFolder:
    """A folder behind a URL, read through fsspec."""

    address: StoreUrl

    def exists(self) -> bool:
        """Whether there is anything."""
        return bool(self._asked("exists", self._path("zarr.json")))

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Whole files, by name."""
        paths = {name: self._path(name) for name in names}
        # One call, which asks for all of them at a time.
        found = self._asked("cat", list(paths.values()), recursive=False)
        if isinstance(found, bytes):  # what fsspec returns for a single file
            return dict.fromkeys(paths, found)
        return {name: found[path] for name, path in paths.items()}

    def read_into(self, name: str, memory: NDArray[np.uint8], start: int = 0) -> int:
        """Fill memory from a place in a file on; returns the bytes read, fewer at its end."""
        end = start + memory.size
        data = self._asked("cat_file", self._path(name), start=start, end=end)
        if len(data) > memory.size:
            raise OSError("expected a part of the file, found all of it: the server has no ranges")
        memory[: len(data)] = np.frombuffer(data, np.uint8)
        return len(data)

    def read_end(self, name: str, size: int) -> bytes:
        """The last bytes of a file."""
        data = bytes(self._asked("cat_file", self._path(name), start=-size, end=None))
        return data[-size:]

    def zarr_store(self) -> zarr.abc.store.Store:
        """The same folder for Zarr and xarray."""
        import zarr.storage

        return zarr.storage.FsspecStore.from_url(self.address, read_only=True)

    def _asked(self, call: str, *arguments: object, **options: object) -> Any:
        """Result of a call of the file system, whose errors become `OSError`."""
        files = self._located()[0]
        try:
            return getattr(files, call)(*arguments, **options)
        except OSError:
            raise
        # Each protocol has errors of its own: of its server, of the network, of credentials.
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error

    def _located(self) -> tuple[Any, str]:
        """The file system, and the path of the store in it."""
        # Here, not above: a store of this machine needs no fsspec.
        import fsspec

        try:
            files, root = fsspec.url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            raise ClimSimError(
                f"{self.address}: cannot be read ({str(error).rstrip('.')}): expected a folder or "
                "a URL of fsspec; s3:// needs `pip install s3fs`, gs:// `pip install gcsfs`"
            ) from error
        return files, root.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._located()[1]}/{name}"


def folder_of(address: StoreAddress) -> StoreFolder:
    """The folder at an address."""
    return RemoteFolder(address) if isinstance(address, StoreUrl) else LocalFolder(address)
