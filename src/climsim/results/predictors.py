"""Which cheap score predicts how a member fares in a coupled run: rank correlations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray
from scipy import stats

from climsim.arrays import Array
from climsim.results.intervals import LEVEL, SEED, Interval
from climsim.results.quantities import CONDENSATE, plain, quantity
from climsim.results.ranking import Ranking, rank_members
from climsim.results.stability import comparable, days_alive
from climsim.results.study import Study
from climsim.results.time_axis import DAYS

FEWEST_MEMBERS: Final = 5
"""Of fewer members no correlation is computed."""
_DRAWS: Final = 2000
_EARLY: Final = (1.0, 3.0, 5.0)
"""Days of a coupled run that may tell of later ones."""

_OFFLINE: Final = {
    "r2_mean": "offline R², all outputs",
    "r2_mean_ptend_t": "offline R², heating",
    "r2_mean_ptend_q0001": "offline R², moistening",
    f"r2_mean_{CONDENSATE}": "offline R², cloud",
    "r2_cam_out_PRECC": "offline R², rain",
    "water_residual_rmse": "offline, water created in a column",
}
"""Offline scores that may tell of coupled runs."""

Scores = dict[str, float]
"""A score by the label of the member."""


@dataclass(frozen=True)
class Correlation(Interval):
    """A rank correlation (Spearman) over members, with its interval by a bootstrap over these.

    Attributes:
        members: number of members.
    """

    members: int


@dataclass(frozen=True)
class Predictors:
    """Rank correlations of scores that are cheap with what a coupled run came to.

    Attributes:
        outcomes: what is to be predicted, in words.
        rows: correlations with each outcome, by the name of the score in words; None where too few
            members have both, or all have the same.
    """

    outcomes: tuple[str, ...]
    rows: Mapping[str, tuple[Correlation | None, ...]]


def predictors(study: Study, damping: Mapping[str, float] | None = None) -> Predictors | None:
    """Correlate offline scores, damping and early days with how coupled runs ended.

    Args:
        study: its metrics.
        damping: rate at which differences of T between layers decay, by member [1/day].

    Returns:
        None without coupled runs, or where too few members have any pair of scores.
    """
    outcomes, scores = _outcomes(study), _scores(study, damping)
    rows = {
        name: tuple(correlation(score, outcome) for outcome in outcomes.values())
        for name, score in scores.items()
    }
    known = {name: row for name, row in rows.items() if any(row)}
    return Predictors(tuple(outcomes), known) if known else None


def correlation(score: Mapping[str, float], outcome: Mapping[str, float]) -> Correlation | None:
    """Rank correlation over the members that have both.

    Args:
        score: by member.
        outcome: by member.

    Returns:
        None for fewer than `FEWEST_MEMBERS`, or where one of both is the same for all.
    """
    labels = [label for label in score if label in outcome]
    pairs = np.array([(score[label], outcome[label]) for label in labels]).reshape(-1, 2)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    if len(pairs) < FEWEST_MEMBERS or (pairs == pairs[0]).all(axis=0).any():
        return None
    with warnings.catch_warnings():
        # Draws in which all members are alike have no correlation, and are left out below.
        warnings.simplefilter("ignore")
        drawn = stats.bootstrap(
            tuple(pairs.T),
            _spearman,
            n_resamples=_DRAWS,
            vectorized=False,
            paired=True,
            method="percentile",
            rng=np.random.default_rng(SEED),
        ).bootstrap_distribution
    low, high = np.nanquantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Correlation(_spearman(*pairs.T), float(low), float(high), len(pairs))


def _spearman(x: Array, y: Array) -> float:
    return float(stats.spearmanr(x, y).statistic)


def _outcomes(study: Study) -> dict[str, Scores]:
    """What coupled runs came to, by name in words."""
    found: dict[str, Scores] = {}
    members, unit = study.members(), plain(quantity("T").unit)
    if members is not None:
        labels = members["run"].values.tolist()
        found["days alive"] = _by(labels, days_alive(members))
        if "rmse_mean_T" in members:
            chosen = xarray.DataArray(comparable(members), dims="run")
            error = members["rmse_mean_T"].where(chosen)
            found[f"error of the mean T ({unit})"] = _by(labels, error)
    if study.hindcasts is not None:
        ranking = rank_members(study.hindcasts)
        found[f"error of T on day {ranking.day:g} of hindcasts ({unit})"] = _means(ranking)
    return found


def _scores(study: Study, damping: Mapping[str, float] | None) -> dict[str, Scores]:
    """What is known before a long coupled run, by name in words."""
    found: dict[str, Scores] = {}
    if study.offline is not None:
        labels = study.offline["member"].values.tolist()
        for key, name in _OFFLINE.items():
            if key in study.offline:
                found[name] = _by(labels, study.offline[key])
    if damping is not None:
        found["damping of T"] = dict(damping)
    return {**found, **_early_scores(study)}


def _early_scores(study: Study) -> dict[str, Scores]:
    """Errors of the first days: of hindcasts where there are any, else of the coupled runs."""
    if study.hindcasts is not None:
        last = float(study.hindcasts["day"].values[-1])
        return {
            f"error of T on day {day:g} of hindcasts": _means(rank_members(study.hindcasts, day))
            for day in _EARLY
            if day < last
        }
    members, key = study.members(), DAYS.growth("T").key
    if members is None or key not in members or "day" not in members.sizes:
        return {}
    labels, days = members["run"].values.tolist(), members["day"].values
    return {
        f"error of T on day {day:g}": _by(
            labels, members[key].isel(day=int(np.argmin(abs(days - day))))
        )
        for day in _EARLY
        if day < days[-1]
    }


def _means(ranking: Ranking) -> Scores:
    return {row.label: row.mean for row in ranking.rows}


def _by(labels: Sequence[str], values: xarray.DataArray) -> Scores:
    return dict(zip(labels, map(float, values.values), strict=True))
