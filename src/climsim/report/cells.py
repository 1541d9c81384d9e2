"""Cells and tables of the report, and how numbers and units are written in them."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, replace
from typing import SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from climsim.notation import UNKNOWN, written


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is shown.
        order: what the column is sorted by; None sorts last.
        exact: what tables for programs hold in its place; None for the text.
    """

    text: str
    order: float | str | None = None
    exact: str | None = None

    @property
    def unknown(self) -> bool:
        """Whether it says nothing."""
        return self.text in ("", UNKNOWN)


@dataclass(frozen=True)
class Table:
    """A table that the reader can sort.

    Attributes:
        heads: names of the columns.
        rows: cells, one for each column; the first names the row.
        note: how to read it.
        larger_first: heads of the columns in which a larger value is the better one.
    """

    heads: tuple[str, ...]
    rows: list[list[Cell]]
    note: str = ""
    larger_first: frozenset[str] = frozenset()

    @property
    def filled(self) -> Table:
        """The table without the columns in which no row says anything."""
        columns = range(len(self.heads))
        kept = [i for i in columns if i == 0 or not all(row[i].unknown for row in self.rows)]
        rows = [[row[i] for i in kept] for row in self.rows]
        return replace(self, heads=tuple(self.heads[i] for i in kept), rows=rows)

    def csv(self) -> str:
        """Heads and cells as comma-separated values; numbers as programs read them."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.heads)
        writer.writerows(
            [cell.text if cell.exact is None else cell.exact for cell in row] for row in self.rows
        )
        return stream.getvalue()


def number(value: SupportsFloat, digits: int = 3) -> Cell:
    """Cell of a number with a few significant digits; a dash where it is not known."""
    exact = float(value)
    known = math.isfinite(exact)
    return Cell(written(exact, digits), exact if known else None, f"{exact:.6g}" if known else "")


def counted(values: ArrayLike) -> str:
    """Whole numbers as one, or as their range where they differ."""
    low, high = f"{int(np.min(values)):,}", f"{int(np.max(values)):,}"
    return low if low == high else f"{low} to {high}"


def text(value: object) -> Cell:
    """Cell of a text."""
    return Cell(str(value), str(value).lower())
