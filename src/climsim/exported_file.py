"""Exported files as bytes: what they say about themselves, and whether they are whole.

Nothing here runs a model or needs the library that does. TorchScript files and AOTInductor packages
are zip archives with an entry ``extra/metadata.json``. An ONNX file is one protocol buffer,
``onnx.ModelProto``; its ``metadata_props`` hold the same text, and last in the file stands a
checksum of all before it, since the form itself has none.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from climsim.cards import ModelCard, TrainingCard
from climsim.errors import ClimSimError
from climsim.integrity import check_zip
from climsim.products import archived
from climsim.system import refusal

METADATA_NAME = "metadata.json"
TORCHSCRIPT, PACKAGE, ONNX = "TorchScript file", "AOTInductor package", "ONNX file"
_PROMISED = {".pt": TORCHSCRIPT, ".pt2": PACKAGE, ".onnx": ONNX}
"""Form that the ending of a name promises; every other one promises TorchScript."""
_PACKAGE_ENTRY, _TORCHSCRIPT_ENTRY = "/archive_format", "/constants.pkl"
_PICKLE_ENTRY = "/data.pkl"
"""Of a checkpoint, and of a TorchScript file as well."""
_FIRST_ONNX_BYTE = b"\x08"
"""Tag of ``ModelProto.ir_version``, with which every ONNX file begins."""
_PROPERTIES, _GRAPH = 14, 7
"""Numbers of the fields ``metadata_props`` and ``graph`` of ``onnx.ModelProto``."""
_CHECKSUM = "checksum"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Kinds of the fields of a protocol buffer."""
_LONGEST_VARINT = 10
_BLOCK = 1 << 20


def promised_form(path: Path) -> str:
    """The form that the name of a file promises."""
    return _PROMISED.get(path.suffix, TORCHSCRIPT)


def exported_models(folder: Path) -> list[Path]:
    """The files of a folder whose names end as those of exported models do, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in _PROMISED)


def form_of(path: Path) -> str | None:
    """The form that a file has by its content, None where it is none of an exported model."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if any(name.endswith(_PACKAGE_ENTRY) for name in names):
                return PACKAGE
            return TORCHSCRIPT if any(n.endswith(_TORCHSCRIPT_ENTRY) for n in names) else None
        return ONNX if _is_onnx(path) else None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return None


def metadata_text(path: Path) -> bytes:
    """The text of ``metadata.json`` in an exported file; empty where there is none."""
    found = archived(path, f"/extra/{METADATA_NAME}")
    return found or (_onnx_property(path, METADATA_NAME) if _begins_as_onnx(path) else b"")


def training_of_file(path: Path) -> TrainingCard:
    """What an exported file says of its training, without loading its network.

    Args:
        path: of the file; where it is gone, of another kind or says nothing, nothing is known.

    Returns:
        Network, recipe and seed, which is -1 for the mean of several models; hours and device.
    """
    try:
        return ModelCard.from_json(json.loads(metadata_text(path)), str(path)).named_by
    except (OSError, ValueError, ClimSimError):
        return TrainingCard()


def with_metadata(model: bytes, text: str) -> bytes:
    """An ONNX file that says what it is, with its checksum at the end.

    Fields of a protocol buffer may stand in any order and be repeated, so they are appended.

    Args:
        model: serialized ``onnx.ModelProto``.
        text: content of ``metadata.json``.
    """
    content = model + _property(METADATA_NAME, text.encode())
    return content + _checksum_of(hashlib.sha256(content).hexdigest())


def require_whole(path: Path) -> None:
    """Compare a file with the checksums that are in it.

    Raises:
        ClimSimError: if it is no exported model, is cut short, was damaged, or cannot be read.
    """
    try:
        if form_of(path) == ONNX:
            _compare_checksum(path)
        else:
            check_zip(path)
    except zipfile.BadZipFile as error:
        if not zipfile.is_zipfile(path):
            raise unreadable_form(path) from error
        raise ClimSimError(
            f"{path}: was damaged after it was written ({error}): copy or export it again"
        ) from error
    except OSError as error:
        raise refusal(error, path) or ClimSimError(f"{path}: cannot be read ({error})") from error


