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
from scipy import stats

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
"""With fewer starts than these an interval says nothing, nor does a difference."""
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
        losses: (seed, start) share of the runs that became unstable; NaN where there was none.
        runs: number of runs.
        stable: number of those that did not become unstable.
    """

    network: str
    recipe: str
    seed: int
    errors: Array
    losses: Array
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
    def known(self) -> bool:
        """Whether any run has the measure."""
        return bool(np.isfinite(self.mean))

    @property
    def order(self) -> tuple[bool, int, float]:
        """Place in the ranking: without a value last, then by lost runs, then by the error."""
        return not self.known, self.lost, self.mean

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

    @property
    def _level(self) -> float:
        """Confidence at which one row is compared with the first (Bonferroni)."""
        return 1 - (1 - LEVEL) / max(1, len(self.rows) - 1)

    @cached_property
    def behind(self) -> tuple[Interval | None, ...]:
        """By how much the error of each exceeds that of the first, start by start.

        None for the first itself. The intervals are so wide that chance puts any of them behind
        once in twenty rankings (Bonferroni).
        """
        first, others = self.rows[0], self.rows[1:]
        return (None, *(difference(row.errors, first.errors, self._level) for row in others))

    def distinguished(self, number: int) -> bool:
        """Whether a row is worse than the first by more than chance: in its error, or in losses."""
        behind = self.behind[number]
        if behind is None or not self.tests_chance:
            return False
        return behind.low > 0 or loses_more(self.rows[number], self.rows[0], self._level)

    def sentence(self) -> str:
        """Which is best, which differences chance may explain, and which lost runs."""
        if not self.rows:
            return "No run of a model: nothing to rank."
        shown = self.measure.quantity
        if not self.rows[0].known:
            return f"The error of {shown.symbol} is unknown on day {self.day:g} for every member."
        return " ".join([self._best(), *self._compared(), *self._lost()])

    def _best(self) -> str:
        """The first row and its error."""
        first, shown = self.rows[0], self.measure.quantity
        starts, ends = first.known_starts, (first.interval.low, first.interval.high)
        smaller = any(row.known and row.mean < first.mean for row in self.rows)
        text = "Of those that lost the fewest runs, the smallest" if smaller else "Smallest"
        text += f" error of {shown.symbol} on day {self.day:g}, mean over {starts} "
        text += f"start{'' if starts == 1 else 's'}: {first.name}, "
        text += f"{written(first.mean * shown.factor)} {shown.unit}"
        if self.tests_chance:
            text += f" ({' to '.join(written(end * shown.factor) for end in ends)})"
        return f"{text}."

    def _compared(self) -> list[str]:
        """Who is behind the first, and whether by more than chance."""
        if not self.tests_chance:
            return ["So few starts tell nothing apart."]
        numbers = range(1, len(self.rows))
        same = [self.rows[i] for i in numbers if not self.distinguished(i)]
        alike, unknown = ([r.name for r in same if r.known is known] for known in (True, False))
        rest, sentences = len(numbers) - len(same), []
        if alike:
            sentences.append(f"Chance may explain why it is ahead of {_listed(alike)}.")
        if unknown:
            sentences.append(f"Unknown on that day: {_listed(unknown)}.")
        if rest:
            others = f"All others ({rest}) are" if rest > 1 else "The other (1) is"
            sentences.append(f"{others} worse by more than chance.")
        return sentences

    def _lost(self) -> list[str]:
        """Whose runs became unstable, and how many of how many."""
        lost = [f"{row.name} ({row.lost} of {row.runs})" for row in self.rows if row.lost]
        return [f"Runs became unstable: {_listed(lost)}."] if lost else []


def rank(hindcasts: xarray.Dataset, day: float | None = None, variable: str = "T") -> Ranking:
    """Rank the networks and recipes of short runs by the error of a field, over all their seeds.

    Args:
        hindcasts: metrics of `climsim evaluate hindcasts`.
        day: since the starts, at which it counts; None for the last that most runs reached.
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
    """Position of the last day that more than half of the runs reached, however they ended.

    Where there is none, as most ended within the first day: of those that reached any day.
    """
    known = np.isfinite(members[key].values)
    count = known.sum(axis=0)
    for runs in (len(known), int(known.any(axis=1).sum())):
        reached = np.flatnonzero(count > runs / 2)
        if reached.size:
            return int(reached[-1])
    return int(np.flatnonzero(count == count.max())[-1])


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
    dead = became_unstable(runs)
    network, recipe = (str(runs[name].values[0]) for name in ("network", "recipe"))
    return Ranked(
        network,
        recipe,
        seed,
        errors=_by_start(runs, runs[key].values[:, position], starts),
        losses=_by_start(runs, dead.astype(float), starts),
        runs=dead.size,
        stable=int((~dead).sum()),
    )


def _by_start(runs: xarray.Dataset, values: Array, starts: Sequence[float]) -> Array:
    """Values (run,) as (seed, start): means where runs of one start were perturbed."""
    seeds, begun = runs["seed"].values, runs["start"].values
    return np.array(
        [
            [_mean(values[(seeds == seed) & (begun == start)]) for start in starts]
            for seed in sorted(set(seeds.tolist()))
        ]
    )


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
        level: confidence of the interval, which has no ends where they share fewer than
            `FEWEST_STARTS`.
    """
    both = np.isfinite(values).any(axis=0) & np.isfinite(others).any(axis=0)
    values, others = values[:, both], others[:, both]
    mean = float(_mean(values.ravel()) - _mean(others.ravel()))
    if both.sum() < FEWEST_STARTS:
        return Interval(mean, np.nan, np.nan)
    random = np.random.default_rng(SEED)
    starts = _drawn_starts(values, random)
    drawn = [_drawn_means(side, starts, random) for side in (values, others)]
    return _interval(mean, drawn[0] - drawn[1], level)


def loses_more(row: Ranked, other: Ranked, level: float = LEVEL) -> bool:
    """Whether a row loses more of its runs than another by more than chance.

    Two tests must agree. Fisher's exact test holds for few runs, but takes them for independent,
    where runs of one seed share its training; the interval over starts and seeds allows for that.

    Args:
        row: the one.
        other: the other.
        level: confidence of both.
    """
    counts = [[each.lost, each.stable] for each in (row, other)]
    return bool(
        stats.fisher_exact(counts).pvalue < 1 - level
        and difference(row.losses, other.losses, level).low > 0
    )


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
