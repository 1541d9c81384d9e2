"""What a value must be: one vocabulary, and one phrasing, ``key: expected ..., found ...``.

A whole number may stand where a number is expected, and a number where a text is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from climsim.errors import ClimSimError, resembling

TYPE_NAMES: Mapping[object, str] = MappingProxyType(
    {bool: "true or false", int: "integer", float: "number", str: "text"}
)
"""Types of plain values as a reader writes them."""
_NONE_RENAMED: Mapping[str, str] = MappingProxyType({})


def refused(key: str, expected: str, found: object, remedy: str = "") -> ClimSimError:
    """Build the error for a value that cannot be taken.

    Args:
        key: dotted key, argument or file and key.
        expected: what was expected.
        found: the value.
        remedy: what to do, where the expectation does not say it.

    Returns:
        The error, to be raised by the caller.
    """
    rest = f": {remedy}" if remedy else ""
    return ClimSimError(f"{key}: expected {expected}, found {found!r}{rest}")


def require(key: str, value: object, holds: bool, expected: str, remedy: str = "") -> None:
    """Refuse a value unless a condition holds.

    Args:
        key: of the value, as the user writes it.
        value: to be checked.
        holds: whether it can be taken.
        expected: what was expected, for the message.
        remedy: what to do, where the expectation does not say it.

    Raises:
        ClimSimError: if the condition does not hold; the same is true of every check below.
    """
    if not holds:
        raise refused(key, expected, value, remedy)


def whole(key: str, value: object, least: int = 0, remedy: str = "") -> None:
    """Refuse what is no whole number, or a smaller one."""
    holds = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(key, value, holds, f"a whole number >= {least}", remedy)


def at_least(key: str, value: float, least: float = 0, unit: str = "") -> None:
    """Refuse a smaller number, an infinite one, and NaN."""
    holds = least <= value < math.inf
    require(key, value, holds, f"a finite number >= {least:g}{f' {unit}' if unit else ''}")


def positive(key: str, value: float) -> None:
    """Refuse 0, negative and infinite numbers, and NaN."""
    require(key, value, 0 < value < math.inf, "a positive, finite number")


def between(key: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside the closed interval, and NaN."""
    require(key, value, low <= value <= high, f"a number from {low:g} to {high:g}")


def one_of(
    key: str,
    value: object,
    choices: Collection[object],
    renamed: Mapping[str, str] = _NONE_RENAMED,
) -> None:
    """Refuse what is none of the choices; a former word of one is answered by the present one."""
    if isinstance(value, str) and value in renamed:
        raise ClimSimError(f"{key}: {value!r} was renamed: write {renamed[value]}")
    if value not in choices:
        names = [str(choice) for choice in choices]
        raise refused(key, f"one of {', '.join(names)}", value, resembling(str(value), names))


def each_of(key: str, values: Sequence[object], choices: Collection[object]) -> None:
    """Refuse a list with an entry that is none of the choices."""
    for value in values:
        one_of(key, value, choices)


def different(key: str, values: Sequence[object]) -> None:
    """Refuse a list in which an entry stands twice."""
    require(
        key, list(values), len(set(values)) == len(values), "different entries", "give each once"
    )


def as_number(value: object) -> object:
    """A whole number as a number; all else as it is."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_text(value: object) -> object:
    """A number as a text; all else as it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


@dataclass(frozen=True)
class Checks:
    """The fields of a configuration, checked by name from its ``__post_init__``.

    Fields that are None are left alone: whether they may be follows from their type.

    Attributes:
        owner: the configuration.
        group: what stands before its keys, such as ``trainer``; empty at the top.
    """

    owner: object
    group: str = ""

    def whole(self, *names: str, least: int = 0) -> None:
        """Refuse what is no whole number, or a smaller one."""
        for key, value in self._given(names):
            whole(key, value, least)

    def at_least(self, least: float, *names: str, unit: str = "") -> None:
        """Refuse smaller numbers."""
        for key, value in self._given(names):
            at_least(key, value, least, unit)

    def positive(self, *names: str) -> None:
        """Refuse 0 and negative numbers."""
        for key, value in self._given(names):
            positive(key, value)

    def between(self, low: float, high: float, *names: str) -> None:
        """Refuse numbers outside the closed interval."""
        for key, value in self._given(names):
            between(key, value, low, high)

    def one_of(
        self,
        choices: Collection[object],
        *names: str,
        renamed: Mapping[str, str] = _NONE_RENAMED,
    ) -> None:
        """Refuse what is none of the choices (see `one_of`)."""
        for key, value in self._given(names):
            one_of(key, value, choices, renamed)

    def each_of(self, choices: Collection[object], *names: str) -> None:
        """Refuse lists with an entry that is none of the choices."""
        for key, value in self._given(names):
            each_of(key, value, choices)

    def some(self, thing: str, *names: str) -> None:
        """Refuse fields that are all None or empty; at least one of a thing has to be given."""
        if not any(value for _, value in self._given(names)):
            keys = ", ".join(self.key(name) for name in names)
            raise ClimSimError(f"{keys}: expected at least one {thing}")

    def key(self, name: str) -> str:
        """The dotted key of a field."""
        return f"{self.group}.{name}" if self.group else name

    def _given(self, names: Sequence[str]) -> list[tuple[str, Any]]:
        return [
            (self.key(name), value)
            for name in names
            if (value := getattr(self.owner, name)) is not None
        ]
