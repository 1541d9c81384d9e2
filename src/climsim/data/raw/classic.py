"""Layout of classic netCDF files (CDF-1, CDF-2, CDF-5) from their header.

The netCDF library returns zeros, without an error, for whatever a truncated classic file lacks.
The header says how long the file must be, so this module tells a whole file from a cut one, and
where each array lies, so a step file is read with one system call.

Source: NetCDF Classic and 64-bit Data Format Specifications, Unidata and PnetCDF.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
_DIMENSION, _VARIABLE, _ATTRIBUTE = 10, 11, 12
_DTYPES = {
    1: np.dtype("i1"),
    2: np.dtype("S1"),
    3: np.dtype(">i2"),
    4: np.dtype(">i4"),
    5: np.dtype(">f4"),
    6: np.dtype(">f8"),
    7: np.dtype("u1"),
    8: np.dtype(">u2"),
    9: np.dtype(">u4"),
    10: np.dtype(">i8"),
    11: np.dtype(">u8"),
}
_LARGEST_COUNT = 1 << 40
_LARGEST_DECLARED = 2**32 - 4
"""Sizes from here on do not fit the header of the older formats."""
_CACHED_HEADERS = 8


class HeaderError(ValueError):
    """The bytes are no whole header of a classic netCDF file."""


@dataclass(frozen=True)
class ClassicVariable:
    """Where one fixed-size array lies in a file.

    Attributes:
        dimensions: names of its dimensions.
        shape: their lengths.
        dtype: big-endian type of the elements.
        offset: byte at which it begins.
        units: its attribute ``units``; empty where it has none.
    """

    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    units: str = ""

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def end(self) -> int:
        """First byte after the array."""
        return self.offset + self.size


@dataclass(frozen=True)
class ClassicHeader:
    """What the header of a classic file says.

    Attributes:
        dimensions: lengths by name; an unlimited one has its present number of records.
        attributes: global attributes.
        variables: fixed-size variables by name; of a file with one record, its record variables
            too, whose first dimension then has length 1.
        record_variables: names of the variables along an unlimited dimension with another number
            of records than one.
        records: number of records.
        length: bytes of the header itself.
    """

    dimensions: dict[str, int]
    attributes: dict[str, str | np.ndarray]
    variables: dict[str, ClassicVariable]
    record_variables: tuple[str, ...]
    records: int
    length: int

    @property
    def size(self) -> int:
        """Bytes that a file with this header has at least."""
        return max((v.end for v in self.variables.values()), default=0)


class _Cursor:
    """Reads numbers, names and lists of a header in sequence."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 4
        wide_counts = data[3] == 5
        self.count_format, self.count_size = (">Q", 8) if wide_counts else (">I", 4)
        self.offset_format, self.offset_size = (">I", 4) if data[3] == 1 else (">Q", 8)

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise HeaderError("the header is cut off")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def tag(self) -> int:
        return int(struct.unpack(">I", self.take(4))[0])

    def count(self) -> int:
        value = int(struct.unpack(self.count_format, self.take(self.count_size))[0])
        if value > _LARGEST_COUNT and value != 2 ** (8 * self.count_size) - 1:
            raise HeaderError(f"a count of {value}")
        return value

    def offset(self) -> int:
        return int(struct.unpack(self.offset_format, self.take(self.offset_size))[0])

    def dtype(self) -> np.dtype:
        code = self.tag()
        if code not in _DTYPES:
            raise HeaderError(f"unknown type {code}")
        return _DTYPES[code]

    def padded(self, size: int) -> bytes:
        piece = self.take(size)
        self.take(-size % 4)
        return piece

    def name(self) -> str:
        try:
            return self.padded(self.count()).decode()
        except UnicodeDecodeError as error:
            raise HeaderError("a name that is no text") from error

    def length_of(self, expected: int) -> int:
        """Length of a list that must hold items of one kind (or be absent)."""
        tag, count = self.tag(), self.count()
        if tag not in (0, expected) or (tag == 0 and count):
            raise HeaderError(f"a list of kind {tag} where kind {expected} belongs")
        return count

    def attributes(self) -> dict[str, str | np.ndarray]:
        result: dict[str, str | np.ndarray] = {}
        for _ in range(self.length_of(_ATTRIBUTE)):
            name, dtype, count = self.name(), self.dtype(), self.count()
            raw = self.padded(count * dtype.itemsize)
            text = dtype.kind == "S"
            result[name] = (
                raw.decode("utf-8", "replace") if text else np.frombuffer(raw, dtype, count)
            )
        return result


