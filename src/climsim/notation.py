"""How numbers, units and places are written for a reader: the one home of these rules."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

UNKNOWN: Final = "–"
"""Stands where a number is not known."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_POWER = re.compile(r"(?<=[A-Za-z])-?\d+")
_LARGEST, _SMALLEST = 1e9, 1e-3
"""Numbers beyond these are written with a power of ten."""


def written(value: float, digits: int = 3, unit: str = "") -> str:
    """A number with a few significant digits, and its unit.

    Args:
        value: the number; one that is not finite is written as a dash.
        digits: significant digits; whole numbers keep all of theirs.
        unit: in CF or display spelling; empty for none.
    """
    if not math.isfinite(value):
        return UNKNOWN
    shown = _magnitude(abs(value), digits)
    sign = "−" if value < 0 and any(c in "123456789" for c in shown) else ""
    return f"{sign}{shown} {unit_in_words(unit)}".rstrip()


def _magnitude(size: float, digits: int) -> str:
    if size and not _SMALLEST <= size < _LARGEST:
        mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    decimals = 0
    if not float(size).is_integer():
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{size:,.{decimals}f}" if size >= 1e4 else f"{size:.{decimals}f}"


def text_table(rows: Sequence[Sequence[str]], left: int = 0) -> list[str]:
    """Lines of a table of plain text for the terminal.

    Args:
        rows: cells of each row, the header first; all rows are of one length.
        left: columns, from the first, whose cells begin together; those of the others end together.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        (
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return ["  ".join(cells).rstrip() for cells in aligned]


def days(number: float) -> str:
    """A length of time in days."""
    shown = f"{number:.3g}"
    return f"{shown} day" if shown == "1" else f"{shown} days"


def unit_in_words(unit: str) -> str:
    """A unit in CF spelling with raised powers: ``kg m-2 s-1`` becomes ``kg m⁻² s⁻¹``."""
    return "" if unit == "1" else _POWER.sub(lambda found: found[0].translate(_SUPERSCRIPT), unit)


def latitude(degrees: float) -> str:
    """Whole degrees north or south of the equator."""
    return f"{abs(degrees):.0f}° {'N' if degrees >= 0 else 'S'}"


def longitude(degrees: float) -> str:
    """Whole degrees east or west of Greenwich, whether counted to 180 or to 360."""
    east = (degrees + 180.0) % 360.0 - 180.0
    return f"{abs(east):.0f}° {'E' if east >= 0 else 'W'}"


def position(lat: float, lon: float) -> str:
    """A place on the globe."""
    return f"{latitude(lat)}, {longitude(lon)}"
