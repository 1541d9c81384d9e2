"""The table of iterations: error, survival, water and roughness of each."""

from __future__ import annotations

import numpy as np
import xarray

from climsim.report.cells import Cell, Table, number, text
from climsim.report.growth import periods_shown
from climsim.report.leaderboard import stable_runs
from climsim.results.iterations import iterations
from climsim.results.labels import full_physics_name, member_label
from climsim.results.quantities import plain, quantity
from climsim.results.study import NothingToDrawError, Study
from climsim.results.time_axis import time_axis

_FIELD = "T"


def iterations_table(study: Study) -> Table | None:
    """One row for each iteration of a network and recipe, and the runs with full physics below.

    Args:
        study: its metrics.

    Returns:
        None where no member was trained again on states that it visited.
    """
    found = iterations(study)
    try:
        axis = time_axis(study)
    except NothingToDrawError:
        return None
    if not found or study.online is None:
        return None
    places = periods_shown(axis.elapsed(study.online))
    last = max(places)
    growth, rough = axis.growth(_FIELD).key, f"roughness_{axis.word}_{_FIELD}"
    water = f"series_{axis.word}_TMQ_mean"

    def measured(runs: xarray.Dataset) -> list[Cell]:
        inside = runs.sel(region="global") if "region" in runs.dims else runs
        cells = [_mean(inside, growth, {axis.name: period}) for period in places.values()]
        end = {axis.name: places[last]}
        return [*cells, *(_mean(inside, name, end) for name in (water, rough))]

    rows = [
        [
            text(member_label(one.network, one.recipe)),
            Cell(str(one.number), one.number),
            Cell(str(one.runs.sizes["run"]), one.runs.sizes["run"]),
            stable_runs(one.runs),
            *measured(one.runs),
        ]
        for one in found
    ]
    rows += [
        [text(full_physics_name(run)), *[Cell("–")] * 3, *measured(run.expand_dims("run"))]
        for run in (study.reference(), study.floor())
        if run is not None
    ]
    unit = plain(quantity(_FIELD).unit)
    heads = ["member", "iteration", "seeds", "stable runs"]
    heads += [f"{axis.name} {n:g} ({unit})" for n in places]
    heads += [f"water, {axis.name} {last:g} (kg m⁻²)", f"roughness, {axis.name} {last:g} ({unit})"]
    note = (
        "Iteration 0 is trained on weather alone, each later one also on the states that the one "
        f"before it visited. RMSE of the {axis.word} mean of T against the reference; water in "
        "the air, global mean; roughness: RMS distance of T from the mean of the levels above "
        "and below, below 500 hPa. Means over the seeds whose runs were stable until then."
    )
    return Table(tuple(heads), rows, note, frozenset(["stable runs"]))


def _mean(runs: xarray.Dataset, name: str, period: dict[str, int]) -> Cell:
    """Mean over the runs that have a value there; a dash where none has."""
    values = runs[name].isel(period).values if name in runs else np.empty(0)
    known = values[np.isfinite(values)]
    return number(known.mean()) if known.size else Cell("–")
