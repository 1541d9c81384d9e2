"""Short runs from many starts, each measured day by day against the run that kept these starts.

One coupled run is one sample of the weather. Runs from a dozen days of a long run with full physics
are a dozen, and that long run is the truth for all of them: so differences between members can be
distinguished from chance. Source: initialized hindcasts as weather services and Transpose-AMIP make
them (Williams et al. 2013, doi:10.1175/JCLI-D-12-00429.1), here against the model's own full
physics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray

from climsim.calendar import seconds_of
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.evaluation.config import NOT_WITH_ITSELF, HindcastConfig
from climsim.evaluation.definitions import Definitions
from climsim.evaluation.history import ANY_FILE, RunHistory, date_of
from climsim.evaluation.history_file import Period
from climsim.evaluation.online import (
    check_grid,
    period_arrays,
    run_summary,
    unrelated_arrays,
)
from climsim.evaluation.online_dataset import (
    FLOOR,
    HINDCASTS,
    MEMBER,
    Plan,
    Row,
    labels_of,
    record_arrays,
    run_labels,
    stacked,
)
from climsim.evaluation.score import Labelled
from climsim.files import provenance, require_apart
from climsim.netcdf import write_netcdf
from climsim.parallel import run_tasks
from climsim.products import Kind, attributes_of, claim
from climsim.runs.record import RECORD_NAME, RUN
from climsim.stage import Progress

HINDCAST_METRICS = Kind(
    "a file of metrics of hindcasts", lambda path: HINDCASTS in attributes_of(path)
)
_STREAM = "h1"


def evaluate_hindcasts(config: HindcastConfig, progress: Progress | None = None) -> Path:
    """Measure short runs day by day since their start, and save the metrics as netCDF.

    The scores are those of daily means of `evaluate_online` under the same names; ``day`` counts
    from the start of each run. Runs without a model are the floor: full physics from perturbed
    starts.

    Args:
        config: the runs.
        progress: called with (runs done, runs in all).

    Returns:
        Path of the metrics.

    Raises:
        ClimSimError: if a folder holds no run, a run lies on another grid, or begins on a day that
            the reference does not have.
    """
    inputs = {str(path): path for path in config.runs}
    claim(config.out, HINDCAST_METRICS, {"reference": config.reference} | inputs)
    reference = RunHistory.open(config.reference)
    if not reference.periods(_STREAM):
        raise ClimSimError(
            f"{config.reference}: expected daily means (stream {_STREAM}), found none: "
            "run the reference with them"
        )
    folders = list(_runs(config.runs))
    require_apart({"runs": tuple(folders), "reference": config.reference}, NOT_WITH_ITSELF)
    rows = [_row(folder, reference) for folder in folders]
    length = max(_length(row.run, reference) for row in rows)
    if not length:
        raise ClimSimError(
            f"runs: expected daily means (stream {_STREAM}) on days of {config.reference}, found "
            f"none in {len(rows)} runs: give runs that lasted a day or more"
        )
    tasks = [
        (number, row, _plan(reference, _start(row.run), length), length)
        for number, row in enumerate(rows)
        if not row.run.empty
    ]
    for done, (number, row) in enumerate(run_tasks(_measured, tasks, config.workers), start=1):
        rows[number] = row
        if progress:
            progress(done, len(tasks))
    dataset = _joined(rows, reference, length)
    settings = {k: v for k, v in asdict(config).items() if k not in ("out", "workers")}
    hashes = {str(row.run.folder): run_summary(row.run) for row in rows}
    hashes[str(config.reference)] = run_summary(reference)
    dataset.attrs |= provenance(settings, hashes)
    write_netcdf(dataset, config.out, checked=True)
    return config.out


def _runs(folders: Sequence[Path]) -> Iterator[Path]:
    """Folders of runs: those given, and the runs inside of those that are ensembles."""
    for folder in folders:
        if not folder.is_dir():
            found = "expected a folder, found a file" if folder.exists() else "no such folder"
            raise ClimSimError(f"runs: {folder}: {found}: give that of a run or an ensemble")
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and _is_run(path))
        if not inside and not RUN.recognizes(folder):
            raise ClimSimError(
                f"runs: {folder}: expected a run or an ensemble of runs, found neither: run "
                "`climsim online ensemble starts=...` first"
            )
        yield from inside if not RUN.recognizes(folder) else (folder,)


def _is_run(folder: Path) -> bool:
    """Whether a folder of an ensemble is that of a run.

    Raises:
        ClimSimError: if it holds history but no record, so that nobody knows what ran.
    """
    if RUN.recognizes(folder):
        return True
    if any(folder.glob(ANY_FILE)):
        raise ClimSimError(
            f"{folder / RECORD_NAME}: expected the record beside the history of a run, found none "
            "that can be read: restore it, or move the folder away"
        )
    return False


def _row(folder: Path, reference: RunHistory) -> Row:
    run = RunHistory.open(folder, allow_empty=True)
    if "model" not in run.record:
        raise ClimSimError(
            f"{folder / RECORD_NAME}: expected what ran (key model), found a record that does not "
            "say it: restore it, or leave this run out"
        )
    if not run.empty:
        check_grid(run, reference)
    if not any(day[0] == _start(run) for day in reference.periods(_STREAM)):
        raise ClimSimError(
            f"{folder}: begins on {date_of(_start(run))}, a day that {reference.folder} has no "
            "mean of: give the run that kept its start as reference"
        )
    return Row(run, MEMBER if run.record.get("model") else FLOOR)


def _start(run: RunHistory) -> int:
    """Start of a run [s since 0001-01-01]: as its record says, else that of its first mean."""
    try:
        date = datetime.fromisoformat(str(run.record["start"]))
        second = date.hour * 3600 + date.minute * 60 + date.second
        return seconds_of(date.year, date.month, date.day, second)
    except (KeyError, ValueError) as error:
        if not run.empty:
            return run.start
        raise ClimSimError(
            f"{run.folder}: expected history files or a record of its start, found neither: run it"
        ) from error


def _length(run: RunHistory, reference: RunHistory) -> int:
    """Days from the start of a run to the end of its last mean that the reference has too."""
    shared = run.periods(_STREAM).keys() & reference.periods(_STREAM).keys()
    start = _start(run)
    return max((_day(period, start) + 1 for period in shared), default=0)


def _day(period: Period, start: int) -> int:
    """Number of a day since a start, from 0."""
    return (period[0] - start) // SECONDS_PER_DAY


def _plan(reference: RunHistory, start: int, length: int | None = None) -> Plan:
    """What is compared: the days of the reference from a start to a number of days later."""
    days = [
        period
        for period in reference.periods(_STREAM)
        if period[0] >= start and (length is None or _day(period, start) < length)
    ]
    return Plan(
        reference=reference,
        periods={"h0": [], _STREAM: days},
        mean_stream=_STREAM,
        rain_stream=_STREAM,
        skip_before=start,
        definitions=Definitions(),
    )


def _measured(task: tuple[int, Row, Plan, int]) -> tuple[int, Row]:
    """Measure a run in whatever process; its number and what is known about it."""
    number, row, plan, length = task
    start = _start(row.run)
    days = [_day(period, start) for period in plan.periods[_STREAM]]
    found = period_arrays(row.run, plan)
    arrays = {name: _placed(measure, days, length) for name, measure in found.items()}
    return number, replace(row, arrays=arrays)


def _placed(measure: Labelled, days: Sequence[int], length: int) -> Labelled:
    """A measure with its last axis, the day, on all days; NaN on those that it does not have."""
    values = np.asarray(measure.values, np.float64)
    placed = np.full((*values.shape[:-1], length), np.nan)
    placed[..., days] = values
    return measure._replace(values=placed)


def _joined(rows: Sequence[Row], reference: RunHistory, length: int) -> xarray.Dataset:
    """The measures of all runs along ``run``; NaN where a run, or the reference, has ended."""
    arrays = stacked(rows)
    arrays |= unrelated_arrays(_plan(reference, reference.start))
    arrays |= record_arrays(rows)
    dataset = xarray.Dataset(arrays, _coordinates(rows, reference, length))
    problems = dict(zip(labels_of(rows), (row.run.problems for row in rows), strict=True))
    dataset.attrs = {
        "Conventions": "CF-1.11",
        "title": "Skill of short coupled runs from starts that a reference run kept",
        HINDCASTS: length,
        "reference_start": date_of(reference.start),
        "problems": json.dumps(problems),
    }
    return dataset


def _coordinates(
    rows: Sequence[Row], reference: RunHistory, length: int
) -> dict[str, tuple[str, object, dict[str, str]]]:
    starts = [_start(row.run) for row in rows]
    begun = [(start - reference.start) / SECONDS_PER_DAY for start in starts]
    since = {"units": "d", "long_name": "end of the mean, days since the start of the run"}
    of_reference = {"units": "d", "long_name": "start of the run, days since that of the reference"}
    return {
        **run_labels(rows),
        "start": ("run", begun, of_reference),
        "start_date": ("run", [date_of(start) for start in starts], {"long_name": "start date"}),
        "day": ("day", np.arange(1.0, length + 1), since),
    }
