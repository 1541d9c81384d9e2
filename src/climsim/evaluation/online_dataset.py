"""Joining the measures of all runs into the labelled dataset of online metrics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
import xarray

from climsim.arrays import Fields
from climsim.constants import DAYS_PER_YEAR, SECONDS_PER_DAY
from climsim.evaluation.definitions import LEFT_OUT, Definitions
from climsim.evaluation.derived import FRACTIONS, PARTS
from climsim.evaluation.history import Period, RunHistory, date_of
from climsim.evaluation.members import Member
from climsim.evaluation.online_run import mean_fractions
from climsim.evaluation.online_score import FIRST_DAYS, OnlineScore
from climsim.evaluation.precipitation import EDGES, QUANTILES, STEPS
from climsim.evaluation.regions import BIN_CENTRES, REGIONS, SURFACES
from climsim.evaluation.score import Labelled, by_quantity, scores_of
from climsim.evaluation.stability import alive_fraction, outcome_of
from climsim.names import as_name

MEMBER, REFERENCE, FLOOR = "member", "reference", "floor"
EXTERNAL = "external"
"""Roles of a run: emulated physics, full physics, full physics again from a perturbed start, and
another study's emulated physics."""
_FULL_PHYSICS = {REFERENCE: (1, "reference"), FLOOR: (2, "reference_perturbed")}
"""Number of a run with full physics, and its name where the physics has none."""
HINDCASTS = "hindcast_days"
"""Attribute by which metrics of hindcasts are known: days of the longest run."""
AXES = {"h1": "day", "h0": "month"}
"""Axis of each history stream whose means are followed in time."""


@dataclass(frozen=True)
class Plan:
    """What all runs are compared over.

    Attributes:
        reference: the reference run.
        periods: periods of the reference by stream, in order.
        mean_stream: stream of the time means.
        rain_stream: finest stream, for distributions of precipitation.
        skip_before: periods that begin earlier are left out of means [s since 0001-01-01].
        definitions: which definitions the scores follow.
    """

    reference: RunHistory
    periods: dict[str, list[Period]]
    mean_stream: str
    rain_stream: str
    skip_before: int
    definitions: Definitions

    def counted(self, stream: str) -> list[Period]:
        """Periods of a stream that means and distributions include."""
        found = [p for p in self.periods[stream] if p[0] >= self.skip_before]
        if not self.definitions.years or not found:
            return found
        end = found[0][0] + self.definitions.years * DAYS_PER_YEAR * SECONDS_PER_DAY
        return [p for p in found if p[1] <= end]

    @property
    def left_out(self) -> Period | None:
        """The month that zonal biases leave out: the reference's first, if means count it at all.

        None where it is the only one.
        """
        months = self.counted("h0") if self.mean_stream == "h0" else []
        if self.definitions.first_month != LEFT_OUT or len(months) < 2:
            return None
        first = self.periods["h0"][0]
        return first if first in months else None

    @property
    def window(self) -> float:
        """Length of the time mean of a run that has every period [days]."""
        return sum(p[1] - p[0] for p in self.counted(self.mean_stream)) / SECONDS_PER_DAY

    @cached_property
    def fractions(self) -> Fields:
        """Time-mean surface fractions (column,) of the reference."""
        stream = next((s for s in (self.mean_stream, *AXES) if self._holds_fractions(s)), None)
        if stream is None:
            return {}
        return mean_fractions(self.reference, stream, self.counted(stream))

    def _holds_fractions(self, stream: str) -> bool:
        return all(self.reference.holds(stream, name) for name in FRACTIONS)

    @property
    def rain_samples(self) -> str:
        """What distributions of precipitation are of, in words."""
        instant = any(
            self.reference.instantaneous(self.rain_stream, name)
            for name in ("PRECT", *PARTS["PRECT"])
        )
        kind = "instantaneous samples" if instant else "means"
        return f"{kind} of stream {self.rain_stream}"


