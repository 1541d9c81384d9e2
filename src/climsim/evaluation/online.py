"""Online evaluation: coupled runs measured against a reference run, joined into one dataset.

Rows of the axis ``run`` are the members, the reference (role ``reference``) and, where given, a
second run with the reference's physics from a perturbed start (role ``floor``), whose difference
from the reference is internal variability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import takewhile
from pathlib import Path

import numpy as np

from climsim.arrays import Array, Fields
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.evaluation.config import OnlineConfig
from climsim.evaluation.derived import PARTS, with_sums
from climsim.evaluation.history import RunHistory
from climsim.evaluation.online_dataset import (
    AXES,
    EXTERNAL,
    FLOOR,
    MEMBER,
    REFERENCE,
    Plan,
    Row,
    join,
    labels_of,
)
from climsim.evaluation.online_run import RAIN_FIELDS, precipitation, time_mean
from climsim.evaluation.online_score import (
    FIRST_DAYS,
    UNRELATED_DAYS,
    FirstMonthScore,
    OnlineScore,
    PeriodMeans,
    PeriodScore,
    PrecipitationScore,
    TimeMeans,
    TimeMeanScore,
    UnrelatedScore,
    fields_read,
)
from climsim.evaluation.score import Labelled, State, Subject, by_quantity, scores_of
from climsim.files import provenance
from climsim.netcdf import write_netcdf
from climsim.parallel import run_tasks
from climsim.products import Kind, attributes_of, claim
from climsim.runs.streams import STREAMS
from climsim.stage import Progress

ONLINE_METRICS = Kind(
    "a file of online metrics",
    lambda path: {"mean_stream", "git_revision"} <= attributes_of(path).keys(),
)
_MEAN_WORDS = {"h1": "daily", "h0": "monthly"}
_FULL_MONTH = 28 * SECONDS_PER_DAY
_MOST_PAIRS = 24
"""Pairs of days that are read: their distances differ by a tenth."""
_GRID_TOLERANCES = {
    **dict.fromkeys(("lat", "lon"), 1e-3),
    **dict.fromkeys(("hyam", "hybm", "hyai", "hybi"), 1e-6),
    "P0": 0.1,
}
"""Largest differences between files of one grid [degrees, 1, Pa], for single precision.

