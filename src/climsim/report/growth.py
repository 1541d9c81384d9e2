"""The table of coupled runs: growth of errors beside internal variability, corrections, speed."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import xarray

from climsim.constants import SECONDS_PER_DAY
from climsim.notation import written
from climsim.report.cells import Cell, Table, number, text
from climsim.report.floor import over_floor
from climsim.report.leaderboard import outcome_of_run
from climsim.results.labels import member_names
from climsim.results.quantities import plain, quantity
from climsim.results.study import NothingToDrawError, Study
from climsim.results.time_axis import time_axis

_FIELD = "T"
_PERIODS = (1, 3, 10, 30)
_CORRECTED = {"ptend_q0001": "vapour", "ptend_q0002": "liquid", "ptend_q0003": "ice"}


def growth_table(study: Study) -> Table | None:
    """One row for each run: error of T as it grows, corrections for positive water, speed.

    Args:
        study: its metrics.

    Returns:
        None where no run shares a period with the reference.
    """
    try:
        axis = time_axis(study)
    except NothingToDrawError:
        return None
    online = study.online
    name = axis.growth(_FIELD).key
    if online is None or name not in online or not np.isfinite(online[name]).any():
        return None
    unit = plain(quantity(_FIELD).unit)
    numbers = periods_shown(axis.elapsed(online))
    heads = ["run", "status", "days", *(f"{axis.name} {n:g} ({unit})" for n in numbers)]
    heads += [f"raised, {what} (%)" for what in _CORRECTED.values()]
    heads += ["water added (mm day⁻¹)", "SYPD"]
    records = json.loads(online.attrs["records"])
    floor, names = study.floor(), member_names(study)
    rows = []
    for i, label in enumerate(online["run"].values.tolist()):
        run = online.isel(run=i)
        if str(run["role"].values) == "reference":
            continue
        rows.append(
            [
                text(names[label]),
                text(outcome_of_run(run)),
                number(run["days"]),
                *(_error(run, floor, name, position) for position in numbers.values()),
                *_corrections(records.get(label, {})),
                number(run["sypd"]),
            ]
        )
    unrelated = axis.unrelated(_FIELD)
    beside = ""
    if unrelated.known(online):
        apart = written(float(unrelated.shown(online)), unit=quantity(_FIELD).unit)
        beside = f" Two days of the reference that share no weather differ by {apart}."
    note = (
        f"RMSE of the {axis.word} mean of T against the reference, weighted by mass; in brackets "
        "as a multiple of that of a second run with full physics: 1 is internal variability."
        f"{beside} Raised: share of cells and steps whose tendency was raised so that the water "
        f"stays positive; water added: what that adds to the air{_against(study)}."
    )
    return Table(tuple(heads), rows, note, frozenset(["days", "SYPD"]))


def mean_precipitation(study: Study) -> float:
    """Area mean of the time-mean precipitation of the reference [mm/day]; NaN where unknown."""
    reference = study.reference()
    if reference is None or "map_PRECT" not in reference:
        return math.nan
    rain = quantity("PRECT").shown(reference["map_PRECT"])
    return float(rain.weighted(reference["area"]).mean())


def _against(study: Study) -> str:
    rain = mean_precipitation(study)
    if not math.isfinite(rain):
        return ""
    return f", against a mean precipitation of the reference of {written(rain, unit='mm day-1')}"


def periods_shown(x: np.ndarray) -> dict[float, int]:
    """Chosen periods, and the last, with their positions.

    Args:
        x: (period,) days since the start, or number of the month.
    """
    last = float(x[-1])
    chosen = [float(n) for n in _PERIODS if n < last] + [last]
    return {n: int(np.argmin(np.abs(x - n))) for n in chosen}


def _error(run: xarray.Dataset, floor: xarray.Dataset | None, name: str, position: int) -> Cell:
    value = float(run[name][position])
    cell = number(value)
    if floor is None or not math.isfinite(value) or str(run["role"].values) == "floor":
        return cell
    ratio = number(over_floor(value, float(floor[name][position])))
    return Cell(f"{cell.text} ({ratio.text})", cell.order)


def _corrections(record: dict[str, Any]) -> list[Cell]:
    """Share of cells by kind of water, and water added in all."""
    steps = int(record.get("coupled_steps") or 0)
    cells = steps * int(record.get("cells") or 0)
    counts, added = record.get("corrections") or {}, record.get("added") or {}
    keys = [f"positivity:{name}" for name in _CORRECTED]
    if not cells or not any(key in counts for key in keys):
        return [Cell("–")] * (len(_CORRECTED) + 1)
    shares = [number(100.0 * counts.get(key, 0) / cells) for key in keys]
    water = sum(float(added.get(name, 0.0)) for name in _CORRECTED)
    return [*shares, number(water / steps * SECONDS_PER_DAY)]
