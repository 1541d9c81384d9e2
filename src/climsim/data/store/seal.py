"""What holds a store together: the index of its shards, its fingerprint and its checksum.

The fingerprint says which data a store holds: it is equal for equal data, however compressed. The
checksum covers how they are stored: all metadata, and through it the fingerprint and the index with
the checksum of every chunk. Opening a store computes both again, so that what was changed, swapped
or lost since preparation is found there or when its chunk is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from climsim.data.store.chunks import Document

INDEX = "shards"
"""Group in a store with what each shard is made of and holds."""
METADATA = "zarr.json"
_ARRAYS = ("key", "content", "chunk")
CHECKSUM = (Crc32cCodec(),)
"""Codecs of a small Zarr array that ends in its checksum."""


class ShardNote(TypedDict):
    """A `ShardSums` as JSON."""

    key: str
    content: str
    chunks: Sequence[Sequence[int]]


@dataclass(frozen=True)
class ShardSums:
    """What the files of a shard are made of and hold.

    Attributes:
        key: hash of what the shard is made of.
        content: hash of its values.
        chunks: (variable, block) checksum of each chunk.
    """

    key: str
    content: str
    chunks: tuple[tuple[int, ...], ...]

    def note(self) -> ShardNote:
        """The same as plain values for JSON."""
        return {"key": self.key, "content": self.content, "chunks": self.chunks}

    @classmethod
    def of_note(cls, note: ShardNote) -> ShardSums:
        """Read what `note` gave."""
        return cls(note["key"], note["content"], tuple(tuple(row) for row in note["chunks"]))


@dataclass(frozen=True)
class StoreIndex:
    """The shards of a store.

    Attributes:
        keys: (shard, byte) hash of what each is made of.
        contents: (shard, byte) hash of its values.
        chunks: (shard, variable, block) checksum of each chunk; 0 behind the end of the record.
    """

    keys: NDArray[np.uint8]
    contents: NDArray[np.uint8]
    chunks: NDArray[np.uint32]

    @classmethod
    def of(cls, shards: Sequence[ShardSums]) -> StoreIndex:
        """Collect the shards of a store, in order."""
        blocks = max(len(row) for shard in shards for row in shard.chunks)
        chunks = np.zeros((len(shards), len(shards[0].chunks), blocks), np.uint32)
        for number, shard in enumerate(shards):
            chunks[number, :, : len(shard.chunks[0])] = shard.chunks
        return cls(_bytes(s.key for s in shards), _bytes(s.content for s in shards), chunks)

    @classmethod
    def read(cls, group: zarr.Group) -> StoreIndex:
        """Read the index of an open Zarr group."""
        keys, contents, chunks = (values_of(group, f"{INDEX}/{name}") for name in _ARRAYS)
        return cls(keys.astype(np.uint8), contents.astype(np.uint8), chunks.astype(np.uint32))

    def write(self, store: Path) -> None:
        """Add the index to the folder of a store."""
        group = zarr.create_group(store / INDEX, overwrite=True)
        axes = (("shard", "byte"), ("shard", "byte"), ("shard", "variable", "block"))
        values: tuple[NDArray[np.generic], ...] = (self.keys, self.contents, self.chunks)
        for name, data, names in zip(_ARRAYS, values, axes, strict=True):
            group.create_array(name, data=data, dimension_names=names, compressors=CHECKSUM)

    @property
    def hash(self) -> str:
        """Hash of all of it."""
        digest = hashlib.sha256()
        for values in (self.keys, self.contents, self.chunks):
            digest.update(_content(values))
        return digest.hexdigest()

    def shards(self) -> list[ShardSums]:
        """The shards, in order."""
        return [
            ShardSums(key.tobytes().hex(), content.tobytes().hex(), tuple(map(tuple, rows)))
            for key, content, rows in zip(
                self.keys, self.contents, self.chunks.tolist(), strict=True
            )
        ]

    def of_variable(self, position: int) -> NDArray[np.uint32]:
        """(block,) checksums of the chunks of a variable."""
        return self.chunks[:, position].reshape(-1)


def _bytes(hashes: Iterable[str]) -> NDArray[np.uint8]:
    return np.array([list(bytes.fromhex(value)) for value in hashes], dtype=np.uint8)


def array_of(group: zarr.Group, name: str) -> zarr.Array:
    """An array of a Zarr group, unread."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def values_of(group: zarr.Group, name: str) -> NDArray[np.generic]:
    """All values of an array of a Zarr group."""
    return np.asarray(array_of(group, name)[...])


def _content(values: NDArray[np.generic]) -> bytes:
    """Numbers with their type and shape, so that two arrays never look like one."""
    return f"{values.dtype.str} {values.shape}\n".encode() + values.tobytes()


def content_hash(sums: Iterable[tuple[str, int]]) -> str:
    """Hash of the values of a shard.

    Args:
        sums: name and CRC-32 of the values of each variable.
    """
    text = "".join(f"{name} {value}\n" for name, value in sums)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(
    coordinates: Mapping[str, NDArray[np.generic]],
    p0: float,
    names: Sequence[str],
    index: StoreIndex,
) -> str:
    """Hash of the data of a store, equal for equal data in equal shards, whatever prepared them.

    Args:
        coordinates: by name: times, splits and the grid.
        p0: reference pressure [Pa].
        names: the variables.
        index: the shards.
    """
    digest = hashlib.sha256(f"{p0!r} {' '.join(names)}\n".encode())
    for name in sorted(coordinates):
        digest.update(name.encode())
        digest.update(_content(coordinates[name]))
    digest.update(_content(index.contents))
    return digest.hexdigest()


def metadata_checksum(documents: Mapping[str, Document]) -> str:
    """Hash of the metadata of a store but for the checksum itself.

    Args:
        documents: content of each ``zarr.json`` by the path of its file; `METADATA` is the store's.
    """
    root = dict(documents[METADATA])
    attributes = {k: v for k, v in root.get("attributes", {}).items() if k != "checksum"}
    content = {**documents, METADATA: {**root, "attributes": attributes}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def metadata_files(names: Iterable[str]) -> list[str]:
    """Files of metadata below that of the store.

    Args:
        names: variables and coordinates.
    """
    folders = (*names, INDEX, *(f"{INDEX}/{name}" for name in _ARRAYS))
    return [f"{folder}/{METADATA}" for folder in folders]
