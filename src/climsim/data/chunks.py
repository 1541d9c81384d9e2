"""Blocks of a store straight from its chunk files, decompressed into place.

Zarr's own reading goes through an event loop and several copies per chunk, and its threads do not
survive the fork of a data loader. This reads the same bytes by the Zarr 3 format: a chunk per block
of time, or a shard whose index at the end says where each chunk lies.

Source: Zarr v3 core specification; sharding codec 1.0 (index at the end, crc32c).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numcodecs.blosc
import numpy as np
from numpy.typing import NDArray

from climsim.errors import ClimSimError

_ABSENT = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class BlockFiles:
    """Reads one variable of a store by blocks of time steps.

    Attributes:
        folder: folder of the Zarr array.
        shape: (time, column) or (time, column, level).
        block_steps: time steps of a chunk.
        shard_blocks: chunks in a file.
        sharded: whether files carry an index.
        compressed: whether chunks are Blosc frames.
    """

    folder: Path
    shape: tuple[int, ...]
    block_steps: int
    shard_blocks: int
    sharded: bool
    compressed: bool
    _indices: dict[int, NDArray[np.uint64]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path) -> BlockFiles:
        """Read the layout of an array from its metadata.

        Raises:
            ClimSimError: if the array has a layout that this package does not write.
        """
        try:
            document: dict[str, Any] = json.loads((folder / "zarr.json").read_text())
            outer = document["chunk_grid"]["configuration"]["chunk_shape"]
            codecs = document["codecs"]
            sharded = codecs[0]["name"] == "sharding_indexed"
            inner = codecs[0]["configuration"]["chunk_shape"] if sharded else outer
            chain = codecs[0]["configuration"]["codecs"] if sharded else codecs
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise ClimSimError(
                f"{folder}: damaged array metadata ({error}): prepare again"
            ) from error
        names = [codec["name"] for codec in chain]
        whole = list(document["shape"][1:]) == list(inner[1:])
        if names not in (["bytes"], ["bytes", "blosc"]) or not whole:
            raise ClimSimError(
                f"{folder}: chunks {inner} with codecs {names}: expected blocks of whole "
                "time steps, as `climsim data prepare` writes them"
            )
        return cls(
            folder,
            tuple(document["shape"]),
            inner[0],
            outer[0] // inner[0],
            sharded,
            len(names) > 1,
        )

    def read(self, block: int) -> NDArray[np.float32]:
        """Read a block, (time, column[, level]), shorter at the end of the record.

        Raises:
            ClimSimError: if the file is missing or damaged.
        """
        target = np.empty((self.block_steps, *self.shape[1:]), dtype="<f4")
        suffix = "/".join(["0"] * (len(self.shape) - 1))
        path = self.folder / "c" / str(block // self.shard_blocks) / suffix
        try:
            data = self._chunk(path, block)
            if self.compressed:
                numcodecs.blosc.decompress(data, target)
            else:
                target.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise ClimSimError(
                f"{path}: damaged chunk ({error}): prepare the store again"
            ) from error
        return target[: self.shape[0] - block * self.block_steps]

    def _chunk(self, path: Path, block: int) -> bytes:
        if not self.sharded:
            return path.read_bytes()
        with path.open("rb") as stream:
            offset, length = (int(v) for v in self._index(stream, block)[block % self.shard_blocks])
            stream.seek(offset)
            data = stream.read(length)
        if len(data) != length:
            raise ValueError("the shard is cut off")
        return data

    def _index(self, stream: Any, block: int) -> NDArray[np.uint64]:
        """(chunk, 2) offset and length of the chunks of a shard."""
        number = block // self.shard_blocks
        if number not in self._indices:
            stream.seek(-(16 * self.shard_blocks + 4), 2)
            index = np.frombuffer(stream.read(16 * self.shard_blocks), "<u8").reshape(-1, 2)
            self._indices[number] = index
        index = self._indices[number]
        if index[block % self.shard_blocks, 0] == _ABSENT:
            raise ValueError("the shard lacks this block")
        return index

    @property
    def block_bytes(self) -> int:
        """Bytes of a block in memory."""
        return 4 * self.block_steps * math.prod(self.shape[1:])
