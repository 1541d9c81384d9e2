"""The leaderboard: a row for each member, and a row for each network and recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray

from climsim.report.cells import Cell, Table, number, text
from climsim.report.floor import error_over_floor
from climsim.results.cost import Cost, member_costs
from climsim.results.labels import has_seed, member_label, member_names
from climsim.results.quantities import LEADING, plain, quantity
from climsim.results.seeds import groups_of, over_seeds, rows_of
from climsim.results.stability import SHORTEST_TEST, became_unstable, leading, tests_survival
from climsim.results.study import Study, is_member

_FIELDS = ("T", "Q", "PRECT")
_SHORT = "short"
"""Added to how a run ended that does not test survival."""
_SKILL_NOTE = (
    "R² on the {split} split: mean over outputs and levels with variance, negative values as 0; "
    "dQcloud/dt is liquid plus ice. "
)
_NOTE = (
    "RMSE: of the time mean against the reference, by mass for T and Q. T error / floor: the same "
    "RMSE of T over that of a second run with full physics; 1 is as good as internal variability "
    "lets anything be. Runs that became unstable, or whose mean is shorter, which flatters them, "
    "come after the others. Training hours are wall time. A heading sorts, best first."
)
_DAMPING = "damping of T (1/day)"
_DAMPING_NOTE = (
    " Damping: rate at which noise on T that differs from layer to layer decays in the lowest "
    "levels, without a coupled run."
)
_SHORT_NOTE = (
    f" Short: fewer than {SHORTEST_TEST:g} days were asked for, which does not test whether a "
    "model survives."
)
_SEEDS_NOTE = (
    "Mean over seeds, and smallest to largest in brackets, with their number where not all have "
    "the value; none where the score of one is no number. R² of their mean: of the prediction "
    "averaged over the seeds, all outputs. RMSE of T only of members that stayed stable and whose "
    "time mean is as long as the longest of these. Stable runs: of those asked for "
    f"{SHORTEST_TEST:g} days or more, or unstable before."
)


def leaderboard(
    study: Study,
    failed: Mapping[str, str] | None = None,
    damping: Mapping[str, float] | None = None,
) -> Table:
    """One row for each member: offline skill, how its run ended, online error, cost.

    Args:
        study: its metrics.
        failed: stage that failed, by member; such members have a row too.
        damping: rate at which differences of T between layers decay, by member [1/day]; a column
            where it is given.
    """
    failed = failed or {}
    online, costs = study.members(), member_costs(study)
    skill = ["R², all outputs", *(f"R², {plain(quantity(n).symbol)}" for n in LEADING)]
    heads = ["member", *skill, "run", "days", *(f"RMSE {_heading(n)}" for n in _FIELDS)]
    heads += [] if damping is None else [_DAMPING]
    heads += ["T error / floor", "SYPD", "parameters", "training hours", "trained on"]
    names, first = member_names(study, failed), _leading_labels(online)
    rows = []
    for label in _labels(study, failed):
        off, on = _row(study.offline, "member", label), _row(online, "run", label)
        row = [
            text(names[label]),
            number(_value(off, "r2_mean")),
            *(number(_value(off, f"r2_mean_{n}")) for n in LEADING),
            text(_outcome(on, failed.get(label))),
            number(_value(on, "days")),
            *(number(_value(on, f"rmse_mean_{n}") * quantity(n).factor) for n in _FIELDS),
            *([] if damping is None else [number(damping.get(label, math.nan))]),
            number(error_over_floor(study, on)),
            number(_value(on, "sypd")),
            *_cost_cells(costs[label]),
        ]
        rows.append((_rank(label in first, off, on), row))
    rows.sort(key=lambda ranked: ranked[0])
    short = online is not None and not tests_survival(online).all()
    larger = frozenset([*skill, "days", "SYPD", _DAMPING])
    notes = (
        "" if study.offline is None else _SKILL_NOTE.format(split=study.split),
        _NOTE,
        _SHORT_NOTE if short else "",
        _DAMPING_NOTE if damping else "",
    )
    return Table(tuple(heads), [row for _, row in rows], "".join(notes), larger)


def _leading_labels(online: xarray.Dataset | None) -> set[str]:
    return set() if online is None else set(online["run"].values[leading(online)].tolist())


def _rank(
    leads: bool, offline: xarray.Dataset | None, run: xarray.Dataset | None
) -> tuple[int, float]:
    """Order by RMSE of T, flattering means later, then those without a mean by offline skill."""
    error = _value(run, "rmse_mean_T")
    if run is None or not math.isfinite(error):
        skill = _value(offline, "r2_mean")
        return 2, -skill if math.isfinite(skill) else math.inf
    return int(not leads), error


def _labels(study: Study, failed: Mapping[str, str]) -> list[str]:
    """Members with metrics, then those that only failed (references and shared stages are none)."""
    online, offline = study.members(), study.offline
    known = [
        *([] if online is None else online["run"].values.tolist()),
        *([] if offline is None else offline["member"].values.tolist()),
    ]
    lost = [label for label in failed if has_seed(label)]
    return list(dict.fromkeys([*known, *lost]))


def _outcome(online: xarray.Dataset | None, failed: str | None) -> str:
    """How the coupled run of a member ended, or why there is none."""
    if failed is not None:
        return f"failed: {failed}"
    return "not run" if online is None else outcome_of_run(online)


def outcome_of_run(run: xarray.Dataset) -> str:
    """How a run ended, and whether it was too short to test survival."""
    status = str(run["status"].values)
    asked = is_member(run) and not tests_survival(run)
    return f"{status}, {_SHORT}" if asked else status


def _cost_cells(cost: Cost) -> list[Cell]:
    """Parameters, hours and device of the training; blank where they are not known."""
    size = cost.parameters
    return [
        number(size),
        number(cost.training_hours) if math.isfinite(cost.training_hours) else Cell(""),
        text(cost.training_device) if cost.training_device else Cell(""),
    ]


def seeds_table(study: Study) -> Table | None:
    """One row for each network and recipe, over their seeds; None where no pair has two seeds."""
    groups = list(
        dict.fromkeys(
            group
            for data in (study.offline, study.members())
            if data is not None
            for group in groups_of(data)
        )
    )
    rows = [_seeds_row(study, group) for group in groups]
    heads = ("member", "seeds", "R², all outputs", "R², dT/dt", "R² of their mean", "stable runs")
    larger = frozenset(heads[2:])
    table = Table((*heads, f"RMSE {_heading('T')}"), rows, _SEEDS_NOTE, larger)
    return table if any((row[1].order or 0) != 1 for row in rows) else None


def _seeds_row(study: Study, group: tuple[str, str]) -> list[Cell]:
    offline, online = study.offline, study.members()
    runs = None if online is None else _of_group(online, group)
    seeds = max(
        0 if runs is None else runs.sizes["run"],
        0 if offline is None else _of_group(offline, group).sizes["member"],
    )
    error = Cell("–")
    if online is not None and "rmse_mean_T" in online:
        error = _range(online["rmse_mean_T"].isel(run=leading(online)), group, seeds)
    return [
        text(member_label(*group)),
        Cell(str(seeds), seeds),
        *(
            Cell("–") if offline is None else _range(offline[name], group, seeds)
            for name in ("r2_mean", "r2_mean_ptend_t")
        ),
        _skill_of_mean(study, group),
        Cell("–") if runs is None or not runs.sizes["run"] else stable_runs(runs),
        error,
    ]


def _skill_of_mean(study: Study, group: tuple[str, str]) -> Cell:
    """R2 of the prediction averaged over the seeds, where it was scored."""
    if study.ensembles is None:
        return Cell("")
    found = _of_group(study.ensembles, group)["r2_mean"]
    return number(found[0]) if found.size else Cell("–")


def _of_group(data: xarray.Dataset, group: tuple[str, str]) -> xarray.Dataset:
    return data.isel({str(data["network"].dims[0]): rows_of(data, group)})


def stable_runs(runs: xarray.Dataset) -> Cell:
    """How many of the runs that test survival did not become unstable."""
    tested = runs.isel(run=np.flatnonzero(tests_survival(runs)))
    count = tested.sizes["run"]
    if not count:
        return Cell("not tested")
    alive = int((~became_unstable(tested)).sum())
    return Cell(f"{alive} of {count}", alive / count)


def _range(values: xarray.DataArray, group: tuple[str, str], seeds: int) -> Cell:
    """Mean, and smallest to largest, over the seeds of a group.

    Args:
        values: of the members that have any.
        group: network and recipe.
        seeds: number of all seeds of the group, which is said where some have none.
    """
    if not rows_of(values, group).size:
        return Cell("–")
    found = over_seeds(values, group)
    mean, low, high = (number(x) for x in (found.mean, found.low, found.high))
    if mean.unknown:
        return mean
    part = "" if found.count == seeds else f"; {found.count} of {seeds} seeds"
    return Cell(f"{mean.text} ({low.text} to {high.text}{part})", mean.order)


def _heading(name: str) -> str:
    shown = quantity(name)
    return f"{shown.symbol} ({plain(shown.unit)})"


def _row(data: xarray.Dataset | None, axis: str, label: str) -> xarray.Dataset | None:
    if data is None or label not in data[axis].values:
        return None
    return data.isel({axis: data[axis].values.tolist().index(label)})


def _value(row: xarray.Dataset | None, name: str) -> float:
    return float("nan") if row is None or name not in row else float(row[name])