@dataclass
class Row:
    """What is known about one run.

    Attributes:
        run: its history.
        role: member, reference or floor.
        arrays: measures without the axis ``run``.
    """

    run: RunHistory
    role: str
    arrays: dict[str, Labelled] = field(default_factory=dict)

    @property
    def member(self) -> Member:
        """Name of the run."""
        if self.role == MEMBER:
            return self.run.member
        if self.role == EXTERNAL:
            return Member(as_name(self.run.folder.name), "", -1)
        return Member(self._full_physics, "", -1)

    @property
    def _full_physics(self) -> str:
        """Name of a run with full physics: by the name of that physics, as its record says it."""
        number, unnamed = _FULL_PHYSICS[self.role]
        physics = self.run.record.get("physics")
        return as_name(f"{physics}{number}") if physics else unnamed


def labels_of(rows: Sequence[Row]) -> list[str]:
    """A name for each run: its member, or its folder where a member ran more than once.

    One model runs several times in another precision, from another start or with other options of
    the coupler.
    """
    members = Counter(row.member.label for row in rows)
    folders = Counter(row.run.folder.name for row in rows)
    labels = []
    for row in rows:
        folder = row.run.folder
        name = folder.name if folders[folder.name] == 1 else str(folder)
        labels.append(row.member.label if members[row.member.label] == 1 else name)
    return labels


def stacked(rows: Sequence[Row]) -> dict[str, Labelled]:
    """The measures of all runs along ``run``; what a run lacks is NaN."""
    templates: dict[str, Labelled] = {}
    for row in rows:
        templates |= {name: value for name, value in row.arrays.items() if name not in templates}
    arrays: dict[str, Labelled] = {}
    for name, (dims, template, notes) in templates.items():
        blank = Labelled(dims, np.full(np.shape(template), np.nan), notes)
        stack = np.stack([np.asarray(row.arrays.get(name, blank).values) for row in rows])
        arrays[name] = Labelled(("run", *dims), stack, notes)
    return arrays


def join(rows: list[Row], plan: Plan) -> xarray.Dataset:
    """Join the measures of all runs, and what is known about them, along ``run``."""
    arrays = stacked(rows)
    # Rows differ in what belongs to the reference only in the periods that they share with it.
    alone = [score for score in scores_of(OnlineScore) if score.of_reference]
    of_reference = {score.variable_of(subject) for score, subject in by_quantity(alone)}
    reference = [row.role for row in rows].index(REFERENCE)
    for name in of_reference & arrays.keys():
        dims, values, notes = arrays[name]
        arrays[name] = Labelled(dims[1:], np.asarray(values)[reference], notes)
    arrays |= record_arrays(rows)
    dataset = xarray.Dataset(arrays, _coordinates(rows, plan))
    labels = labels_of(rows)
    dataset.attrs = {
        "Conventions": "CF-1.11",
        "title": "Online skill of coupled runs against a reference run",
        "mean_stream": plan.mean_stream,
        "precipitation_stream": plan.rain_stream,
        "precipitation_samples": plan.rain_samples,
        "mean_window": plan.window,
        **asdict(plan.definitions),
        "reference_start": date_of(plan.reference.start),
        "problems": json.dumps(dict(zip(labels, (r.run.problems for r in rows), strict=True))),
        "records": json.dumps(
            dict(zip(labels, (r.run.record for r in rows), strict=True)), default=str
        ),
    }
    return dataset


