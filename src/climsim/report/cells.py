"""Cells and tables of the report, and how numbers and units are written in them."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Any

_PLAIN = str.maketrans("", "", "${}")


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is shown.
        order: what the column is sorted by; None sorts last.
    """

    text: str
    order: float | str | None = None


@dataclass(frozen=True)
class Table:
    """A table that the reader can sort.

    Attributes:
        heads: names of the columns.
        rows: cells, one for each column.
        note: how to read it.
    """

    heads: tuple[str, ...]
    rows: list[list[Cell]]
    note: str = ""

    def csv(self) -> str:
        """Heads and texts of the cells as comma-separated values."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.heads)
        writer.writerows([cell.text for cell in row] for row in self.rows)
        return stream.getvalue()


def plain(text: str) -> str:
    """A symbol or unit of a figure without its mathematical markup."""
    superscript = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    parts = text.split("$")
    for i in range(1, len(parts), 2):
        inner = parts[i]
        if inner.startswith("^"):
            parts[i] = inner[1:].translate(_PLAIN).translate(superscript)
        else:
            parts[i] = inner.lstrip("_").translate(_PLAIN)
    return "".join(parts)


def number(value: Any, digits: int = 3) -> Cell:
    """Cell of a number with a few significant digits; a dash where it is not known."""
    value = float(value)
    if not math.isfinite(value):
        return Cell("–", None)
    if value.is_integer() and abs(value) < 1e5:
        return Cell(f"{int(value)}", value)
    magnitude = abs(value)
    if magnitude and (magnitude >= 1e5 or magnitude < 1e-3):
        return Cell(f"{value:.{digits - 1}e}", value)
    decimals = max(0, digits - 1 - (math.floor(math.log10(magnitude)) if magnitude else 0))
    return Cell(f"{value:.{decimals}f}", value)


def text(value: Any) -> Cell:
    """Cell of a text."""
    return Cell(str(value), str(value).lower())
