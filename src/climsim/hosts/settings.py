"""From the options of a host, as a user types them, to the dataclass that the host takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Protocol, TypeVar, get_args, get_origin, get_type_hints, runtime_checkable

import cftime
import dacite

from climsim.validation import TYPE_NAMES, as_number, as_text, refused

GROUP = "host_options"
"""Key of a run, and of what else takes a host, that holds the options."""
T = TypeVar("T")
_PLAIN = dacite.Config(cast=[Path, tuple], type_hooks={float: as_number, str: as_text})


@runtime_checkable
class Dated(Protocol):
    """Options of a host that say when it begins, before it is built."""

    def start_date(self, restart: Path | None = None) -> cftime.DatetimeNoLeap:
        """Date of a start.

        Args:
            restart: restart file of the host; None for the start that the options choose.

        Raises:
            ClimSimError: if the file cannot be read.
        """
        ...


def as_texts(options: Mapping[str, object]) -> dict[str, str]:
    """Options as text, in the order of keys: how a product of a host notes them to be compared."""
    return {key: str(value) for key, value in sorted(options.items())}


def build_settings(cls: type[T], options: Mapping[str, object]) -> T:
    """Build the dataclass of a host's options.

    Args:
        cls: the dataclass.
        options: values by field; text becomes a path, a list a tuple, one value a tuple of one and
            a whole number a number where the field wants it.

    Raises:
        ClimSimError: naming the option of the wrong type, or what the dataclass refuses.
    """
    hints = get_type_hints(cls)
    for key, value in options.items():
        # dacite takes true for 1.
        if isinstance(value, bool) and bool not in (hints[key], *get_args(hints[key])):
            raise refused(f"{GROUP}.{key}", _in_words(hints[key]), value)
    values = {
        key: (value,) if isinstance(value, str) and get_origin(hints[key]) is tuple else value
        for key, value in options.items()
    }
    try:
        return dacite.from_dict(cls, values, _PLAIN)
    except dacite.WrongTypeError as error:
        wanted = _in_words(error.field_type)
        raise refused(f"{GROUP}.{error.field_path}", wanted, error.value) from error


def _in_words(hint: object) -> str:
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    names = {**TYPE_NAMES, NoneType: "null"}
    return " or ".join(names.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds)