def record_arrays(rows: Sequence[Row]) -> dict[str, Labelled]:
    """Outcome and cost of each run, and the fraction of seeds alive by network and recipe."""
    outcomes = [outcome_of(row.run) for row in rows]
    members = [(row.member, o) for row, o in zip(rows, outcomes, strict=True) if row.role == MEMBER]
    days = np.unique(np.concatenate([[0.0], *([o.days, o.days_wanted] for o in outcomes)]))
    groups, fraction = alive_fraction(members, days)
    notes = {
        "status": {"long_name": "how the run ended"},
        "days": {"units": "d", "long_name": "simulated days"},
        "days_wanted": {"units": "d", "long_name": "simulated days asked for"},
        "sypd": {"units": "1", "long_name": "simulated years per day of wall time"},
    }
    arrays = {
        name: Labelled(("run",), [getattr(outcome, name) for outcome in outcomes], about)
        for name, about in notes.items()
    }
    survival = {"units": "1", "long_name": "fraction of seeds that had not become unstable"}
    since = {"units": "d", "long_name": "days since the start"}
    return arrays | {
        "alive_fraction": Labelled(("group", "elapsed"), fraction, survival),
        "group_network": Labelled(("group",), [g[0] for g in groups], {"long_name": "network"}),
        "group_recipe": Labelled(("group",), [g[1] for g in groups], {"long_name": "recipe"}),
        "elapsed": Labelled(("elapsed",), days, since),
    }


def _rain(what: str) -> dict[str, str]:
    return {"units": "mm d-1", "long_name": f"{what} of a bin of precipitation"}


def run_labels(rows: Sequence[Row]) -> dict[str, tuple[str, object, dict[str, str]]]:
    """What tells runs apart, and the names of regions, as coordinates."""
    along_runs: dict[str, object] = {
        "run": labels_of(rows),
        "role": [row.role for row in rows],
        "network": [row.member.network for row in rows],
        "recipe": [row.member.recipe for row in rows],
        "seed": [row.member.seed for row in rows],
    }
    labels = {name: ("run", values, {"long_name": name}) for name, values in along_runs.items()}
    return {**labels, **_names("region", REGIONS)}


def _names(axis: str, names: Iterable[object]) -> dict[str, tuple[str, object, dict[str, str]]]:
    """The coordinate of an axis whose places have names."""
    return {axis: (axis, list(names), {"long_name": axis})}


def _coordinates(rows: list[Row], plan: Plan) -> dict[str, object]:
    grid = plan.reference.grid
    start = plan.reference.start
    pressure = grid.midpoint_pressure(np.array([grid.p0]))[:, 0]
    north = {"units": "degrees_north", "standard_name": "latitude"}
    solid_angle = {"units": "steradian", "long_name": "solid angle of the column"}
    coordinates: dict[str, object] = {
        **run_labels(rows),
        **_names("surface", SURFACES),
        **_names("quantile", QUANTILES),
        "level": ("level", np.arange(grid.n_levels), {"long_name": "level, 0 at the model top"}),
        "pressure": ("level", pressure, {"units": "Pa", "long_name": "nominal pressure"}),
        "latitude": ("latitude", BIN_CENTRES, north),
        "rain_low": ("rain_bin", EDGES[:-1], _rain("lower bound")),
        "rain_high": ("rain_bin", EDGES[1:], _rain("upper bound")),
        "rain_step": ("rain_step", 0.5 * (STEPS[1:] + STEPS[:-1]), _rain("middle")),
        "lat": ("column", grid.lat, north),
        "lon": ("column", grid.lon, {"units": "degrees_east", "standard_name": "longitude"}),
        "area": ("column", grid.area, solid_angle),
    }
    notes = {"units": "d", "long_name": "end of the mean, days since the start"}
    first = plan.periods["h1"][:FIRST_DAYS]
    if first:
        ends = [(p[1] - start) / SECONDS_PER_DAY for p in first]
        coordinates["first_day"] = ("first_day", ends, notes)
    for stream, axis in AXES.items():
        periods = plan.periods[stream]
        if periods:
            elapsed = [(p[1] - start) / SECONDS_PER_DAY for p in periods]
            coordinates[axis] = (axis, elapsed, notes)
            dates = [date_of(p[0]) for p in periods]
            coordinates[f"{axis}_date"] = (axis, dates, {"long_name": "start of the mean"})
    return coordinates
