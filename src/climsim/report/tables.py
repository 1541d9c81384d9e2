"""Tables about members as a whole: best by field, beside the published, how runs ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import xarray

from climsim.notation import position, unit_in_words, written
from climsim.report.cells import Table, number, text
from climsim.report.leaderboard import outcome_of_run
from climsim.results.labels import member_names
from climsim.results.published import PUBLISHED
from climsim.results.quantities import COMPARED, plain, quantity
from climsim.results.stability import became_unstable, leading
from climsim.results.study import Study
from climsim.variables import VARIABLES

_OTHER_UNITS = {"temperature": "K", "pressure": "Pa"}
"""Units of what a host watches beside the variables, by the last word of its name."""


def stability_table(study: Study) -> Table | None:
    """How every run ended, and what happened to those that failed."""
    if study.online is None:
        return None
    records = json.loads(study.online.attrs["records"])
    problems = json.loads(study.online.attrs["problems"])
    heads = ("run", "role", "status", "days", "days wanted", "SYPD", "what happened")
    names, rows = member_names(study), []
    for i, label in enumerate(study.online["run"].values.tolist()):
        run = study.online.isel(run=i)
        record = records.get(label, {})
        happened = [str(record.get("message", "")), _trouble(record.get("instability"))]
        happened += problems.get(label, [])
        rows.append(
            [
                text(names[label]),
                text(str(run["role"].values)),
                text(outcome_of_run(run)),
                number(run["days"]),
                number(run["days_wanted"]),
                number(run["sypd"]),
                text("; ".join(part for part in happened if part)),
            ]
        )
    return Table(heads, rows, larger_first=frozenset(["days", "days wanted", "SYPD"]))


def undefined_table(study: Study) -> Table | None:
    """Members scored on values that are no finite numbers; None where there is none."""
    if study.offline is None:
        return None
    names = member_names(study)
    problems = zip(study.offline["member"].values, study.offline["problems"].values, strict=True)
    rows = [[text(names[str(label)]), text(str(what))] for label, what in problems if what]
    note = "The scores of these outputs are undefined, and means over them too."
    return Table(("member", "what is no number"), rows, note) if rows else None


def _trouble(instability: Mapping[str, object] | None) -> str:
    """What made a run unstable, in words."""
    if not instability:
        return ""
    level = instability.get("level")
    where = f"column {instability.get('column')}"
    where += "" if level is None else f", level {level}"
    lat, lon = instability.get("lat"), instability.get("lon")
    if isinstance(lat, (int, float)) and isinstance(lon, (int, float)):
        where += f" ({position(lat, lon)})"
    name, unit = _watched(str(instability.get("variable")))
    bounds = instability.get("bounds")
    low, high = map(_with_unit, bounds) if isinstance(bounds, list | tuple) else ("–", "–")
    value = _with_unit(instability.get("value"), unit)
    return (
        f"{name} {value}, outside {low} to {high} {unit}".rstrip()
        + f", at step {instability.get('step')}, {where}"
    )


def _watched(name: str) -> tuple[str, str]:
    """Name in words and unit of a variable whose bounds a run watches."""
    if name in VARIABLES:
        return VARIABLES[name].long_name, unit_in_words(VARIABLES[name].unit)
    name_in_words = name.replace("_", " ")
    return name_in_words, _OTHER_UNITS.get(name_in_words.split()[-1], "")


def _with_unit(value: object, unit: str = "") -> str:
    """A recorded number with its unit; what JSON cannot hold as a number is a text."""
    if isinstance(value, int | float):
        return written(value, 4, unit)
    return f"{value} {unit}".rstrip()


def best_members_table(study: Study) -> Table | None:
    """The best member in each field, beside the floor."""
    members, floor = study.members(), study.floor()
    if members is None or "rmse_mean_T" not in members:
        return None
    chosen, names = leading(members), _marked_names(study)
    rows = []
    for name in (*COMPARED, "PRECT"):
        key = f"rmse_mean_{name}"
        if key not in members or not np.isfinite(members[key].values[chosen]).any():
            continue
        values = np.where(chosen, members[key].values, np.inf)
        best = int(np.nanargmin(values))
        shown = quantity(name)
        rows.append(
            [
                text(plain(shown.symbol)),
                text(names[str(members["run"].values[best])]),
                number(values[best] * shown.factor),
                number(_known(floor, key) * shown.factor),
                text(plain(shown.unit)),
            ]
        )
    note = (
        "Smallest RMSE of the time mean among the members that ran longest and stayed stable; "
        f"floor: a second run with full physics.{_all_died(members)}"
    )
    return Table(("field", "best member", "RMSE", "floor", "unit"), rows, note)


def _known(row: xarray.Dataset | None, name: str) -> float:
    return float("nan") if row is None or name not in row else float(row[name])


def _marked_names(study: Study) -> dict[str, str]:
    """Names in words, with a dagger behind runs that became unstable."""
    names, members = member_names(study), study.members()
    if members is not None:
        for label in members["run"].values[became_unstable(members)].tolist():
            names[label] += " †"
    return names


def _all_died(members: xarray.Dataset) -> str:
    return " † Every run became unstable." if became_unstable(members).all() else ""


def published_table(study: Study) -> Table | None:
    """Members beside the best published values, which are for means over five years."""
    members = study.members()
    if members is None:
        return None
    rows = []
    chosen, names = leading(members), _marked_names(study)
    for measure, (title, published) in PUBLISHED.items():
        if measure.key not in members:
            continue
        shown = measure.quantity
        values = np.where(chosen, measure.shown(members).values, np.nan)
        if not np.isfinite(values).any():
            continue
        best = int(np.nanargmin(values))
        rows.append(
            [
                text(title),
                number(values[best]),
                text(names[str(members["run"].values[best])]),
                number(round(published * shown.factor, 6)),
                text(plain(shown.unit)),
                number(members["mean_days"].values[best]),
            ]
        )
    note = (
        "Published: Hu et al. 2025, means over five years of E3SM-MMF. Means over fewer days hold "
        "weather that a long mean averages out, so they say little beside these values."
        f"{_all_died(members)}"
    )
    heads = ("measure", "best here", "member", "published", "unit", "days in the mean")
    return Table(heads, rows, note) if rows else None


def provenance_rows(datasets: Sequence[tuple[str, dict[str, object]]]) -> Table:
    """What made each file of metrics."""
    keys = ("git_revision", "climsim_version", "input_hashes", "configuration")
    rows = [
        [text(label), *(text(_readable(attributes.get(key, ""))) for key in keys)]
        for label, attributes in datasets
    ]
    return Table(("file", "revision", "version", "inputs", "configuration"), rows)


def _readable(value: object) -> str:
    try:
        decoded = json.loads(str(value))
    except (TypeError, ValueError):
        return str(value)
    if isinstance(decoded, dict):
        return ", ".join(f"{key}={entry}" for key, entry in decoded.items())
    return str(value)
