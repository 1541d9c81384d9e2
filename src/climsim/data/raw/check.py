"""Checking raw step files: what is missing, duplicate, corrupt or implausible, month by month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from climsim.arrays import Fields
from climsim.calendar import to_date
from climsim.data.raw.classic import HeaderCache
from climsim.data.raw.config import CheckConfig
from climsim.data.raw.declared import Declared
from climsim.data.raw.emulated import settle_processes
from climsim.data.raw.missing import find_missing
from climsim.data.raw.pressure import order_problem, pressure_problem
from climsim.data.raw.ranges import implausible, outside_range
from climsim.data.raw.step_file import PROBLEMS, StepFileError, inspect_fields, parse_name
from climsim.data.raw.steps import (
    GRID_FILE,
    INPUT_TAGS,
    INPUT_VARIABLES,
    OUTPUT_TAG,
    OUTPUT_VARIABLES,
    StepFiles,
    read_grid_info,
)
from climsim.data.raw.time_step import settle_time_step
from climsim.data.raw.walk import find_step_files
from climsim.errors import ClimSimError
from climsim.files import provenance, write_json
from climsim.grid import ColumnGrid
from climsim.notation import text_table
from climsim.parallel import run_tasks
from climsim.products import Kind, claim, noted
from climsim.stage import Progress

KINDS = ("missing", "unpaired", "duplicate", *PROBLEMS, "pressure", "range")
"""Kinds of findings, in the order of the table."""
_LISTED = 20
_Files = tuple[tuple[int, tuple[Path, ...], tuple[Path, ...]], ...]
"""Time [s], input files and output files of each step."""
_Months = dict[str, _Files]
REPORT = Kind(
    "a report of `climsim data check`", lambda path: noted(path, "ok", "months", damaged=False)
)


@dataclass
class MonthReport:
    """Findings of one month.

    Attributes:
        month: ``YYYY-MM``.
        steps: complete pairs of files found.
        counts: findings by kind (`KINDS`).
        messages: the first findings in words.
    """

    month: str
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)

    def add(self, kind: str, message: str, count: int = 1) -> None:
        """Count a finding and keep its message while there are few."""
        self.counts[kind] += count
        if len(self.messages) < _LISTED:
            self.messages.append(message)


@dataclass(frozen=True)
class CheckReport:
    """Findings of all months.

    Attributes:
        raw: the folder.
        months: one report per month, in order.
        time_step: physics time step [s]; 0 where nothing tells it.
        notes: what was not followed of linked folders, and where steps lie further apart than
            asked for.
        unread: links that lead nowhere and folders that cannot be read.
        problems: findings about the whole record.
    """

    raw: Path
    months: tuple[MonthReport, ...]
    time_step: int = 0
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        found = any(sum(m.counts.values()) for m in self.months)
        return not (found or self.unread or self.problems)

    def table(self) -> str:
        """The counts as a table of plain text, and the messages below."""
        header = ("month", "steps", *KINDS)
        rows = [
            (m.month, str(m.steps), *(str(m.counts[k] or "-") for k in KINDS)) for m in self.months
        ]
        lines = text_table((header, *rows))
        below = [*self.problems, *self.unread, *self.notes]
        below += [text for m in self.months for text in m.messages]
        return "\n".join(lines + [f"  {text}" for text in below])

    def __str__(self) -> str:
        verdict = "no problem found" if self.ok else "problems found"
        step = f"time step {self.time_step} s" if self.time_step else "time step unknown"
        return f"{self.raw}: {verdict}, {step}\n{self.table()}"


@dataclass(frozen=True)
class _MonthTask:
    """The files of a month, by time."""

    month: str
    files: _Files
    grid: ColumnGrid | None
    expected: Declared


def check(config: CheckConfig, progress: Progress | None = None) -> CheckReport:
    """Check every file of a folder of raw steps; each file is read whole.

    Every problem counts by itself: each missing variable, each one of the wrong layout, with NaN,
    fill values or values outside its physical range. Of a cut file the variables that are whole are
    looked at too; only a file whose header is damaged gives one finding alone.

    Args:
        config: what to check.
        progress: called with the months done and their total.

    Returns:
        Counts and messages per month; ``ok`` says whether there is none.

    Raises:
        ClimSimError: if the folder holds no step file at all.
    """
    if config.out:
        claim(config.out, REPORT, {"raw": config.raw})
    roots = [Path(folder) for folder in dict.fromkeys((config.raw, config.outputs)) if folder]
    found = [find_step_files(folder) for folder in roots]
    months, misnamed = _months(config, sorted({path for files in found for path in files.paths}))
    steps = _steps(months)
    time_step, problems = _time_step(config, steps)
    processes, differing = _processes(steps)
    grid, expected = _grid(config), Declared(time_step or None, processes)
    tasks = [_MonthTask(month, files, grid, expected) for month, files in months.items()]
    reports = _reports(tasks, misnamed, config.workers, progress)
    spacing = time_step * config.stride
    wider = _find_missing(tasks, reports, roots, spacing) if spacing else ()
    result = CheckReport(
        raw=Path(config.raw),
        months=tuple(reports[m] for m in sorted(reports)),
        time_step=time_step,
        notes=(*(line for files in found for line in files.repeated), *wider),
        unread=tuple(line for files in found for line in files.unread),
        problems=(*problems, *differing),
    )
    if config.out:
        _write_report(result, config)
    return result


def _reports(
    tasks: list[_MonthTask],
    misnamed: Mapping[Path, StepFileError],
    workers: int,
    progress: Progress | None,
) -> dict[str, MonthReport]:
    """What each month holds, by month."""
    reports: dict[str, MonthReport] = {}
    for done, report in enumerate(run_tasks(_check_month, tasks, workers), start=1):
        reports[report.month] = report
        if progress is not None:
            progress(done, len(tasks))
    for path, error in misnamed.items():
        _report_of(reports, _month_in(path)).add(error.problem, str(error))
    return reports


def _steps(months: _Months) -> list[StepFiles]:
    """The steps of the record, each by a file that tells what it declares."""
    return [
        StepFiles(seconds, (inputs or outputs)[0], None)
        for files in months.values()
        for seconds, inputs, outputs in files
    ]


def _time_step(config: CheckConfig, steps: list[StepFiles]) -> tuple[int, tuple[str, ...]]:
    """Time step of the record [s]; 0 and the reason where nothing tells it."""
    try:
        step = settle_time_step(Path(config.raw), steps, config.time_step, config.stride)
        return step, ()
    except StepFileError:
        # The file that cannot be read is among the findings.
        return config.time_step, ()
    except ClimSimError as error:
        return 0, (str(error),)


def _processes(steps: list[StepFiles]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Processes in the emulated term of the record; none and the reason where folders differ."""
    try:
        return settle_processes(steps), ()
    except ClimSimError as error:
        return frozenset(), (str(error),)


