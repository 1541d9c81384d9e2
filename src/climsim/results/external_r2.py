"""Offline R2 of other studies, as they give it in a table."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from climsim.arrays import Array
from climsim.errors import ClimSimError
from climsim.system import refusal
from climsim.variables import OUTPUTS

COLUMNS: Final = ("output", "level", "r2")


@dataclass(frozen=True)
class ExternalR2:
    """R2 of a model of another study.

    Attributes:
        label: name of the file, which figures show.
        values: (level,) of a tendency, (1,) of a surface flux, by output.
    """

    label: str
    values: Mapping[str, Array]


def _no_table(path: Path) -> ClimSimError:
    return ClimSimError(
        f"{path}: expected a CSV file with the columns {', '.join(COLUMNS)}, found none such"
    )


def read_external_r2(path: Path, levels: int) -> ExternalR2:
    """Read a CSV file with the columns of `COLUMNS`.

    Args:
        path: of the file; a surface flux has an empty level, level 0 is the model top.
        levels: number of levels of a tendency.

    Raises:
        ClimSimError: if the file is missing, lacks a column, or names another output or level.
    """
    try:
        with path.open(newline="") as stream:
            table = csv.DictReader(stream)
            rows = [{key: row[key] for key in COLUMNS} for row in table]
            missing = set(COLUMNS) - set(table.fieldnames or ())
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise refusal(error, path) or _no_table(path) from error
    if missing or not rows:
        raise _no_table(path)
    by_output: dict[str, dict[int, float]] = defaultdict(dict)
    for number, row in enumerate(rows, start=2):
        try:
            by_output[row["output"]][int(row["level"] or 0)] = float(row["r2"])
        except (TypeError, ValueError) as error:
            raise ClimSimError(
                f"{path}: line {number}: expected a level and a number, found {row}"
            ) from error
    for name, found in by_output.items():
        size = levels if name in OUTPUTS.profiles else 1
        if name not in OUTPUTS.names or set(found) != set(range(size)):
            raise ClimSimError(
                f"{path}: expected outputs such as {OUTPUTS.names[0]} with {levels} levels, or "
                f"fluxes without, found {name!r} with {len(found)}: give every level once"
            )
    values = {
        name: np.array([found[level] for level in sorted(found)])
        for name, found in by_output.items()
    }
    return ExternalR2(path.stem, values)
