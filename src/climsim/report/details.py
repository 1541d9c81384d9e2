"""Tables of scores by output and of budgets: details behind the leaderboard."""

from __future__ import annotations

import json
from typing import Any

import xarray

from climsim.constants import SECONDS_PER_DAY
from climsim.notation import unit_in_words, written
from climsim.report.cells import Cell, Table, number, text
from climsim.results.labels import member_names
from climsim.results.measures import mean_skill, score_label
from climsim.results.quantities import SCORED, TENDENCIES, plain, quantity
from climsim.results.study import Study
from climsim.variables import VARIABLES, variable


def offline_tables(study: Study) -> list[tuple[str, list[Table]]]:
    """For each member its scores by output, and by region; profiles as means over levels."""
    if study.offline is None:
        return []
    names = member_names(study)
    members = [study.offline.isel(member=i) for i in range(study.offline.sizes["member"])]
    return [(names[str(member["member"].values)], _member_tables(member)) for member in members]


def _member_tables(member: xarray.Dataset) -> list[Table]:
    """Scores by output, and skill of the tendencies by region and surface type."""
    regions = _region_table(member)
    return [_output_table(member), *([regions] if regions.rows else [])]


_OF_OUTPUT = ("r2", "r2_climsim", "rmse", "bias", "rmse_energy")
"""Scores of the table of outputs."""


def _output_table(member: xarray.Dataset) -> Table:
    r2, by_column, rmse, bias, weighted_rmse = (plain(score_label(s)) for s in _OF_OUTPUT)
    heads = ("output", "what", r2, by_column, rmse, bias, "unit", weighted_rmse)
    rows = []
    for name in (n for n in SCORED if f"r2_{n}" in member):
        shown = quantity(name)
        errors, mean_bias, weighted = (
            _root_mean_square(member[f"{key}_{name}"]) for key in ("rmse", "bias", "rmse_energy")
        )
        columns = mean_skill(member[f"r2_climsim_{name}"], member[f"rmse_{name}"])
        unit = member[f"rmse_energy_{name}"].attrs["units"]
        rows.append(
            [
                text(name),
                text(variable(name).long_name),
                number(member[f"r2_mean_{name}"]),
                number(columns),
                number(errors * shown.factor),
                number(mean_bias * shown.factor),
                text(plain(shown.unit)),
                Cell(written(weighted, unit=unit), weighted),
            ]
        )
    note = (
        "R²: over all samples and columns, and per column over time; means over levels with "
        "negative values as 0. RMSE and bias: root mean square over levels. Weighted: ClimSim's "
        "weighting by layer mass and area. The condensate (ptend_qn) is liquid plus ice: what the "
        "networks predict; its split into phases follows temperature alone."
    )
    return Table(heads, rows, note, frozenset([r2, by_column]))


def _region_table(member: xarray.Dataset) -> Table:
    """Mean R2 of each tendency by band of latitude and layer, and by surface type."""
    names = [n for n in TENDENCIES if f"r2_region_{n}" in member]
    bands, layers = member["band"].values.tolist(), member["layer"].values.tolist()
    surfaces = member["surface"].values.tolist() if "surface" in member else []
    heads = ("tendency", *(f"{b}, {layer}" for layer in layers for b in bands), *surfaces)
    rows = []
    for name in names:
        regions = member[f"r2_region_{name}"].transpose("layer", "band").values.ravel()
        types = [_skill_over(member.sel(surface=surface), name) for surface in surfaces]
        rows.append(
            [text(plain(quantity(name).symbol)), *(number(v, 2) for v in (*regions, *types))]
        )
    note = (
        "Mean R² over levels, negative values as 0: by band of latitude above and below 400 hPa, "
        "and over the columns that are more than half land, open ocean or sea ice."
    )
    return Table(heads, rows, note, frozenset(heads[1:]))


def _skill_over(member: xarray.Dataset, name: str) -> float:
    """Mean R2 of an output over one type of surface."""
    return mean_skill(member[f"r2_surface_{name}"], member[f"bias_surface_{name}"])


def _root_mean_square(errors: xarray.DataArray) -> float:
    """Over levels; NaN where one is."""
    return float((errors**2).mean(skipna=False)) ** 0.5


def budget_tables(study: Study) -> list[tuple[str, Table]]:
    """Budgets of predictions offline, and of the emulated tendencies online."""
    tables = []
    if study.offline is not None:
        tables.append(("Offline: predictions beside the truth", _offline_budgets(study)))
    if study.online is not None:
        records = json.loads(study.online.attrs["records"])
        names = member_names(study, records)
        tables.append(("Online: what the runs recorded", _online_budgets(records, names)))
        tables.append(("Online: corrections by the coupler", _corrections(records, names)))
    return [(title, table) for title, table in tables if table.rows]


def _offline_budgets(study: Study) -> Table:
    assert study.offline is not None
    offline, names = study.offline, member_names(study)
    heads = ("member", "budget", "truth", "prediction", "RMSE of a column", "unit")
    rows = []
    shown = (
        ("water_residual", SECONDS_PER_DAY, "mm day⁻¹"),
        ("implied_top_radiation", 1.0, "W m⁻²"),
    )
    for i, label in enumerate(offline["member"].values.tolist()):
        for name, factor, unit in shown:
            member = offline.isel(member=i)
            values = [
                float(member[f"{name}_{k}"]) * factor for k in ("truth", "prediction", "rmse")
            ]
            what = str(offline[f"{name}_truth"].attrs["long_name"]).split(": ")[-1]
            rows.append([text(names[label]), text(what), *(number(v) for v in values), text(unit)])
    note = (
        "Water: column integral of the tendencies of vapour, liquid and ice plus precipitation; 0 "
        "where nothing is created. Radiation: the net flux into the model top that would close the "
        "energy of the column."
    )
    return Table(heads, rows, note)


def _online_budgets(records: dict[str, Any], names: dict[str, str]) -> Table:
    rows = [
        [
            text(names[label]),
            text(name.replace("_", " ")),
            number(budget["mean"]),
            number(budget["rms"]),
            text(unit_in_words(budget["unit"])),
            text(budget.get("meaning", "")),
        ]
        for label, record in records.items()
        for name, budget in (record.get("budgets") or {}).items()
    ]
    return Table(("run", "budget", "mean", "root mean square", "unit", "meaning"), rows)


def _corrections(records: dict[str, Any], names: dict[str, str]) -> Table:
    rows = []
    for label, record in records.items():
        cells = float(record.get("cells") or 0) * float(record.get("coupled_steps") or 0)
        for rule, count in (record.get("corrections") or {}).items():
            share = 100.0 * float(count) / cells if cells else float("nan")
            rows.append([text(names[label]), text(_rule(rule)), number(count), number(share)])
    note = "Share: of all values of all columns, levels and coupled steps."
    return Table(("run", "rule and variable", "values changed", "share (%)"), rows, note)


def _rule(key: str) -> str:
    """A rule of the coupler and the variable that it corrects, in words."""
    rule, _, name = key.partition(":")
    what = VARIABLES[name].long_name if name in VARIABLES else name
    return f"{rule.replace('_', ' ')}: {what}" if what else rule
