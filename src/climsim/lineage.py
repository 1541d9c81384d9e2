"""What each kind of product says about its making, and by what it is known again.

One row of `FOLDERS` or `FILES` for each kind; a product is recognized by what it holds, never by
how it is called. `climsim.provenance` follows the chain from row to row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from climsim.errors import ClimSimError
from climsim.exported_file import form_of, metadata_text, promised_form, unreadable_form
from climsim.files import file_hash, read_json, stored_attributes
from climsim.products import archived, attributes_of, mentions, note_of, noted

Notes = Mapping[str, object]
"""What a product says about its making: the entries of `climsim.files.provenance`, and others."""
_RECORD, _TRAINING, _FIGURES, _BEST = "record.json", "training.json", "index.json", "best.ckpt"
_GENERATED = Path(".generate") / _RECORD
_REVISION = "git_revision"
_EMBEDDED = re.compile(r'<script[^>]*id="provenance"[^>]*>(.*?)</script>', re.DOTALL)


@dataclass(frozen=True)
class Source:
    """A kind of product in a chain.

    Attributes:
        label: what it is, in words.
        recognizes: whether a path is one.
        made_by: what it says about its making; raises `ClimSimError` for a damaged one.
        identity: the hashes that it can be known by; None where there is none to compare.
    """

    label: str
    recognizes: Callable[[Path], bool]
    made_by: Callable[[Path], Notes]
    identity: Callable[[Path], tuple[str, ...] | None]


def source_of(path: Path) -> Source | None:
    """The kind of a product; None for what is none.

    Raises:
        ClimSimError: if its name promises a form that it does not have.
    """
    rows = FOLDERS if path.is_dir() else FILES
    found = next((source for source in rows if source.recognizes(path)), None)
    if found is None and path.suffix in _PROMISED:
        _PROMISED[path.suffix](path)
    return found


def decoded(path: Path, value: object) -> dict[str, object]:
    """A mapping that a product holds as JSON, or as it is; empty where it holds none.

    Args:
        path: of the product, for the message.
        value: what it holds.

    Raises:
        ClimSimError: if it is a text that is not valid JSON.
    """
    if isinstance(value, str | bytes) and value:
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ClimSimError(
                f"{path}: its record of how it was made is not valid JSON ({error}): it was "
                "damaged or edited"
            ) from error
    return dict(value) if isinstance(value, dict) else {}


def _content(path: Path) -> tuple[str, ...]:
    return (file_hash(path),)


def _content_or_fingerprint(path: Path) -> tuple[str, ...]:
    fingerprint = attributes_of(path).get("fingerprint")
    return (*_content(path), str(fingerprint)) if fingerprint else _content(path)


def _none(path: Path) -> None:
    del path


def _attributes(path: Path) -> Notes:
    return stored_attributes(path)


def _store_identity(path: Path) -> tuple[str, ...]:
    return (str(stored_attributes(path).get("fingerprint", "")),)


def _run_identity(path: Path) -> tuple[str, ...] | None:
    # Here, not above: reading histories needs more than reading attributes.
    from climsim.evaluation.history import RunHistory
    from climsim.evaluation.online import run_summary

    try:
        return (run_summary(RunHistory.open(path)),)
    except ClimSimError:
        return None


def _json(path: Path) -> Notes:
    return decoded(path, read_json(path))


def _record(path: Path) -> Notes:
    values = _json(path)
    return decoded(path, values.get("made_by", values))


def _checkpoint(path: Path) -> Notes:
    # Here, not above: it loads torch, which few products need.
    from climsim.training.checkpoint import read_entry

    return decoded(path, read_entry(path).card.provenance)


def _exported(path: Path) -> Notes:
    """The metadata inside an exported model, without loading its network."""
    return decoded(path, metadata_text(path))


def _promised_model(path: Path) -> None:
    if form_of(path) != promised_form(path):
        raise unreadable_form(path)


def _is_note(path: Path, *keys: str) -> bool:
    """Whether a file is JSON with these keys; others are not read to their end."""
    with path.open("rb") as stream:
        begins = stream.read(1) == b"{"
    return begins and noted(path, *keys, damaged=False)


def _is_picture(path: Path) -> bool:
    """Whether a file is a PNG or PDF beside the index of its folder."""
    with path.open("rb") as stream:
        begins = stream.read(4) in (b"\x89PNG", b"%PDF")
    return begins and noted(path.parent / _FIGURES, _REVISION, damaged=False)


def _report(path: Path) -> Notes:
    found = _EMBEDDED.search(path.read_text(errors="replace"))
    return decoded(path, found[1] if found else None)


def _settings(path: Path) -> Notes:
    """Settings that a netCDF file was made with."""
    attributes = attributes_of(path)
    return decoded(path, attributes.get("configuration")) if _REVISION in attributes else {}


def _is_history(path: Path) -> bool:
    return bool(attributes_of(path)) and (path.parent / _RECORD).is_file()


def _first_output(folder: Path) -> Path | None:
    # Here, not above: most products are no raw data.
    from climsim.data.raw.walk import iterate_step_files

    return next((path for path in iterate_step_files(folder) if ".mlo." in path.name), None)


def _step_files(folder: Path) -> Notes:
    first = _first_output(folder)
    return {} if first is None else {**stored_attributes(first), "input_hashes": "{}"}


FOLDERS = (
    Source("store", lambda p: (p / "zarr.json").is_file(), _attributes, _store_identity),
    Source(
        "online run",
        lambda p: (p / _RECORD).is_file(),
        lambda p: _record(p / _RECORD),
        _run_identity,
    ),
    Source(
        "checkpoint",
        lambda p: (p / _TRAINING).is_file() and (p / _BEST).is_file(),
        lambda p: _checkpoint(p / _BEST),
        _none,
    ),
    Source("figures", lambda p: (p / _FIGURES).is_file(), lambda p: _json(p / _FIGURES), _none),
    Source(
        "raw step pairs",
        lambda p: (p / _GENERATED).is_file(),
        lambda p: _json(p / _GENERATED),
        _none,
    ),
    Source("raw step pairs", lambda p: _first_output(p) is not None, _step_files, _none),
)
"""Products that are folders; the first that recognizes a path is its kind."""
FILES = (
    Source(
        "statistics",
        lambda p: {"store_fingerprint", _REVISION} <= attributes_of(p).keys(),
        _attributes,
        _content_or_fingerprint,
    ),
    Source("online metrics", lambda p: "reference" in _settings(p), _attributes, _content),
    Source("offline metrics", lambda p: "model" in _settings(p), _attributes, _content),
    Source(
        "netCDF file",
        lambda p: _REVISION in attributes_of(p),
        _attributes,
        _content_or_fingerprint,
    ),
    Source("history", _is_history, lambda p: _record(p.parent / _RECORD), _content),
    Source("exported model", lambda p: bool(metadata_text(p)), _exported, _content),
    Source(
        "checkpoint",
        lambda p: b"climsim" in archived(p, "/data.pkl") and not metadata_text(p),
        _checkpoint,
        _content,
    ),
    Source("online run", lambda p: _is_note(p, "made_by"), _record, _content),
    Source("online run", lambda p: _is_note(p, "case", "status"), _record, _content),
    Source("figures", lambda p: _is_note(p, "figures"), _json, _content),
    Source("figures", lambda p: _is_note(p, "description"), _json, _content),
    Source("file", lambda p: _is_note(p, _REVISION), _json, _content),
    Source("report", lambda p: mentions(p, b'id="provenance"'), _report, _content),
    Source(
        "start state",
        lambda p: noted(note_of(p), _REVISION, "host_options", damaged=False),
        lambda p: _json(note_of(p)),
        _content,
    ),
    Source(
        "submission",
        lambda p: noted(note_of(p), _REVISION, damaged=False),
        lambda p: _json(note_of(p)),
        _content,
    ),
    Source(
        "figure",
        _is_picture,
        lambda p: _json(p.parent / _FIGURES),
        _content,
    ),
)
"""Products that are files; the first that recognizes a path is its kind."""
_PROMISED: dict[str, Callable[[Path], object]] = {
    ".nc": stored_attributes,
    ".json": read_json,
    ".ckpt": _checkpoint,
    ".pt": _promised_model,
    ".pt2": _promised_model,
    ".onnx": _promised_model,
}
"""What reads a file by the form that its name promises, and says what is wrong with it."""