def _grid(config: CheckConfig) -> ColumnGrid | None:
    path = Path(config.grid) if config.grid else Path(config.raw) / GRID_FILE
    if not config.grid and not path.is_file():
        return None
    return read_grid_info(path)


def _months(config: CheckConfig, paths: list[Path]) -> tuple[_Months, dict[Path, StepFileError]]:
    """The step files by month and time, ascending, and those whose names have no such time.

    Raises:
        ClimSimError: if there is no step file.
    """
    months: dict[str, dict[int, tuple[list[Path], list[Path]]]] = {}
    misnamed = {}
    for path in paths:
        try:
            parsed = parse_name(path)
        except StepFileError as error:
            misnamed[path] = error
            continue
        if parsed is None or parsed[0] not in (*INPUT_TAGS, OUTPUT_TAG):
            continue
        date = to_date(parsed[1])
        month = months.setdefault(f"{date.year:04d}-{date.month:02d}", {})
        pair = month.setdefault(parsed[1], ([], []))
        pair[parsed[0] == OUTPUT_TAG].append(path)
    if not months:
        none = ClimSimError(f"{config.raw}: no step files: expected YYYY-MM/E3SM-MMF.mli....nc")
        raise next(iter(misnamed.values()), none)
    ordered = {
        month: tuple((s, tuple(a), tuple(b)) for s, (a, b) in sorted(files.items()))
        for month, files in sorted(months.items())
    }
    return ordered, misnamed