def unreadable_form(path: Path) -> ClimSimError:
    """The error for a file that has not the form that its name promises."""
    if archived(path, _PICKLE_ENTRY) and form_of(path) is None:
        return ClimSimError(
            f"{path}: expected an exported model, found a checkpoint of PyTorch: export it first "
            f"(climsim export checkpoint={path} out=...)"
        )
    article = "an" if promised_form(path)[0] in "AO" else "a"
    return ClimSimError(
        f"{path}: expected {article} {promised_form(path)}, found something else or a truncated "
        "one: export it again"
    )


def _compare_checksum(path: Path) -> None:
    """Only a file of this package has a checksum; others are taken as they are."""
    size, expected = path.stat().st_size, _onnx_property(path, _CHECKSUM).decode(errors="replace")
    if not expected and not _onnx_property(path, METADATA_NAME):
        return
    last = _checksum_of(expected)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        left = size - len(last)
        while left > 0 and (block := stream.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
        at_end = stream.read() == last
    if not at_end or digest.hexdigest() != expected:
        raise ClimSimError(
            f"{path}: was damaged or changed after it was written (its content does not fit its "
            "checksum): copy or export it again"
        )


def _begins_as_onnx(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(1) == _FIRST_ONNX_BYTE
    except OSError:
        return False


def _is_onnx(path: Path) -> bool:
    """Whether a file is a protocol buffer to its end, with a graph."""
    if not _begins_as_onnx(path):
        return False
    with path.open("rb") as stream:
        numbers = [number for number, _ in _fields(stream, path.stat().st_size)]
    return _GRAPH in numbers


def _onnx_property(path: Path, name: str) -> bytes:
    """A value of ``metadata_props``; empty where there is none."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            for number, end in _fields(stream, size):
                if number == _PROPERTIES:
                    key, value = _key_and_value(stream, end)
                    if key == name.encode():
                        return value
    except (OSError, ValueError):
        return b""
    return b""


def _key_and_value(stream: IO[bytes], end: int) -> tuple[bytes, bytes]:
    """The two texts of an ``onnx.StringStringEntryProto`` that ends there."""
    parts = {1: b"", 2: b""}
    for number, stop in _fields(stream, end):
        parts[number] = stream.read(stop - stream.tell())
    return parts[1], parts[2]


def _fields(stream: IO[bytes], end: int) -> Iterator[tuple[int, int]]:
    """Number and end of each field of a protocol buffer; the stream stands at its content.

    Raises:
        ValueError: if this is none.
    """
    while (start := stream.tell()) < end:
        number, kind = divmod(_varint(stream), 8)
        sizes = {_VARINT: 0, _FIXED64: 8, _FIXED32: 4}
        if kind == _BYTES:
            size = _varint(stream)
        elif kind in sizes:
            size = sizes[kind]
            if kind == _VARINT:
                _varint(stream)
        else:
            raise ValueError(f"no protocol buffer: field of kind {kind} at byte {start}")
        stop = stream.tell() + size
        if stop > end:
            raise ValueError(f"no protocol buffer: field at byte {start} ends after the file")
        yield number, stop
        stream.seek(stop)


def _varint(stream: IO[bytes]) -> int:
    """A number in groups of 7 bits, the lowest first."""
    value = 0
    for i in range(_LONGEST_VARINT):
        byte = stream.read(1)
        if not byte:
            raise ValueError("no protocol buffer: it ends within a number")
        value |= (byte[0] & 0x7F) << (7 * i)
        if byte[0] < 0x80:
            return value
    raise ValueError("no protocol buffer: a number is too long")


def _property(name: str, value: bytes) -> bytes:
    """One entry of ``metadata_props``, serialized."""
    entry = _field(1, name.encode()) + _field(2, value)
    return _field(_PROPERTIES, entry)


def _checksum_of(digest: str) -> bytes:
    return _property(_CHECKSUM, digest.encode())


def _field(number: int, content: bytes) -> bytes:
    return bytes([8 * number + _BYTES]) + _written_varint(len(content)) + content


def _written_varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