Areas are no part of it: models compute them in different ways.
"""


def evaluate_online(config: OnlineConfig, progress: Progress | None = None) -> Path:
    """Measure coupled runs against a reference and save the metrics as netCDF.

    Args:
        config: the runs.
        progress: called with (runs done, runs in all).

    Returns:
        Path of the metrics.

    Raises:
        ClimSimError: if a folder is missing or a run lies on another grid than the reference.
    """
    references = {"reference": config.reference, "second_reference": config.second_reference}
    folders = (*config.runs, *config.external)
    claim(config.out, ONLINE_METRICS, references | {str(path): path for path in folders})
    reference = RunHistory.open(config.reference)
    plan = make_plan(reference, config)
    rows = [Row(RunHistory.open(folder, allow_empty=True), MEMBER) for folder in config.runs]
    rows.append(Row(reference, REFERENCE))
    rows += [Row(RunHistory.open(folder), EXTERNAL) for folder in config.external]
    if config.second_reference is not None:
        rows.append(Row(RunHistory.open(config.second_reference), FLOOR))
    tasks = [(number, row, plan) for number, row in enumerate(rows)]
    for done, (number, row) in enumerate(run_tasks(_measured, tasks, config.workers), start=1):
        rows[number] = row
        if progress:
            progress(done, len(rows))
    dataset = join(rows, plan)
    settings = {k: v for k, v in asdict(config).items() if k not in ("out", "workers")}
    summaries = [run_summary(row.run) for row in rows]
    hashes = dict(zip(labels_of(rows), summaries, strict=True))
    dataset.attrs |= provenance(settings, hashes)
    write_netcdf(dataset, config.out, checked=True)
    return config.out


def _measured(task: tuple[int, Row, Plan]) -> tuple[int, Row]:
    """Measure a run in whatever process; its number and what is known about it."""
    number, row, plan = task
    if not row.run.empty:
        check_grid(row.run, plan.reference)
    return number, replace(row, arrays=measure(row.run, plan))


def make_plan(reference: RunHistory, config: OnlineConfig) -> Plan:
    """Choose the periods and streams that all runs are compared over."""
    periods = {stream: list(reference.periods(stream)) for stream in STREAMS}
    skip_before = reference.start + round(config.skip_days * SECONDS_PER_DAY)
    # Where there are whole months, the part of one at either end is none.
    months = [p for p in periods["h0"] if p[1] - p[0] >= _FULL_MONTH]
    periods["h0"] = months or periods["h0"]
    full = [p for p in months if p[0] >= skip_before]
    stream = config.mean_stream
    if stream == "auto":
        stream = "h0" if len(full) >= 2 or not periods["h1"] else "h1"
    finest = [s for s in ("h2", "h1", "h0") if periods[s]]
    rain = next((s for s in finest if _holds_rain(reference, s)), finest[0])
    counted = any(p[0] >= skip_before for p in periods[stream])
    days, name = reference.length / SECONDS_PER_DAY, f"the reference {reference.folder}"
    config.require_length(days, name, counted)
    return Plan(
        reference=reference,
        periods=periods,
        mean_stream=stream,
        rain_stream=rain,
        skip_before=skip_before,
        definitions=config.definitions,
    )


def _holds_rain(run: RunHistory, stream: str) -> bool:
    """Whether a stream holds precipitation, or the parts whose sum it is."""
    forms = (("PRECT",), PARTS["PRECT"])
    return any(all(run.holds(stream, name) for name in names) for names in forms)


def check_grid(run: RunHistory, reference: RunHistory) -> None:
    """Refuse a run on other columns or levels than the reference, or at other places.

    Compared is what the files hold: where those of a run do not describe all of its grid, it is
    taken to be the reference's, if the rest and the numbers of levels and columns agree.

    Raises:
        ClimSimError: naming the two folders and what differs.
    """
    if run is reference:
        return
    found = ""
    if run.size[1] != reference.size[1] or run.size[0] not in (None, reference.size[0]):
        found = f"{run.size} levels and columns instead of {reference.size}"
    elif differing := _differing(run.grid_fields, reference.grid_fields):
        found = f"other {', '.join(differing)}"
    if found:
        raise ClimSimError(
            f"{run.folder}: expected the grid of the reference {reference.folder}, found {found}: "
            "compare runs on one grid"
        )
    try:
        _ = run.grid
    except ClimSimError as error:
        run.note(f"{error}; taken to be the grid of the reference")


def _differing(held: Fields, expected: Fields) -> list[str]:
    """Names of the fields in which two grids differ, of those that both describe."""
    return [
        name
        for name, tolerance in _GRID_TOLERANCES.items()
        if name in held
        and name in expected
        and not _close(name, held[name], expected[name], tolerance)
    ]


def _close(name: str, values: Array, expected: Array, tolerance: float) -> bool:
    """Whether the largest difference is within a tolerance; longitudes are on a circle."""
    if values.shape != expected.shape:
        return False
    difference = np.subtract(values, expected, dtype=np.float64)
    if name == "lon":
        difference = (difference + 180.0) % 360.0 - 180.0
    return bool((np.abs(difference) <= tolerance).all())


def run_summary(run: RunHistory) -> str:
    """Number and size of the history files of a run, and the revision that made them.

    Contents are not hashed: five years of history are larger than what is computed from them.
    """
    places = {p.path for s in STREAMS for p in run.periods(s).values()}
    total = sum(path.stat().st_size for path in places)
    revision = (run.record.get("made_by") or {}).get("git_revision", "unknown")
    return f"{len(places)} files, {total} bytes, made by revision {revision}"


def measure(run: RunHistory, plan: Plan) -> dict[str, Labelled]:
    """All measures of one run, without the axis ``run``."""
    arrays = period_arrays(run, plan) | _first_month_arrays(run, plan)
    if run is plan.reference:
        arrays |= unrelated_arrays(plan)
    periods = plan.counted(plan.mean_stream)
    definitions, reference = plan.definitions, plan.reference
    mean = time_mean(
        run=run,
        reference=reference,
        stream=plan.mean_stream,
        periods=periods,
        definitions=definitions,
        without=plan.left_out,
        names=fields_read(),
    )
    if mean.days == 0:
        run.note(
            f"no mean of {plan.mean_stream} in common with the reference; no time mean of this run"
        )
    else:
        means = TimeMeans(mean, reference.grid)
        if means.mass is None:
            run.note(
                f"no PS of {plan.mean_stream} in the reference; no score of the time mean of this "
                "run that is weighted by mass"
            )
        arrays |= _arrays(scores_of(TimeMeanScore), means, **definitions.notes())
    notes = {"units": "d", "long_name": "length of the time mean"}
    arrays["mean_days"] = Labelled((), mean.days, notes)
    stream = plan.rain_stream
    # Months have been read whole.
    names = fields_read() if stream == "h0" else RAIN_FIELDS
    counts = precipitation(
        run, reference, stream, plan.counted(stream), fractions=plan.fractions, names=names
    )
    if not counts.weight.any():
        run.note(
            f"no PRECT of {stream} in common with the reference; no distribution of "
            "precipitation of this run"
        )
    return arrays | _arrays(scores_of(PrecipitationScore), counts, samples=plan.rain_samples)


def _arrays(
    scores: Sequence[OnlineScore[State]], state: State, **parts: str
) -> dict[str, Labelled]:
    """The values of scores for every quantity that the run holds."""
    arrays = {}
    for score, subject in by_quantity(scores):
        values = score.values(state, subject)
        if values is not None:
            labelled = score.labelled(values, subject, **parts)
            arrays[score.variable_of(subject, **parts)] = labelled
    return arrays


def period_arrays(run: RunHistory, plan: Plan) -> dict[str, Labelled]:
    """Scores of every mean of a stream, along its axis; NaN where there is no matching mean.

    Args:
        run: the run.
        plan: the reference, and which of its means count.
    """
    arrays: dict[str, Labelled] = {}
    scores = scores_of(PeriodScore)
    for stream, word in _MEAN_WORDS.items():
        periods = plan.periods[stream]
        if not periods:
            continue
        found = [
            (score, subject, np.full((*score.shape, len(periods)), np.nan))
            for score, subject in by_quantity(scores)
        ]
        for i, means in _matching(run, plan, stream):
            for score, subject, along in found:
                values = score.values(means, subject)
                along[..., i] = np.nan if values is None else values
        for score, subject, along in found:
            if score.saved_if_empty or np.isfinite(along).any():
                labelled = score.labelled(along, subject, mean=word)
                dims = tuple(AXES[stream] if dim == "time" else dim for dim in labelled.dims)
                arrays[score.variable_of(subject, mean=word)] = labelled._replace(dims=dims)
    return arrays


def _first_month_arrays(run: RunHistory, plan: Plan) -> dict[str, Labelled]:
    """Scores of every daily mean of the first month; NaN where there is no matching mean."""
    days, scores = plan.periods["h1"][:FIRST_DAYS], scores_of(FirstMonthScore)
    found: dict[str, Labelled] = {}
    for i, means in takewhile(lambda numbered: numbered[0] < len(days), _matching(run, plan, "h1")):
        for score, subject in by_quantity(scores):
            values = score.values(means, subject)
            if values is None:
                continue
            name = score.variable_of(subject)
            if name not in found:
                blank = np.full((len(days), *np.shape(values)), np.nan)
                found[name] = score.labelled(blank, subject)
            np.asarray(found[name].values)[i] = values
    return found


def unrelated_arrays(plan: Plan) -> dict[str, Labelled]:
    """Scores of pairs of days of the reference; none where it is no longer than they are apart.

    Args:
        plan: the reference, and its days.
    """
    reference, names, days = plan.reference, fields_read(), plan.periods["h1"]
    apart = UNRELATED_DAYS * SECONDS_PER_DAY
    starting = {period[0]: period for period in days}
    pairs = [(p, starting[p[0] + apart]) for p in days if p[0] + apart in starting]
    squares: dict[str, list[float]] = {}
    made: dict[str, tuple[UnrelatedScore, Subject]] = {}
    for earlier, later in pairs[:: -(-len(pairs) // _MOST_PAIRS) or 1]:
        run, truth = (
            with_sums(reference.read("h1", period, names) or {}) for period in (later, earlier)
        )
        means = PeriodMeans(run, truth, reference.grid)
        for score, subject in by_quantity(scores_of(UnrelatedScore)):
            value = score.values(means, subject)
            if value is not None:
                name = score.variable_of(subject)
                made[name] = score, subject
                squares.setdefault(name, []).append(float(np.square(value)))
    return {
        name: score.labelled(np.sqrt(np.mean(squares[name])), subject)
        for name, (score, subject) in made.items()
    }


def _matching(run: RunHistory, plan: Plan, stream: str) -> Iterator[tuple[int, PeriodMeans]]:
    """Numbers of the reference's periods of which the run has a mean, and both means."""
    reference, names = plan.reference, fields_read()
    of_run = run.periods(stream)
    for i, period in enumerate(plan.periods[stream]):
        if period not in of_run:
            continue
        fields = run.read(stream, period, names)
        if fields is None:
            continue
        truth = None if run is reference else reference.read(stream, period, names)
        yield i, PeriodMeans(with_sums(fields), with_sums(truth or {}), reference.grid)
