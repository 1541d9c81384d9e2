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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np
from numpy.typing import NDArray

from climsim.data.store.address import StoreFolder
from climsim.errors import ClimSimError

Document = Mapping[str, Any]
"""Content of a ``zarr.json``."""
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
class BlockLayout:
    """How the blocks of one variable lie in files.

    Attributes:
        shape: (time, column) or (time, column, level).
        block_steps: time steps of a chunk.
        shard_blocks: chunks in a file.
        sharded: whether files carry an index.
        compressor: name of the Blosc codec of the chunks; empty for plain numbers.
    """

    shape: tuple[int, ...]
    block_steps: int
    shard_blocks: int
    sharded: bool
    compressor: str

    @classmethod
    def of(cls, document: Document, where: str) -> BlockLayout:
        """Read the layout of an array from its metadata.

        Args:
            document: content of its ``zarr.json``.
            where: the array, for messages.

        Raises:
            ClimSimError: if it is a layout that this package does not write.
        """
        try:
            outer = document["chunk_grid"]["configuration"]["chunk_shape"]
            codecs = document["codecs"]
            sharded = codecs[0]["name"] == "sharding_indexed"
            inner = codecs[0]["configuration"]["chunk_shape"] if sharded else outer
            chain = codecs[0]["configuration"]["codecs"] if sharded else codecs
            flat = document["chunk_key_encoding"]["configuration"]["separator"] == "."
            names = [codec["name"] for codec in chain]
            compressor = chain[1]["configuration"]["cname"] if names[1:2] == ["blosc"] else ""
            whole = flat and list(document["shape"][1:]) == list(inner[1:])
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise ClimSimError(
                f"{where}: damaged array metadata ({error}): prepare again"
            ) from error
        if names not in (["bytes", "crc32c"], ["bytes", "blosc", "crc32c"]) or not whole:
            raise ClimSimError(
                f"{where}: chunks {inner} with codecs {names}: expected blocks of whole "
                "time steps, as `climsim data prepare` writes them"
            )
        return cls(tuple(document["shape"]), inner[0], outer[0] // inner[0], sharded, compressor)

    @property
    def block_bytes(self) -> int:
        """Bytes of a block in memory."""
        return 4 * self.block_steps * math.prod(self.shape[1:])

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.shape[0] // self.block_steps)

    def file_name(self, shard: int) -> str:
        """File of a shard in the folder of the array."""
        return shard_file(shard, len(self.shape))

    def encode(self, values: NDArray[np.float32]) -> list[bytes]:
        """The chunks of a shard, each with its checksum at the end.

        Args:
            values: (time, column[, level]); only the last shard may be shorter than the others.
        """
        chunks = []
        for start in range(0, values.shape[0], self.block_steps):
            chunk = np.ascontiguousarray(values[start : start + self.block_steps], dtype="<f4")
            if chunk.shape[0] < self.block_steps:
                full = np.full((self.block_steps, *self.shape[1:]), np.nan, dtype="<f4")
                full[: chunk.shape[0]] = chunk
                chunk = full
            chunks.append(_with_checksum(self._compress(chunk)))
        return chunks

    def index(self, chunks: list[bytes]) -> bytes:
        """What ends the file of a shard: offset and length of each chunk, and a checksum."""
        index = np.full((self.shard_blocks, 2), _ABSENT, dtype="<u8")
        lengths = np.array([len(c) for c in chunks], dtype="<u8")
        index[: len(chunks), 1] = lengths
        index[: len(chunks), 0] = np.cumsum(lengths) - lengths
        return _with_checksum(index.tobytes())

    def _compress(self, chunk: NDArray[np.float32]) -> bytes:
        if not self.compressor:
            return chunk.tobytes()
        frame = numcodecs.blosc.compress(
            chunk, self.compressor.encode(), COMPRESSION_LEVEL, numcodecs.blosc.SHUFFLE
        )
        return bytes(frame)


def read_layout(folder: Path) -> BlockLayout:
    """Layout of an array on this machine that is being written.

    Raises:
        ClimSimError: if its metadata cannot be read.
    """
    try:
        document = json.loads((folder / "zarr.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ClimSimError(f"{folder}: damaged array metadata ({error}): prepare again") from error
    return BlockLayout.of(document, str(folder))


def write_blocks(folder: Path, shard: int, values: NDArray[np.float32]) -> tuple[int, ...]:
    """Write the file of a shard of one variable.

    Args:
        folder: folder of its array.
        shard: number of the shard.
        values: (time, column[, level]); only the last shard may be shorter than the others.

    Returns:
        (block,) the checksum of each chunk.

    Raises:
        ClimSimError: if the disk is full or cannot be written.
    """
    layout = read_layout(folder)
    chunks = layout.encode(values)
    path = folder / layout.file_name(shard)
    try:
        # A file of that name may be linked from another store, which must keep its values.
        path.unlink(missing_ok=True)
        with path.open("wb") as stream:
            stream.writelines(chunks)
            if layout.sharded:
                stream.write(layout.index(chunks))
    except OSError as error:
        raise ClimSimError(
            f"{path}: cannot be written ({error.strerror}): free some space or choose another "
            "disk, and run again to continue"
        ) from error
    return tuple(_CHECKSUM.unpack_from(chunk, len(chunk) - _CHECKSUM.size)[0] for chunk in chunks)


@dataclass(frozen=True)
class BlockFiles:
    """Reads one variable of a store by blocks of time steps.

    Attributes:
        folder: the store.
        name: name of the variable.
        layout: how its blocks lie in files.
        checksums: (block,) checksum that each chunk must have, which also tells a whole chunk from
            another place of the store from the one that belongs here.
    """

    folder: StoreFolder
    name: str
    layout: BlockLayout
    checksums: NDArray[np.uint32]
    _indices: dict[int, NDArray[np.uint64]] = field(default_factory=dict, repr=False, compare=False)

    def memory(self) -> BlockMemory:
        """Memory for one block, to be handed to any number of reads in turn."""
        # A compressed block is never longer than this.
        layout = self.layout
        encoded = np.empty(layout.block_bytes + _FRAME.size + _CHECKSUM.size, np.uint8)
        return BlockMemory(encoded, np.empty((layout.block_steps, *layout.shape[1:]), dtype="<f4"))

    def read(self, block: int, memory: BlockMemory | None = None) -> NDArray[np.float32]:
        """Read a block, (time, column[, level]), shorter at the end of the record.

        Args:
            block: number of the block.
            memory: where to; the result is valid until the next read into it. None for memory of
                its own: fresh pages cost more time than the reading.

        Raises:
            ClimSimError: if the file is missing, damaged or of another block.
        """
        memory = memory or self.memory()
        path = f"{self.name}/{self.layout.file_name(block // self.layout.shard_blocks)}"
        try:
            data = self._chunk(path, block, memory.encoded)
            data = _without_checksum(data, int(self.checksums[block]))
            if self.layout.compressor:
                target = memory.values
                _check_frame(data, target.nbytes)
                numcodecs.blosc.decompress(data, target)
            else:
                target = data.view("<f4").reshape(memory.values.shape)
        except (FileNotFoundError, ValueError, RuntimeError, TypeError) as error:
            raise ClimSimError(
                f"{self.folder.address}/{path}: damaged chunk ({error}): delete the store and "
                "prepare it again"
            ) from error
        except OSError as error:
            raise ClimSimError(
                f"{self.folder.address}/{path}: cannot be read ({error.strerror or error}): check "
                "the permissions and the disk"
            ) from error
        return target[: self.layout.shape[0] - block * self.layout.block_steps]

    def _chunk(self, path: str, block: int, memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The bytes of a chunk, in the memory given."""
        if not self.layout.sharded:
            return memory[: self.folder.read_into(path, memory)]
        offset, length = (int(v) for v in self._offset_and_length(path, block))
        if self.folder.read_into(path, memory[:length], offset) != length:
            raise ValueError("the shard is cut off")
        return memory[:length]

    def _offset_and_length(self, path: str, block: int) -> NDArray[np.uint64]:
        """Offset and length of a chunk in its shard."""
        number, position = divmod(block, self.layout.shard_blocks)
        if number not in self._indices:
            size = 16 * self.layout.shard_blocks
            end = self.folder.read_end(path, size + _CHECKSUM.size)
            self._indices[number] = np.frombuffer(end[:size], "<u8").reshape(-1, 2)
        found = self._indices[number][position]
        if found[0] == _ABSENT:
            raise ValueError("the shard lacks this block")
        return found


def shard_file(shard: int, axes: int) -> str:
    """File of a shard in the folder of an array with a number of axes."""
    return ".".join(("c", str(shard), *["0"] * (axes - 1)))


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


def _without_checksum(data: NDArray[np.uint8], expected: int) -> NDArray[np.uint8]:
    """The bytes before the checksum, if it is theirs and the expected one."""
    if len(data) < _CHECKSUM.size:
        raise ValueError(f"{len(data)} bytes")
    content = data[: -_CHECKSUM.size]
    found = _CHECKSUM.unpack_from(data.data, content.size)[0]
    if found != google_crc32c.value(content):
        raise ValueError("the checksum does not fit")
    if found != expected:
        raise ValueError("whole, but of another block, variable or store")
    return content
