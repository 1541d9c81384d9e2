"""The one error a user of the library or of the command line has to know."""

from __future__ import annotations

from collections.abc import Iterable


class ClimSimError(Exception):
    """A problem with what the user gave: file, key, shape, value.

    The message is one line that names the file or key, what was expected, what was found and what
    to do. The command line prints it alone; ``--debug`` adds the traceback.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ClimSimError:
    """Build the error for a name that is not in a registry or table.

    Args:
        kind: what the name should denote, such as ``"network"``.
        name: the name that was asked for.
        known: the names that exist.

    Returns:
        The error, to be raised by the caller.
    """
    return ClimSimError(f"unknown {kind} {name!r}: expected one of {', '.join(sorted(known))}")


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
