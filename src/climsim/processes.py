"""Processes of a climate model's physics, and which of them the emulated term of a host holds.

A model replaces the emulated term, so it fits only a host that leaves out the same processes as the
one that made its training data. Hosts, raw files, stores, checkpoints and exported files say which
these are under one name; those that do not say are taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from climsim.errors import ClimSimError

EMULATED_ATTRIBUTE: Final = "emulated_processes"
"""Name under which hosts, files, stores and cards say what their emulated term holds."""
CLOUDS, CONVECTION, GRAVITY_WAVES = "clouds", "convection", "gravity_waves"
RADIATION, SURFACE, TURBULENCE = "radiation", "surface", "turbulence"
PROCESSES: Final[Mapping[str, str]] = {
    CLOUDS: "condensation on the grid and microphysics",
    CONVECTION: "deep and shallow convection",
    GRAVITY_WAVES: "drag of waves and mountains that the grid does not resolve",
    RADIATION: "heating by sunlight and by longwave radiation",
    SURFACE: "fluxes of heat, moisture and momentum from the surface",
    TURBULENCE: "turbulent mixing between layers",
}
"""What each process covers, by name."""


def read_processes(value: object, where: str) -> frozenset[str]:
    """Read names of processes: a set or list of them, or text with commas between.

    Args:
        value: of an attribute; None where there is none.
        where: that has it, for errors.

    Returns:
        The names; empty where nothing is said.

    Raises:
        ClimSimError: if it is something else, or a name is unknown.
    """
    names = value.split(",") if isinstance(value, str) else value
    listed = list(names) if isinstance(names, Iterable) else [names]
    found = [name.strip() if isinstance(name, str) else name for name in listed if name]
    known = frozenset(name for name in found if isinstance(name, str) and name in PROCESSES)
    if len(known) < len(set(map(str, found))):
        raise ClimSimError(
            f"{where}: {EMULATED_ATTRIBUTE}: expected names among {in_words(PROCESSES)}, found "
            f"{value!r}: correct them"
        )
    return known


def in_words(names: Iterable[str]) -> str:
    """Names in alphabetical order, with commas between."""
    return ", ".join(sorted(names))


def as_attribute(names: frozenset[str]) -> dict[str, list[str]]:
    """The attribute for JSON; nothing where no process is known."""
    return {EMULATED_ATTRIBUTE: sorted(names)} if names else {}


def agreed(said: Mapping[str, frozenset[str]], remedy: str) -> frozenset[str]:
    """What the emulated term holds according to all that say it.

    Args:
        said: names of processes by who says so; empty where nothing is said, which fits all.
        remedy: for the error.

    Returns:
        The names; empty where nothing says any.

    Raises:
        ClimSimError: naming the first two that differ.
    """
    known = {who: names for who, names in said.items() if names}
    if not known:
        return frozenset()
    first, expected = next(iter(known.items()))
    for who, found in known.items():
        if found != expected:
            raise ClimSimError(
                f"{who}: expected an emulated term of {in_words(expected)}, as {first} says, "
                f"found one of {in_words(found)}: {remedy}"
            )
    return expected
