"""What the dataclass of a configuration says about its keys: type, meaning and default.

Meanings live under ``Attributes:`` of the dataclass; help, reference and errors read them here.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from climsim.data.store.address import StoreUrl
from climsim.validation import TYPE_NAMES

Hint: TypeAlias = object
"""The type of a field, as `typing.get_type_hints` gives it: a class, a union or a generic."""
Values: TypeAlias = dict[str, object]
"""Plain values of a configuration, nested or by dotted key: text, numbers, truth, null, and lists
and dictionaries of those."""
Options: TypeAlias = Mapping[str, Sequence[type]]
"""For keys whose values have keys of their own choice, the classes that say what those mean."""
_NO_OPTIONS: Options = types.MappingProxyType({})
MISSING = "???"
"""Default of a key that must be given."""
_TYPE_NAMES: dict[Hint, str] = {**TYPE_NAMES, Path: "path", StoreUrl: "URL"}


@dataclass(frozen=True)
class Key:
    """One configuration key.

    Attributes:
        name: dotted.
        type: as a reader writes it.
        default: as text; empty where it must be given.
        meaning: one sentence; empty where the dataclass does not say.
    """

    name: str
    type: str
    default: str
    meaning: str


def meanings(cls: type) -> dict[str, str]:
    """Name and text of each entry below ``Attributes:`` of a class and those that it extends."""
    found: dict[str, str] = {}
    for part in reversed(cls.__mro__):
        _, _, block = inspect.cleandoc(part.__doc__ or "").partition("Attributes:\n")
        entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", block, re.MULTILINE)
        found |= {name: " ".join(words.replace("``", "`").split()) for name, words in entries}
    return found


def members_of(hint: Hint) -> tuple[Hint, ...]:
    """The types that a value may have: those of a union, or the one; null is ``NoneType``."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def is_list(hint: Hint) -> bool:
    """Whether a value of this type is a list; null may be allowed beside it."""
    return any(typing.get_origin(member) in (tuple, list) for member in members_of(hint))


def element(hint: Hint) -> Hint:
    """Type of the elements of a list."""
    inner = next(m for m in members_of(hint) if typing.get_origin(m) in (tuple, list))
    return typing.get_args(inner)[0]


def is_open(hint: Hint) -> bool:
    """Whether a value of this type has keys of its own choice."""
    return typing.get_origin(hint) is dict


def is_text(hint: Hint) -> bool:
    """Whether a value of this type is a text or path and nothing else but null."""
    kinds = set(members_of(hint)) - {type(None)}
    texts = [isinstance(kind, type) and issubclass(kind, str | Path) for kind in kinds]
    return bool(texts) and all(texts)


def nested(hint: Hint) -> type | None:
    """The dataclass in a hint such as ``Config`` or ``Config | None``, if there is one."""
    classes = (member for member in members_of(hint) if isinstance(member, type))
    return next((cls for cls in classes if dataclasses.is_dataclass(cls)), None)


def hints(cls: type) -> dict[str, Hint]:
    """Type of every field of a dataclass."""
    known = typing.get_type_hints(cls)
    return {field.name: known[field.name] for field in dataclasses.fields(cls)}


def has_default(field: dataclasses.Field[object]) -> bool:
    """Whether a field of a dataclass may be left out."""
    return not (
        field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )


def hint_of(cls: type, name: str) -> Hint:
    """Type of a dotted key; None where it is unknown or lies in an open dictionary."""
    first, _, rest = name.partition(".")
    hint = hints(cls).get(first)
    if not rest:
        return hint
    inner = nested(hint)
    return None if inner is None else hint_of(inner, rest)


def type_text(hint: Hint) -> str:
    """A type as a reader writes it: ``list of text`` for ``tuple[str, ...]``."""
    kinds = members_of(hint)
    if len(kinds) > 1:
        parts = [type_text(kind) for kind in kinds if kind is not type(None)]
        return " or ".join([*parts, *(["null"] if type(None) in kinds else [])])
    if is_list(hint):
        return f"list of {type_text(element(hint))}"
    if is_open(hint) or dataclasses.is_dataclass(hint):
        return "keys and values"
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f"`{a}`" for a in typing.get_args(hint))
    return _TYPE_NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def describe_key(cls: type, name: str, options: Options = _NO_OPTIONS) -> tuple[str, str]:
    """Type and meaning of a dotted key of a configuration dataclass.

    Args:
        cls: the dataclass.
        name: of the key.
        options: classes of the keys in open dictionaries, by the name of the dictionary.
    """
    first, _, rest = name.partition(".")
    hint = hints(cls).get(first)
    if rest and (inner := nested(hint)) is not None:
        return describe_key(inner, rest)
    option = rest.partition(".")[0]
    for described in options.get(first, ()):
        if option in hints(described):
            return describe_key(described, rest)
    return type_text(hint), meanings(cls).get(first, "")


def keys(cls: type, defaults: Values, options: Options = _NO_OPTIONS) -> list[Key]:
    """Every key of a configuration in the order of its fields.

    Args:
        cls: its dataclass.
        defaults: dotted keys and their default values.
        options: classes of the keys in open dictionaries, by the name of the dictionary.
    """
    found = []
    for name, value in defaults.items():
        kind, meaning = describe_key(cls, name, options)
        found.append(Key(name, kind, default_text(value), meaning))
    return found


def dataclass_keys(cls: type, prefix: str) -> list[Key]:
    """Keys of a dataclass whose defaults stand in the class itself."""
    texts, found = meanings(cls), []
    kinds = hints(cls)
    for field in dataclasses.fields(cls):
        given = field.default is not dataclasses.MISSING
        text = default_text(field.default) if given else ""
        kind = type_text(kinds[field.name])
        found.append(Key(prefix + field.name, kind, text, texts.get(field.name, "")))
    return found


def default_text(value: object) -> str:
    """A default as it is written on the command line."""
    if value == MISSING:
        return ""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list | tuple):
        return ",".join(default_text(item) for item in value) or "[]"
    return '""' if value == "" else str(value)
