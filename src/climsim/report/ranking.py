"""Tables of the ranking of members from many starts, and of what predicts a coupled run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from climsim.notation import written
from climsim.report.cells import Cell, Table, number, text
from climsim.results.intervals import Interval
from climsim.results.predictors import Correlation, predictors
from climsim.results.quantities import plain
from climsim.results.ranking import Ranked, Ranking, rank
from climsim.results.study import Study


def ranking_table(study: Study) -> Table | None:
    """One row for each network and recipe: error over all starts, and distance from the first.

    Args:
        study: its metrics.

    Returns:
        None without hindcasts.
    """
    if study.hindcasts is None or not (ranking := rank(study.hindcasts)).rows:
        return None
    unit = plain(ranking.measure.quantity.unit)
    heads = (
        *("member", f"day {ranking.day:g} ({unit})", f"interval ({unit})"),
        *(f"behind the first ({unit})", "worse by more than chance", "stable runs"),
    )
    rows = [_row(ranking, place) for place in range(len(ranking.rows))]
    floor, apart = (written(x, unit=unit) for x in (ranking.floor, ranking.unrelated))
    beside = (
        f" Full physics from perturbed starts: {floor}." if math.isfinite(ranking.floor) else ""
    )
    if math.isfinite(ranking.unrelated):
        beside += f" Two days of the reference that share no weather differ by {apart}."
    note = (
        f"{plain(ranking.sentence())} RMSE of the daily mean of T against the reference, by mass. "
        "Intervals: 95 % by a bootstrap over starts and seeds; the distance from the first is "
        "taken start by start, and its interval is wider, as many are compared (Bonferroni). Lost "
        "runs are compared by Fisher's exact test and by an interval, at the same level."
        f"{beside}"
    )
    return Table(heads, rows, note, frozenset(["stable runs"]))


def _row(ranking: Ranking, place: int) -> list[Cell]:
    row, behind = ranking.rows[place], ranking.behind[place]
    mean = number(row.mean)
    apart = "" if behind is None else "yes" if ranking.distinguished(place) else "no"
    distance = Cell("") if behind is None else _distance(behind, ranking.tests_chance)
    ends = _ends(row.interval) if ranking.tests_chance else Cell("–")
    return [text(row.name), mean, ends, distance, text(apart), _stable(row)]


def _ends(interval: Interval) -> Cell:
    low, high = number(interval.low), number(interval.high)
    return Cell(f"{low.text} to {high.text}", low.order)


def _distance(behind: Interval, intervals: bool) -> Cell:
    mean = number(behind.value, 2)
    ends = f" ({written(behind.low, 2)} to {written(behind.high, 2)})" if intervals else ""
    return Cell(f"{mean.text}{ends}", mean.order, mean.exact)


def _stable(row: Ranked) -> Cell:
    return Cell(f"{row.stable} of {row.runs}", row.stable / row.runs)


def predictors_table(study: Study, damping: Mapping[str, float] | None = None) -> Table | None:
    """One row for each score that is known early: its rank correlation with each outcome.

    Args:
        study: its metrics.
        damping: rate at which differences of T between layers decay, by member [1/day].

    Returns:
        None where too few members have been coupled.
    """
    found = predictors(study, damping)
    if found is None:
        return None
    rows = [[text(name), *map(_correlation, row)] for name, row in found.rows.items()]
    note = (
        "Rank correlation (Spearman) over members; in brackets its 95 % interval by a bootstrap "
        "over these, and their number. Only where the interval does not hold 0 (*) does a score "
        "say anything; with a table of so many, one in twenty is marked by chance."
    )
    return Table(("score", *found.outcomes), rows, note)


def _correlation(found: Correlation | None) -> Cell:
    if found is None:
        return Cell("–")
    mark = "*" if found.excludes_zero else ""
    ends = f"{written(found.low, 2)} to {written(found.high, 2)}"
    value = number(found.value, 2)
    return Cell(f"{value.text}{mark} ({ends}; {found.members})", value.order, value.exact)
