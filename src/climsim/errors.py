"""The one error a user of the library or of the command line has to know."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

_LIKENESS = 0.7
"""Least share of equal letters of two names that are taken for one another."""


class ClimSimError(Exception):
    """A problem with what the user gave: file, key, shape, value.

    The message is one line that names the file or key, what was expected, what was found and what
    to do. The command line prints it alone; ``--debug`` adds the traceback.
    """


def resembling(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, as the end of a message; empty where none is near.

    Args:
        name: the one that was given.
        known: the names that exist.
    """
    by_small = {text.lower(): text for text in known}
    near = difflib.get_close_matches(name.lower(), by_small, n=1, cutoff=_LIKENESS)
    return f"did you mean {by_small[near[0]]}?" if near else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ClimSimError:
    """Build the error for a name that is not in a registry or table.

    Args:
        kind: what the name should denote, such as ``"network"``.
        name: the name that was asked for.
        known: the names that exist.

    Returns:
        The error, to be raised by the caller.
    """
    names = sorted(known)
    near = resembling(name, names)
    return ClimSimError(
        f"unknown {kind} {name!r}: expected one of {', '.join(names)}{near and f': {near}'}"
    )


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, and how many more there are, for a message.

    Args:
        names: all of them.
        most: that are named.
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def members_failed(reasons: Mapping[str, str], total: int) -> ClimSimError:
    """The error about members of an ensemble, once the others have ended, to be raised.

    Args:
        reasons: why each failed, by its name.
        total: members in all.
    """
    texts = "; ".join(f"{name}: {text}" for name, text in reasons.items())
    return ClimSimError(f"{len(reasons)} of {total} members failed: {texts}")


def missing_extra(what: str, package: str, extra: str) -> ClimSimError:
    """Build the error for an optional package that is not installed.

    Args:
        what: option or command that needs it.
        package: what is missing.
        extra: the extra of this package that brings it.

    Returns:
        The error, to be raised by the caller.
    """
    return ClimSimError(
        f"{what}: expected {package}, found none: run in the checkout of this package: "
        f"pip install -c constraints.txt -e '.[{extra}]'"
    )
