"""Members ranked by short runs from many starts, and which of them chance may have put in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.evaluation.members import Member
from climsim.evaluation.online_dataset import FLOOR, MEMBER
from climsim.evaluation.saved import open_metrics
from climsim.notation import written
from climsim.results.intervals import LEVEL, SEED, Interval
from climsim.results.labels import member_label
from climsim.results.measures import Measure
from climsim.results.seeds import groups_of, rows_of
from climsim.results.stability import became_unstable
from climsim.results.time_axis import DAYS

FEWEST_STARTS: Final = 3
"""With fewer starts than these an interval says nothing."""
_DRAWS: Final = 4000
"""Samples of the bootstrap: the ends of an interval then vary by a hundredth of its length."""


@dataclass(frozen=True)
class Ranked:
    """The runs of a member, or of all seeds of a network and recipe.

    Attributes:
        network: name of the network.
        recipe: name of the recipe.
        seed: of the member; -1 for all seeds together.
        errors: (seed, start) of the measure; NaN of runs that were unstable before, or are missing.
        runs: number of runs.
        stable: number of those that did not become unstable.
    """

    network: str
    recipe: str
    seed: int
    errors: Array
    runs: int
    stable: int

    @property
    def name(self) -> str:
        """In words."""
        return member_label(self.network, self.recipe, self.seed)

    @property
    def label(self) -> str:
        """As files are named."""
        return Member(self.network, self.recipe, self.seed).label

    @property
    def lost(self) -> int:
        """Number of runs that became unstable."""
        return self.runs - self.stable

    @property
    def known_starts(self) -> int:
        """Number of starts from which a run reached the day of the measure."""
        return int(np.isfinite(self.errors).any(axis=0).sum())

    @property
    def mean(self) -> float:
        """Over all that ran to the day of the measure; NaN where none did."""
        return float(_mean(self.errors.ravel()))

    @property
    def order(self) -> tuple[float, float]:
        """Place in the ranking: whoever loses more runs comes later, then the larger error."""
        return self.lost, self.mean if np.isfinite(self.mean) else np.inf

    @cached_property
    def interval(self) -> Interval:
        """The mean, and where chance may have put it."""
        return resampled_mean(self.errors)


@dataclass(frozen=True)
class Ranking:
    """Networks and recipes, best first.

    Attributes:
        measure: what they are ranked by.
        day: of the runs, at which the measure is taken.
        rows: networks and recipes in order.
        unrelated: how far two days of the reference are apart that share no weather; NaN where
            unknown.
        floor: the measure of full physics from perturbed starts; NaN where there is none.
    """

    measure: Measure
    day: float
    rows: tuple[Ranked, ...]
    unrelated: float
    floor: float

    @property
    def tests_chance(self) -> bool:
        """Whether there are enough starts for intervals."""
        return max((row.known_starts for row in self.rows), default=0) >= FEWEST_STARTS

    @cached_property
    def behind(self) -> tuple[Interval | None, ...]:
        """By how much each is behind the first, start by start; None for the first itself.

        Its interval is so wide that chance puts any of them behind once in twenty rankings
        (Bonferroni).
        """
        first, others = self.rows[0], self.rows[1:]
        level = 1 - (1 - LEVEL) / max(1, len(others))
        return (None, *(difference(row.errors, first.errors, level) for row in others))

    def told_apart(self, number: int) -> bool:
        """Whether a row is behind the first by more than chance, or lost runs that it did not."""
        behind, lost = self.behind[number], self.rows[number].lost > self.rows[0].lost
        return lost or (self.tests_chance and behind is not None and behind.excludes_zero)

    def sentence(self) -> str:
        """Which is best, and which differences chance may explain."""
        if not self.rows:
            return "No run of a model: nothing to rank."
        first, shown = self.rows[0], self.measure.quantity
        starts = first.known_starts
        if not starts:
            return f"The error of {shown.symbol} is unknown on day {self.day:g} for every member."
        text = f"Smallest error of {shown.symbol} on day {self.day:g}, mean over {starts} "
        text += f"start{'' if starts == 1 else 's'}: {first.name}, "
        text += f"{written(first.mean * shown.factor)} {shown.unit}"
        if not self.tests_chance:
            return f"{text}. So few starts tell nothing apart."
        ends = (first.interval.low, first.interval.high)
        text += f" ({' to '.join(written(end * shown.factor) for end in ends)})."
        if len(self.rows) == 1:
            return text
        numbers = range(1, len(self.rows))
        alike = [self.rows[i].name for i in numbers if not self.told_apart(i)]
        rest = len(self.rows) - 1 - len(alike)
        if alike:
            text += f" Chance may explain why it is ahead of {_listed(alike)}."
        if rest:
            others = "All others" if alike or rest > 1 else "The other"
            text += f" {others} ({rest}) {'are' if rest > 1 else 'is'} worse by more than chance."
        return text


def rank(hindcasts: xarray.Dataset, day: float | None = None, variable: str = "T") -> Ranking:
    """Rank the networks and recipes of short runs by the error of a field, over all their seeds.

    Args:
        hindcasts: metrics of `climsim evaluate hindcasts`.
        day: since the starts, at which it counts; None for the last that most stable runs have.
        variable: field whose error counts.
    """
    return _rank(hindcasts, day, variable, single=False)


def rank_members(
    hindcasts: xarray.Dataset, day: float | None = None, variable: str = "T"
) -> Ranking:
    """Rank the members of short runs likewise, each seed on its own."""
    return _rank(hindcasts, day, variable, single=True)


def _rank(hindcasts: xarray.Dataset, day: float | None, variable: str, single: bool) -> Ranking:
    measure = DAYS.growth(variable)
    days = hindcasts["day"].values
    members, floor = (_of_role(hindcasts, role) for role in (MEMBER, FLOOR))
    position = (
        _last_shared(members, measure.key) if day is None else int(np.argmin(np.abs(days - day)))
    )
    starts = tuple(sorted(set(members["start"].values.tolist())))
    rows = [
        _ranked(members.isel(run=chosen), seed, starts, measure.key, position)
        for group in groups_of(members)
        for seed, chosen in _apart(members, rows_of(members, group), single)
    ]
    unrelated = DAYS.unrelated(variable)
    known = floor[measure.key].values[:, position] if floor.sizes["run"] else np.array([])
    return Ranking(
        measure=measure,
        day=float(days[position]),
        rows=tuple(sorted(rows, key=lambda row: row.order)),
        unrelated=float(hindcasts[unrelated.key]) if unrelated.key in hindcasts else np.nan,
        floor=float(_mean(known)) if known.size else np.nan,
    )


def _last_shared(members: xarray.Dataset, key: str) -> int:
    """Position of the last day that most of the stable runs have."""
    stable = members[key].values[~became_unstable(members)]
    known = np.isfinite(stable).sum(axis=0)
    return int(known.size - 1 - np.argmax(known[::-1]))


def _apart(
    members: xarray.Dataset, rows: NDArray[np.intp], single: bool
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Rows of all seeds together, as those of seed -1, or of one seed after another."""
    seeds = members["seed"].values[rows]
    if not single:
        yield -1, rows
        return
    for seed in sorted(set(seeds.tolist())):
        yield seed, rows[seeds == seed]


