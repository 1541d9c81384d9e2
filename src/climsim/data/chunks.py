"""Blocks of a store straight from and to its chunk files.

Zarr's own route goes through an event loop and several copies per chunk, and its threads do not
survive the fork of a data loader. This handles the same bytes by the Zarr 3 format: a chunk per
block of time, or a shard whose index at the end says where each chunk lies.

Source: Zarr v3 core specification; sharding codec 1.0 (index at the end, crc32c).
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np
from numpy.typing import NDArray

from climsim.errors import ClimSimError

COMPRESSION_LEVEL = 1
"""Blosc level: higher ones cost much time and gain little on weather."""
_CHECKSUM = struct.Struct("<I")
_FRAME = struct.Struct("<4B3I")
"""Header of a Blosc frame, and the most that a frame is longer than what is in it."""
_ABSENT = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class BlockMemory:
    """Memory that one read after another fills.

    Attributes:
        encoded: bytes as they are in the file.
        values: (time, column[, level]) the block, where it must be decompressed.
    """

    encoded: NDArray[np.uint8]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class BlockFiles:
    """Reads one variable of a store by blocks of time steps.

    Attributes:
        folder: folder of the Zarr array.
        shape: (time, column) or (time, column, level).
        block_steps: time steps of a chunk.
        shard_blocks: chunks in a file.
        sharded: whether files carry an index.
        compressor: name of the Blosc codec of the chunks; empty for plain numbers.
        checked: whether chunks end with their CRC-32C.
    """

    folder: Path
    shape: tuple[int, ...]
    block_steps: int
    shard_blocks: int
    sharded: bool
    compressor: str
    checked: bool
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
            flat = document["chunk_key_encoding"]["configuration"]["separator"] == "."
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise ClimSimError(
                f"{folder}: damaged array metadata ({error}): prepare again"
            ) from error
        names = [codec["name"] for codec in chain]
        checked = names[-1] == "crc32c"
        names = names[: len(names) - checked]
        compressor = chain[1]["configuration"]["cname"] if names[-1] == "blosc" else ""
        whole = flat and list(document["shape"][1:]) == list(inner[1:])
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
            compressor,
            checked,
        )

    def memory(self) -> BlockMemory:
        """Memory for one block, to be handed to any number of reads in turn."""
        # A compressed block is never longer than this.
        encoded = np.empty(self.block_bytes + _FRAME.size + _CHECKSUM.size, np.uint8)
        return BlockMemory(encoded, np.empty((self.block_steps, *self.shape[1:]), dtype="<f4"))

    def read(self, block: int, memory: BlockMemory | None = None) -> NDArray[np.float32]:
        """Read a block, (time, column[, level]), shorter at the end of the record.

        Args:
            block: number of the block.
            memory: where to; the result is valid until the next read into it. None for memory of
                its own: fresh pages cost more time than the reading.

        Raises:
            ClimSimError: if the file is missing or damaged.
        """
        memory = memory or self.memory()
        path = self._path(block // self.shard_blocks)
        try:
            data = self._chunk(path, block, memory.encoded)
            if self.checked:
                data = _without_checksum(data)
            if self.compressor:
                target = memory.values
                _check_frame(data, target.nbytes)
                numcodecs.blosc.decompress(data, target)
            else:
                target = data.view("<f4").reshape(memory.values.shape)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise ClimSimError(
                f"{path}: damaged chunk ({error}): delete the store and prepare it again"
            ) from error
        return target[: self.shape[0] - block * self.block_steps]

    def write(self, shard: int, values: NDArray[np.float32]) -> None:
        """Write the file of a shard.

        Args:
            shard: number of the shard.
            values: (time, column[, level]); only the last shard may be shorter than the others.

        Raises:
            ClimSimError: if the disk is full or cannot be written.
        """
        chunks = []
        for start in range(0, values.shape[0], self.block_steps):
            chunk = np.ascontiguousarray(values[start : start + self.block_steps], dtype="<f4")
            if chunk.shape[0] < self.block_steps:
                full = np.full((self.block_steps, *self.shape[1:]), np.nan, dtype="<f4")
                full[: chunk.shape[0]] = chunk
                chunk = full
            encoded = self._encode(chunk)
            chunks.append(_with_checksum(encoded) if self.checked else encoded)
        if self.sharded:
            chunks.append(self._encode_index(chunks))
        path = self._path(shard)
        try:
            # A file of that name may be linked from another store, which must keep its values.
            path.unlink(missing_ok=True)
            with path.open("wb") as stream:
                stream.writelines(chunks)
        except OSError as error:
            raise ClimSimError(
                f"{path}: cannot be written ({error.strerror}): free some space or choose another "
                "disk, and run again to continue"
            ) from error

    def _encode(self, chunk: NDArray[np.float32]) -> bytes:
        if not self.compressor:
            return chunk.tobytes()
        frame = numcodecs.blosc.compress(
            chunk, self.compressor.encode(), COMPRESSION_LEVEL, numcodecs.blosc.SHUFFLE
        )
        return bytes(frame)

    def _encode_index(self, chunks: list[bytes]) -> bytes:
        index = np.full((self.shard_blocks, 2), _ABSENT, dtype="<u8")
        lengths = np.array([len(c) for c in chunks], dtype="<u8")
        index[: len(chunks), 1] = lengths
        index[: len(chunks), 0] = np.cumsum(lengths) - lengths
        return _with_checksum(index.tobytes())

    def _path(self, shard: int) -> Path:
        return shard_file(self.folder, shard, len(self.shape))

    def _chunk(self, path: Path, block: int, memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The bytes of a chunk, in the memory given."""
        with path.open("rb", buffering=0) as stream:
            if self.sharded:
                index = self._index(stream, block)
                offset, length = (int(v) for v in index[block % self.shard_blocks])
                stream.seek(offset)
                memory = memory[:length]
            count = stream.readinto(memory.data)
        if self.sharded and count != length:
            raise ValueError("the shard is cut off")
        return memory[:count]

    def _index(self, stream: FileIO, block: int) -> NDArray[np.uint64]:
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


def shard_file(folder: Path, shard: int, axes: int) -> Path:
    """File of a shard of an array with a number of axes."""
    return folder / ".".join(("c", str(shard), *["0"] * (axes - 1)))


def _check_frame(data: NDArray[np.uint8], size: int) -> None:
    """Refuse a cut Blosc frame, which the library would read beyond its end."""
    if len(data) < _FRAME.size:
        raise ValueError(f"{len(data)} bytes")
    *_, uncompressed, _, compressed = _FRAME.unpack_from(data.data)
    if (uncompressed, compressed) != (size, len(data)):
        raise ValueError(
            f"{len(data)} bytes for {uncompressed}, expected {compressed} bytes for {size}"
        )


def _with_checksum(data: bytes) -> bytes:
    return data + _CHECKSUM.pack(google_crc32c.value(data))


def _without_checksum(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes before the checksum, if it is theirs."""
    if len(data) < _CHECKSUM.size:
        raise ValueError(f"{len(data)} bytes")
    content = data[: -_CHECKSUM.size]
    if _CHECKSUM.unpack_from(data.data, content.size)[0] != google_crc32c.value(content):
        raise ValueError("the checksum does not fit")
    return content
