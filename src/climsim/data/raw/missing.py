"""Steps that are missing in a raw record: within its runs, not between them.

A record may hold several runs: members in folders and years of their own, states that a model
visited, pairs with noise at every n-th step. No step is missing between the dates of two runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.constants import DAYS_PER_YEAR, SECONDS_PER_DAY
from climsim.errors import some_of

_RUNS_APART = int(DAYS_PER_YEAR * SECONDS_PER_DAY)
"""Least pause in a folder that begins another run [s]; a shorter one is a gap in the record."""


@dataclass(frozen=True)
class MissingSteps:
    """What is absent in a record.

    Attributes:
        seconds: (step,) time stamps of the absent steps, ascending.
        notes: where steps lie further apart than was asked for, one line for each distance.
    """

    seconds: NDArray[np.int64]
    notes: tuple[str, ...]


def find_missing(
    files: Iterable[tuple[Path, int]], roots: Sequence[Path], spacing: int
) -> MissingSteps:
    """Find the steps that are absent within the runs of a record.

    Files of one run lie in one folder, or in folders of dates in it: those whose names begin with a
    digit, such as ``0001-02``. In a folder a pause of a year or more begins another run. Where all
    steps of a run lie further apart than asked for, the most frequent distance counts.

    Args:
        files: step files and their time stamps [s].
        roots: folders that they lie in or below.
        spacing: distance of the steps that should be there [s].
    """
    folders: dict[Path, list[int]] = defaultdict(list)
    for path, seconds in files:
        folders[path.parent].append(seconds)
    runs: dict[str, set[int]] = defaultdict(set)
    for folder, times in folders.items():
        runs[_run_folder(folder, roots)].update(times)
    absent: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    wider: dict[int, list[str]] = defaultdict(list)
    for name, found in sorted(runs.items()):
        for run in _runs(np.array(sorted(found), dtype=np.int64)):
            distance = _distance(run, spacing)
            absent += _between(run, distance)
            if distance > spacing and name not in wider[distance]:
                wider[distance].append(name)
    present = np.array(sorted(set().union(*runs.values())), dtype=np.int64)
    notes = (
        f"{some_of(names)}: steps lie {distance} s apart, not {spacing} s: looked for at that "
        "distance"
        for distance, names in sorted(wider.items())
    )
    return MissingSteps(np.setdiff1d(np.concatenate(absent), present), tuple(notes))


def _run_folder(folder: Path, roots: Sequence[Path]) -> str:
    """A folder without those of dates, from the root it lies in."""
    root = next(root for root in roots if folder.is_relative_to(root))
    parts = (part for part in folder.relative_to(root).parts if not part[0].isdigit())
    return "/".join(parts) or "."


def _runs(seconds: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The steps of a folder, cut where a run ends."""
    return np.split(seconds, np.flatnonzero(np.diff(seconds) >= _RUNS_APART) + 1)


def _distance(run: NDArray[np.int64], spacing: int) -> int:
    """Distance of the steps of a run [s]."""
    apart, counts = np.unique(np.diff(run), return_counts=True)
    # Steps that lie as asked for show that the others should: however many are missing.
    if not apart.size or apart[0] <= spacing:
        return spacing
    return int(apart[np.argmax(counts)])


def _between(run: NDArray[np.int64], distance: int) -> Iterator[NDArray[np.int64]]:
    """Time stamps that lack in each gap of a run."""
    for gap in np.flatnonzero(np.diff(run) > distance):
        yield np.arange(run[gap] + distance, run[gap + 1] - distance + 1, distance)
