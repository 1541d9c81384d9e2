"""Tables about members as a whole: best by field, beside the published, how runs ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray

from climsim.evaluation.online_run import PROFILES
from climsim.evaluation.published import PUBLISHED
from climsim.figures.labels import quantity
from climsim.figures.study import Study
from climsim.figures.style import member_label
from climsim.report.cells import Table, number, plain, text


def name_of(one: xarray.Dataset) -> str:
    """Network, recipe and seed of one member, in words."""
    network, recipe = str(one["network"].values), str(one["recipe"].values)
    return member_label(network, recipe, int(one["seed"]))


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
                number(_known(floor, key) * written.factor),
                text(plain(written.unit)),
            ]
        )
    note = "Smallest RMSE of the time mean among the members that ran longest; floor: MMF2."
    return Table(("field", "best member", "RMSE", "floor", "unit"), rows, note)


def _known(row: xarray.Dataset | None, name: str) -> float:
    return float("nan") if row is None or name not in row else float(row[name])


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
    for key, (title, published) in PUBLISHED.items():
        if key not in members:
            continue
        written = quantity(key.rsplit("_", 1)[1])
        values = np.where(longest, members[key].values * written.factor, np.nan)
        if not np.isfinite(values).any():
            continue
        best = int(np.nanargmin(values))
        rows.append(
            [
                text(title),
                number(values[best]),
                text(str(members["run"].values[best])),
                number(round(published * written.factor, 6)),
                text(plain(written.unit)),
                number(members["mean_days"].values[best]),
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
