"""Which saved runs may be compared: how they ended and how long their means are."""

from __future__ import annotations

import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.evaluation.stability import UNSTABLE

SHORTEST_TEST = 10.0
"""A run that was asked for fewer days does not test survival [days].

The runs of docs/quick.md that became unstable within their 10 days did so after 0.2 to 7.4 of them:
models that become unstable pass shorter runs. That a run is stable for 10 days says nothing
about later ones.
"""
_SAME_LENGTH = 0.5
"""Means whose lengths differ by less are of the same length [days]."""


def became_unstable(runs: xarray.Dataset) -> NDArray[np.bool_]:
    """Which runs (run,) left their bounds."""
    return np.asarray(runs["status"].values.astype(str) == UNSTABLE)


def is_unstable(run: xarray.Dataset) -> bool:
    """Whether one run left its bounds."""
    return str(run["status"].values) == UNSTABLE


def reached_end(runs: xarray.Dataset) -> NDArray[np.bool_]:
    """Which runs (run,) stayed stable for as many days as they were asked for."""
    whole = np.asarray(runs["days"].values >= runs["days_wanted"].values)
    return whole & ~became_unstable(runs)


def days_alive(runs: xarray.Dataset) -> xarray.DataArray:
    """Days (run,) that runs stayed alive, as far as all of them tell; NaN where unknown.

    Known of a run that became unstable, and of one that reached the end of the shortest among
    those that stayed stable to their end: what follows that end is not known of all, and counts
    of none. A run that stopped before for another reason (killed, still going) tells nothing.

    Args:
        runs: online metrics along ``run``.
    """
    tested, unstable = tests_survival(runs), became_unstable(runs)
    ends = runs["days_wanted"].values[tested & reached_end(runs)]
    shortest = float(ends.min(initial=np.inf))
    known = tested & (unstable | (runs["days"].values >= shortest))
    return runs["days"].where(xarray.DataArray(known, dims="run")).clip(max=shortest)


def tests_survival(runs: xarray.Dataset) -> NDArray[np.bool_]:
    """Which runs (run,) say whether a model survives: long enough, or unstable before that."""
    return np.asarray(runs["days_wanted"].values >= SHORTEST_TEST) | became_unstable(runs)


def comparable(runs: xarray.Dataset) -> NDArray[np.bool_]:
    """Which runs (run,) may be compared by their time means.

    Those that stayed stable, or became unstable after the years that the mean is over, and whose
    mean is as long as the longest of these: shorter means are nearer to the start that all runs
    share, which flatters them. None where every run died before.

    Args:
        runs: online metrics along ``run``.
    """
    stable = ~became_unstable(runs)
    if runs.attrs.get("years", 0):
        stable |= runs["mean_days"].values >= runs.attrs["mean_window"] - _SAME_LENGTH
    return _longest(runs, stable)


def leading(runs: xarray.Dataset) -> NDArray[np.bool_]:
    """The runs of `comparable`; where every run became unstable, those that ran longest."""
    chosen = comparable(runs)
    return chosen if chosen.any() else _longest(runs, np.ones(chosen.shape, dtype=bool))


def _longest(runs: xarray.Dataset, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    days = np.where(among, runs["mean_days"].values, 0.0)
    return among & (days > 0) & (days >= days.max(initial=0.0) - _SAME_LENGTH)
