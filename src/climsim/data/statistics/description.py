"""A look at the variables of a store: their numbers, and the deciles of a reference beside them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.data.raw.features import memory_needed
from climsim.data.statistics.quantiles import PERCENTS
from climsim.data.statistics.statistics import Statistics
from climsim.data.store.opened import Store
from climsim.errors import ClimSimError
from climsim.notation import text_table
from climsim.variables import variable

_PROBABILITIES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class VariableSummary:
    """A variable in the steps looked at.

    Attributes:
        name: its name.
        mean: mean over everything.
        std: standard deviation.
        min: minimum.
        max: maximum.
        deciles: (3, level) or (3,) first decile, median, last decile.
        column_mean: (column,) mean over time of a scalar; empty for a profile.
    """

    name: str
    mean: float
    std: float
    min: float
    max: float
    deciles: Array
    column_mean: Array


@dataclass(frozen=True)
class ReferenceDeciles:
    """First decile, median and last decile of a variable of the reference, (level,) or (1,)."""

    low: Array
    median: Array
    high: Array


def summarize_variable(
    store: Store, name: str, split: str, steps: int, statistics: Statistics | None = None
) -> VariableSummary:
    """Summarize one variable over steps spread evenly over a split.

    Args:
        store: the store.
        name: the variable.
        split: the split.
        steps: number of steps.
        statistics: where to take every number from but the map; None for the steps themselves.

    Raises:
        ClimSimError: if no step of the split has the variable.
    """
    if statistics is not None and variable(name).profile:
        return _from_statistics(statistics, name, np.empty(0))
    rows = store.steps(split, memory_needed(name))
    if not rows.size:
        raise ClimSimError(f"{store.path}: no step of split {split} has {name}")
    values = store.values(name, spread(rows, steps)).astype(np.float64)
    flat = values.reshape(-1, *values.shape[2:])
    scalar = not variable(name).profile
    if statistics is not None:
        return _from_statistics(statistics, name, values.mean(axis=0))
    return VariableSummary(
        name=name,
        mean=float(values.mean()),
        std=float(values.std()),
        min=float(values.min()),
        max=float(values.max()),
        deciles=np.quantile(flat, _PROBABILITIES, axis=0),
        column_mean=values.mean(axis=0) if scalar else np.empty(0),
    )


def spread(rows: NDArray[np.intp], steps: int) -> NDArray[np.intp]:
    """At most a number of steps, spread evenly over those given."""
    if not rows.size:
        return rows
    return rows[np.unique(np.linspace(0, rows.size - 1, min(steps, rows.size)).astype(int))]


def _from_statistics(statistics: Statistics, name: str, column_mean: Array) -> VariableSummary:
    values = statistics[name]
    rows = [PERCENTS.index(round(100 * p)) for p in _PROBABILITIES]
    return VariableSummary(
        name=name,
        mean=values.column_mean,
        std=values.column_std,
        min=float(values.min.min()),
        max=float(values.max.max()),
        deciles=values.quantiles[rows],
        column_mean=column_mean,
    )


def read_reference(path: str | Path) -> dict[str, ReferenceDeciles]:
    """Read the deciles of a reference model by variable.

    Raises:
        ClimSimError: if the file is missing or lacks a column.
    """
    rows: dict[tuple[str, str], list[list[float]]] = {}
    try:
        with Path(path).open(newline="") as stream:
            for row in csv.DictReader(stream):
                values = [float(row[k] or "nan") for k in ("decile10", "median", "decile90")]
                rows.setdefault((row.get("file", ""), row["variable"]), []).append(values)
    except FileNotFoundError as error:
        raise ClimSimError(f"reference={path}: no such file") from error
    except (KeyError, ValueError, TypeError, csv.Error, UnicodeDecodeError) as error:
        raise ClimSimError(
            f"reference={path}: expected columns variable, level, decile10, median, decile90 of "
            f"numbers ({type(error).__name__}: {error})"
        ) from error
    # The state before physics comes first in the file and is what a store holds.
    result: dict[str, ReferenceDeciles] = {}
    for (_, name), values_by_level in rows.items():
        result.setdefault(name, ReferenceDeciles(*np.array(values_by_level).T))
    return result


def summary_table(summaries: Sequence[VariableSummary]) -> list[str]:
    """Lines of a table of the numbers of some variables, for the terminal."""
    header = ("variable", "unit", "mean", "std", "min", "median", "max")
    rows = [
        (
            s.name,
            variable(s.name).unit,
            *(f"{v:.4g}" for v in (s.mean, s.std, s.min, float(np.median(s.deciles[1])), s.max)),
        )
        for s in summaries
    ]
    return text_table((header, *rows), left=2)