def _of_role(hindcasts: xarray.Dataset, role: str) -> xarray.Dataset:
    return hindcasts.isel(run=np.flatnonzero(hindcasts["role"].values == role))


def _ranked(
    runs: xarray.Dataset, seed: int, starts: Sequence[float], key: str, position: int
) -> Ranked:
    """The runs of a member, or of all seeds of a network and recipe, by seed and start."""
    seeds = sorted(set(runs["seed"].values.tolist()))
    errors = np.full((len(seeds), len(starts)), np.nan)
    begun = runs["start"].values
    for row, of in enumerate(seeds):
        for column, start in enumerate(starts):
            # More than one where runs of one start were perturbed.
            same = (runs["seed"].values == of) & (begun == start)
            errors[row, column] = _mean(runs[key].values[same, position])
    dead = became_unstable(runs)
    network, recipe = (str(runs[name].values[0]) for name in ("network", "recipe"))
    return Ranked(network, recipe, seed, errors, runs=dead.size, stable=int((~dead).sum()))


def resampled_mean(values: Array, level: float = LEVEL) -> Interval:
    """Mean over starts and seeds, and its interval by the bootstrap: both are drawn anew.

    Source: Efron and Tibshirani 1993, percentile intervals.

    Args:
        values: (seed, start); NaN where there is none.
        level: confidence of the interval.
    """
    random = np.random.default_rng(SEED)
    drawn = _drawn_means(values, _drawn_starts(values, random), random)
    return _interval(float(_mean(values.ravel())), drawn, level)


def difference(values: Array, others: Array, level: float = LEVEL) -> Interval:
    """Mean difference of two members from the same starts, where both ran.

    Each start has its weather, and with it an error that both share: the difference is free of
    that, as both are drawn from the same starts. Seeds of the two have nothing in common.

    Args:
        values: (seed, start) of the one.
        others: (seed, start) of the other.
        level: confidence of the interval.
    """
    both = np.isfinite(values).any(axis=0) & np.isfinite(others).any(axis=0)
    values, others = values[:, both], others[:, both]
    random = np.random.default_rng(SEED)
    starts = _drawn_starts(values, random)
    drawn = [_drawn_means(side, starts, random) for side in (values, others)]
    mean = float(_mean(values.ravel()) - _mean(others.ravel()))
    return _interval(mean, drawn[0] - drawn[1], level)


def _drawn_starts(values: Array, random: np.random.Generator) -> NDArray[np.intp]:
    count = values.shape[1]
    return random.integers(max(1, count), size=(_DRAWS, 1, count))


def _drawn_means(
    values: Array, starts: NDArray[np.intp], random: np.random.Generator
) -> NDArray[np.float64]:
    """Means (draw,) over drawn starts and seeds."""
    seeds = random.integers(len(values), size=(_DRAWS, len(values), 1))
    return _mean(values[seeds, starts].reshape(_DRAWS, -1))


def _mean(values: Array) -> NDArray[np.float64]:
    """Mean along the last axis over what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _interval(mean: float, drawn: Array, level: float) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return Interval(mean, np.nan, np.nan)
    low, high = np.quantile(known, ((1.0 - level) / 2.0, (1.0 + level) / 2.0))
    return Interval(mean, float(low), float(high))


def _listed(names: Sequence[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def ranking_lines(path: Path) -> tuple[str, ...]:
    """The ranking by the error of T, for the terminal.

    Args:
        path: of metrics of hindcasts.
    """
    with open_metrics(path) as metrics:
        return (rank(metrics.load()).sentence(),)
