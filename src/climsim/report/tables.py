"""Tables of the report: rows of plain cells built from saved metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray

from climsim.evaluation.online_run import PROFILES
from climsim.figures.cost import member_costs
from climsim.figures.labels import quantity
from climsim.figures.study import Study
from climsim.figures.style import member_label, network_style, recipe_label
from climsim.report.cells import Cell, Table, number, plain, text
from climsim.variables import DOOR_OUTPUTS, variable

_DAY = 86400.0
PUBLISHED = (
    ("largest tropospheric zonal-mean bias of T", "tropospheric_bias_T", "T", 2.0),
    ("largest tropospheric zonal-mean bias of Q", "tropospheric_bias_Q", "Q", 1.0),
    ("RMSE of precipitation", "rmse_mean_PRECT", "PRECT", 0.96),
)
"""What Hu et al. 2025 report for five years: name, measure, quantity, value in display units."""


def leaderboard(study: Study) -> Table:
    """One row for each member: offline skill, how its run ended, online error, cost."""
    offline, online = study.offline, study.members()
    labels = dict.fromkeys(
        [
            *([] if online is None else online["run"].values.tolist()),
            *([] if offline is None else offline["member"].values.tolist()),
        ]
    )
    names = ("ptend_t", "ptend_q0001")
    heads = ["network", "recipe", "seed"]
    heads += ["R², all outputs", *(f"R², {plain(quantity(n).symbol)}" for n in names)]
    heads += ["run", "days", *(f"RMSE {_head(n)}" for n in ("T", "Q", "PRECT"))]
    heads += ["T error / floor", "SYPD", "parameters"]
    costs = member_costs(study)
    rows = []
    for label in labels:
        off = _row(offline, "member", label)
        on = _row(online, "run", label)
        about = off if off is not None else on
        assert about is not None
        seed = int(about["seed"])
        row = [
            text(network_style(str(about["network"].values)).label),
            text(recipe_label(str(about["recipe"].values))),
            number(seed) if seed >= 0 else Cell("–"),
            number(_value(off, "r2_mean")),
            *(number(_value(off, f"r2_mean_{n}")) for n in names),
            text("not run" if on is None else str(on["status"].values)),
            number(_value(on, "days")),
            *(number(_shown(on, f"rmse_mean_{n}", n)) for n in ("T", "Q", "PRECT")),
            number(error_over_floor(study, on)),
            number(_value(on, "sypd")),
            _count(costs[label].parameters),
        ]
        rows.append(row)
    error = heads.index(f"RMSE {_head('T')}")
    rows.sort(key=lambda r: (r[error].order is None, r[error].order or 0.0))
    note = (
        "R² on the test split: mean over outputs and levels with variance, negative values as 0. "
        "RMSE: of the time mean against MMF1, mass-weighted for T and Q. T error / floor: the same "
        "RMSE of T over that of MMF2; 1 is as good as internal variability lets anything be. Means "
        "of runs of different length are not comparable: look at the days. Click on a heading to "
        "sort."
    )
    return Table(tuple(heads), rows, note)


def error_over_floor(study: Study, run: xarray.Dataset | None) -> float:
    """RMSE of the time mean of T of a run over that of MMF2; NaN where either is unknown."""
    floor = study.floor()
    if run is None or floor is None or "rmse_mean_T" not in run:
        return float("nan")
    return float(run["rmse_mean_T"]) / float(floor["rmse_mean_T"])


def _count(value: float) -> Cell:
    return Cell(f"{int(value):,}", value) if math.isfinite(value) else Cell("–")


def _head(name: str) -> str:
    written = quantity(name)
    return f"{written.symbol} ({plain(written.unit)})"


def _row(data: xarray.Dataset | None, axis: str, label: str) -> xarray.Dataset | None:
    if data is None or label not in data[axis].values:
        return None
    return data.isel({axis: data[axis].values.tolist().index(label)})


def _value(row: xarray.Dataset | None, name: str) -> float:
    return float("nan") if row is None or name not in row else float(row[name])


def _shown(row: xarray.Dataset | None, name: str, key: str) -> float:
    return _value(row, name) * quantity(key).factor


def offline_tables(study: Study) -> list[tuple[str, Table]]:
    """For each member a table of its scores by output; profiles as means over levels."""
    if study.offline is None:
        return []
    members = [study.offline.isel(member=i) for i in range(study.offline.sizes["member"])]
    return [(name_of(member), _output_table(member)) for member in members]


def name_of(one: xarray.Dataset) -> str:
    """Network, recipe and seed of one member, in words."""
    network, recipe = str(one["network"].values), str(one["recipe"].values)
    return member_label(network, recipe, int(one["seed"]))


def _output_table(member: xarray.Dataset) -> Table:
    heads = ("output", "what", "R²", "R², per column", "RMSE", "bias", "unit", "RMSE, weighted")
    rows = []
    for name in DOOR_OUTPUTS.names:
        written = quantity(name)
        mean = {
            key: float((member[f"{key}_{name}"] ** 2).mean()) ** 0.5 for key in ("rmse", "bias")
        }
        column = member[f"r2_climsim_{name}"]
        weighted = float((member[f"rmse_energy_{name}"] ** 2).mean()) ** 0.5
        unit = member[f"rmse_energy_{name}"].attrs["units"]
        rows.append(
            [
                text(name),
                text(variable(name).long_name),
                number(member[f"r2_mean_{name}"]),
                number(column.clip(min=0).mean()),
                number(mean["rmse"] * written.factor),
                number(mean["bias"] * written.factor),
                text(plain(written.unit)),
                Cell(f"{number(weighted).text} {unit}", weighted),
            ]
        )
    note = (
        "R²: over all samples and columns, and per column over time; means over levels with "
        "negative values as 0. RMSE and bias: root mean square over levels. Weighted: ClimSim's "
        "weighting by layer mass and area."
    )
    return Table(heads, rows, note)


def stability_table(study: Study) -> Table | None:
    """How every run ended, and what happened to those that failed."""
    if study.online is None:
        return None
    records = json.loads(study.online.attrs["records"])
    problems = json.loads(study.online.attrs["problems"])
    heads = ("run", "role", "status", "days", "days wanted", "SYPD", "what happened")
    rows = []
    for i, label in enumerate(study.online["run"].values.tolist()):
        run = study.online.isel(run=i)
        record = records.get(label, {})
        happened = [str(record.get("message", "")), _trouble(record.get("instability"))]
        happened += problems.get(label, [])
        rows.append(
            [
                text(label),
                text(str(run["role"].values)),
                text(str(run["status"].values)),
                number(run["days"]),
                number(run["days_wanted"]),
                number(run["sypd"]),
                text("; ".join(part for part in happened if part)),
            ]
        )
    return Table(heads, rows)


def _trouble(instability: dict[str, Any] | None) -> str:
    """What made a run unstable, in words."""
    if not instability:
        return ""
    level = instability.get("level")
    place = f"column {instability.get('column')}"
    place += "" if level is None else f", level {level}"
    where = [instability.get("lat"), instability.get("lon")]
    if all(isinstance(x, (int, float)) for x in where):
        place += f" ({where[0]:.0f} N, {where[1]:.0f} E)"
    return (
        f"{instability.get('variable')} = {instability.get('value')} outside "
        f"{instability.get('bounds')} at step {instability.get('step')}, {place}"
    )


def budget_tables(study: Study) -> list[tuple[str, Table]]:
    """Budgets of predictions offline, and of the emulated tendencies online."""
    tables = []
    if study.offline is not None:
        tables.append(("Offline: predictions beside the truth", _offline_budgets(study.offline)))
    if study.online is not None:
        records = json.loads(study.online.attrs["records"])
        tables.append(("Online: what the runs recorded", _online_budgets(records)))
        tables.append(("Online: corrections by the coupler", _corrections(records)))
    return [(title, table) for title, table in tables if table.rows]


def _offline_budgets(offline: xarray.Dataset) -> Table:
    heads = ("member", "budget", "truth", "prediction", "RMSE of a column", "unit")
    rows = []
    shown = (
        ("water_residual", _DAY, "mm/day"),
        ("implied_top_radiation", 1.0, "W/m²"),
    )
    for i, label in enumerate(offline["member"].values.tolist()):
        for name, factor, unit in shown:
            one = offline.isel(member=i)
            values = [float(one[f"{name}_{k}"]) * factor for k in ("truth", "prediction", "rmse")]
            what = str(offline[f"{name}_truth"].attrs["long_name"]).split(": ")[-1]
            rows.append([text(label), text(what), *(number(v) for v in values), text(unit)])
    note = (
        "Water: column integral of the tendencies of vapour, liquid and ice plus precipitation; 0 "
        "where nothing is created. Radiation: the net flux into the model top that would close the "
        "energy of the column."
    )
    return Table(heads, rows, note)


def _online_budgets(records: dict[str, Any]) -> Table:
    rows = [
        [
            text(label),
            text(name),
            number(budget["mean"]),
            number(budget["rms"]),
            text(budget["unit"]),
            text(budget.get("meaning", "")),
        ]
        for label, record in records.items()
        for name, budget in (record.get("budgets") or {}).items()
    ]
    return Table(("run", "budget", "mean", "root mean square", "unit", "meaning"), rows)


def _corrections(records: dict[str, Any]) -> Table:
    rows = []
    for label, record in records.items():
        cells = float(record.get("cells") or 0) * float(record.get("coupled_steps") or 0)
        for rule, count in (record.get("corrections") or {}).items():
            share = 100.0 * float(count) / cells if cells else float("nan")
            rows.append([text(label), text(rule), number(count), number(share)])
    note = "Share: of all values of all columns, levels and coupled steps."
    return Table(("run", "rule and variable", "values changed", "share (%)"), rows, note)


def best_members_table(study: Study) -> Table | None:
    """The best member in each field, beside the floor."""
    members, floor = study.members(), study.floor()
    if members is None or "rmse_mean_T" not in members:
        return None
    longest = _longest(members)
    rows = []
    for name in (*PROFILES, "PRECT"):
        key = f"rmse_mean_{name}"
        if key not in members or not np.isfinite(members[key].values[longest]).any():
            continue
        values = np.where(longest, members[key].values, np.inf)
        best = int(np.nanargmin(values))
        written = quantity(name)
        rows.append(
            [
                text(plain(written.symbol)),
                text(str(members["run"].values[best])),
                number(values[best] * written.factor),
                number(_shown(floor, key, name)),
                text(plain(written.unit)),
            ]
        )
    note = "Smallest RMSE of the time mean among the members that ran longest; floor: MMF2."
    return Table(("field", "best member", "RMSE", "floor", "unit"), rows, note)


def _longest(members: xarray.Dataset) -> np.ndarray:
    """Which members have a time mean as long as the longest one: shorter ones flatter."""
    days = members["mean_days"].values
    return days >= days.max() - 0.5


def published_table(study: Study) -> Table | None:
    """Members beside the best published values, which are for means over five years."""
    members = study.members()
    if members is None:
        return None
    rows = []
    longest = _longest(members)
    for title, key, name, published in PUBLISHED:
        if key not in members:
            continue
        written = quantity(name)
        values = np.where(longest, members[key].values * written.factor, np.nan)
        if not np.isfinite(values).any():
            continue
        best = int(np.nanargmin(values))
        days = float(members["mean_days"].values[best])
        rows.append(
            [
                text(title),
                number(values[best]),
                text(str(members["run"].values[best])),
                number(published),
                text(plain(written.unit)),
                number(days),
            ]
        )
    note = (
        "Published: Hu et al. 2025, means over five years of E3SM-MMF. Means over fewer days hold "
        "weather that a long mean averages out, so they say little beside these values."
    )
    heads = ("measure", "best here", "member", "published", "unit", "days in the mean")
    return Table(heads, rows, note) if rows else None


def provenance_rows(datasets: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """What made each file of metrics."""
    keys = ("git_revision", "climsim_version", "input_hashes", "configuration")
    rows = [
        [text(label), *(text(_readable(attributes.get(key, ""))) for key in keys)]
        for label, attributes in datasets
    ]
    return Table(("file", "revision", "version", "inputs", "configuration"), rows)


def _readable(value: Any) -> str:
    try:
        decoded = json.loads(value)
    except (TypeError, ValueError):
        return str(value)
    if isinstance(decoded, dict):
        return ", ".join(f"{key}={entry}" for key, entry in decoded.items())
    return str(value)