def parse_header(data: bytes) -> ClassicHeader:
    """Parse the header at the beginning of a classic netCDF file.

    Args:
        data: the first bytes of the file, at least its whole header.

    Returns:
        Dimensions, global attributes, and the place of each variable.

    Raises:
        HeaderError: if this is no classic file or the header is cut off or inconsistent.
    """
    if data[:4] not in MAGIC:
        raise HeaderError("not a classic netCDF file")
    cursor = _Cursor(data)
    records = cursor.count()
    names, lengths, unlimited = [], [], set()
    for index in range(cursor.length_of(_DIMENSION)):
        names.append(cursor.name())
        length = cursor.count()
        if length == 0:
            unlimited.add(index)
        lengths.append(length or records)
    attributes = cursor.attributes()
    # One record lies as a fixed-size array does.
    scattered = unlimited if records != 1 else set()
    variables, record_variables = _variables(cursor, names, lengths, scattered)
    _check_places(variables, cursor.position)
    return ClassicHeader(
        dimensions=dict(zip(names, lengths, strict=True)),
        attributes=attributes,
        variables=variables,
        record_variables=tuple(record_variables),
        records=records,
        length=cursor.position,
    )


class HeaderCache:
    """Parses headers, but equal ones only once: the files of a run differ in their values alone."""

    def __init__(self) -> None:
        self._known: list[tuple[bytes, ClassicHeader]] = []

    def parse(self, data: bytes) -> ClassicHeader:
        """Do what `parse_header` does."""
        for raw, header in self._known:
            if data.startswith(raw):
                return header
        header = parse_header(data)
        # Two kinds of files make two headers; many more mean that every header is its own.
        if len(self._known) < _CACHED_HEADERS:
            self._known.append((data[: header.length], header))
        return header


def _variables(
    cursor: _Cursor, names: list[str], lengths: list[int], scattered: set[int]
) -> tuple[dict[str, ClassicVariable], list[str]]:
    fixed, along_records = {}, []
    for _ in range(cursor.length_of(_VARIABLE)):
        name = cursor.name()
        rank = cursor.count()
        if rank > 1024:
            raise HeaderError(f"variable {name} with {rank} dimensions")
        axes = [cursor.count() for _ in range(rank)]
        units = cursor.attributes().get("units", "")
        dtype = cursor.dtype()
        declared = cursor.count()
        offset = cursor.offset()
        if any(axis >= len(names) for axis in axes):
            raise HeaderError(f"variable {name} with an unknown dimension")
        if axes and axes[0] in scattered:
            along_records.append(name)
            continue
        if name in fixed:
            raise HeaderError(f"variable {name} twice")
        found = ClassicVariable(
            tuple(names[a] for a in axes),
            tuple(lengths[a] for a in axes),
            dtype,
            offset,
            units if isinstance(units, str) else "",
        )
        # Narrow types are padded, in ways that writers disagree on.
        if dtype.itemsize >= 4 and found.size != declared < _LARGEST_DECLARED:
            raise HeaderError(f"variable {name} of {found.size} bytes, declared as {declared}")
        fixed[name] = found
    return fixed, along_records


def _check_places(variables: dict[str, ClassicVariable], header: int) -> None:
    """Refuse arrays that overlap the header or each other: a damaged offset would shift values."""
    end = header
    for name, found in sorted(variables.items(), key=lambda item: item[1].offset):
        if found.offset < end:
            raise HeaderError(f"variable {name} at byte {found.offset}, expected {end} or later")
        end = found.end