def _month_in(path: Path) -> str:
    """The month in a name whose date is wrong, as it stands there."""
    return "-".join(path.name.split(".")[2].split("-")[:2])


def _check_month(task: _MonthTask) -> MonthReport:
    report = MonthReport(task.month)
    headers = HeaderCache()
    for _, inputs, outputs in task.files:
        if inputs and outputs:
            report.steps += 1
        else:
            (path,) = (inputs or outputs)[:1]
            report.add("unpaired", f"{path}: its {'mlo' if inputs else 'mli'} file is missing")
        for paths, names in ((inputs, INPUT_VARIABLES), (outputs, OUTPUT_VARIABLES)):
            for path in paths[1:]:
                report.add("duplicate", f"{path}: the same step as {paths[0]}")
            for path in paths:
                _check_file(path, names, task, report, headers)
    return report


def _check_file(
    path: Path,
    names: tuple[str, ...],
    task: _MonthTask,
    report: MonthReport,
    headers: HeaderCache,
) -> None:
    fields, problems = inspect_fields(path, names, headers, task.expected)
    for problem in problems:
        report.add(problem.problem, str(problem))
    grid = task.grid
    shape = None if grid is None else (grid.n_levels, grid.n_columns)
    found = next((value.shape for value in fields.values() if value.ndim == 2), shape)
    if shape is not None and found != shape:
        report.add("shape", f"{path}: (level, column) is {found}, the grid file says {shape}")
        grid = None
    _check_pressure(path, fields, grid, report)
    for name, count in outside_range(fields).items():
        values = fields[name][implausible(name, fields[name])]
        worst = values[np.argmax(np.abs(values))]
        report.add("range", f"{path}: {name} has {count} implausible values, such as {worst:g}")


def _check_pressure(
    path: Path, fields: Fields, grid: ColumnGrid | None, report: MonthReport
) -> None:
    pressure, surface = fields.get("state_pmid"), fields.get("state_ps")
    if pressure is None or not np.isfinite(pressure).all():
        return
    if grid is None or surface is None or surface.shape != pressure.shape[1:]:
        problem = order_problem(pressure)
    else:
        problem = pressure_problem(pressure, surface, grid)
    if problem:
        report.add("pressure", f"{path}: {problem}")


def _find_missing(
    tasks: list[_MonthTask], reports: dict[str, MonthReport], roots: list[Path], spacing: int
) -> tuple[str, ...]:
    """Report the absent steps; returns what is to be noted of the distances of the others."""
    files = (
        (path, seconds)
        for task in tasks
        for seconds, inputs, outputs in task.files
        for path in (*inputs, *outputs)
    )
    missing = find_missing(files, roots, spacing)
    for seconds in missing.seconds.tolist():
        date = to_date(seconds)
        month = f"{date.year:04d}-{date.month:02d}"
        _report_of(reports, month).add("missing", f"{month}: no file for the step {date}")
    return missing.notes


def _report_of(reports: dict[str, MonthReport], month: str) -> MonthReport:
    """The report of a month, which may have no file that is whole."""
    return reports.setdefault(month, MonthReport(month))


def _write_report(report: CheckReport, config: CheckConfig) -> None:
    months = [
        {
            "month": m.month,
            "steps": m.steps,
            **{k: m.counts[k] for k in KINDS},
            "messages": m.messages,
        }
        for m in report.months
    ]
    write_json(
        config.out,
        {
            "ok": report.ok,
            "time_step_s": report.time_step,
            "problems": [*report.problems, *report.unread],
            "notes": list(report.notes),
            "months": months,
            **provenance(asdict(config), {"raw": str(config.raw)}),
        },
    )
