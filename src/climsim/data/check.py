"""Checking raw step files: what is missing, double, damaged or implausible, month by month."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from climsim.constants import TIME_STEP
from climsim.data.classic import HeaderCache
from climsim.data.parallel import run_tasks
from climsim.data.ranges import implausible, outside_range
from climsim.data.raw import (
    GRID_FILE,
    INPUT_TAGS,
    INPUT_VARIABLES,
    OUTPUT_TAG,
    OUTPUT_VARIABLES,
    read_grid_info,
)
from climsim.data.step_file import PROBLEMS, inspect_fields, parse_name
from climsim.data.times import to_date
from climsim.errors import ClimSimError
from climsim.files import provenance, write_json
from climsim.products import Kind, claim, noted

logger = logging.getLogger(__name__)

KINDS = ("missing", "unpaired", "duplicate", *PROBLEMS, "range")
"""Kinds of findings, in the order of the table."""
_LISTED = 20
REPORT = Kind(
    "a report of `climsim data check`", lambda path: noted(path, "ok", "months", damaged=False)
)


@dataclass(frozen=True)
class CheckConfig:
    """What to check.

    Attributes:
        raw: folder with the raw step pairs.
        grid: grid file, for the sizes; empty for the one in the raw folder, if there is one.
        outputs: folder with the output files where they are not in ``raw``; empty otherwise.
        stride: distance of the steps that should be there, in steps of 20 minutes.
        out: JSON file for the report; empty for none.
        workers: processes; 0 for one per core.
    """

    raw: Path
    grid: str | Path = ""
    outputs: str | Path = ""
    stride: int = 1
    out: str | Path = ""
    workers: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.stride, int) or self.stride < 1:
            raise ClimSimError(f"stride={self.stride}: expected a whole number >= 1")
        if not isinstance(self.workers, int) or self.workers < 0:
            raise ClimSimError(f"workers={self.workers}: expected a whole number >= 0")


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
    """

    raw: Path
    months: tuple[MonthReport, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not any(sum(m.counts.values()) for m in self.months)

    def table(self) -> str:
        """The counts as a table of plain text, and the messages below."""
        header = ("month", "steps", *KINDS)
        rows = [
            (m.month, str(m.steps), *(str(m.counts[k] or "-") for k in KINDS)) for m in self.months
        ]
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        lines = [
            "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))
            for row in (header, *rows)
        ]
        return "\n".join(lines + [f"  {text}" for m in self.months for text in m.messages])

    def __str__(self) -> str:
        verdict = "no problem found" if self.ok else "problems found"
        return f"{self.raw}: {verdict}\n{self.table()}"


@dataclass(frozen=True)
class _MonthTask:
    """The files of a month, by time."""

    month: str
    files: tuple[tuple[int, tuple[Path, ...], tuple[Path, ...]], ...]
    shape: tuple[int, int] | None


def check(config: CheckConfig, progress: Callable[[int, int], None] | None = None) -> CheckReport:
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
    tasks = _tasks(config, _shape(config))
    reports: dict[str, MonthReport] = {}
    for done, report in enumerate(run_tasks(_check_month, tasks, config.workers), start=1):
        reports[report.month] = report
        if progress is not None:
            progress(done, len(tasks))
    _find_missing(tasks, reports, config.stride)
    result = CheckReport(Path(config.raw), tuple(reports[m] for m in sorted(reports)))
    if config.out:
        _write_report(result, config)
    return result


def _shape(config: CheckConfig) -> tuple[int, int] | None:
    path = Path(config.grid) if config.grid else Path(config.raw) / GRID_FILE
    if not config.grid and not path.is_file():
        return None
    grid = read_grid_info(path)
    return grid.n_levels, grid.n_columns


def _tasks(config: CheckConfig, shape: tuple[int, int] | None) -> list[_MonthTask]:
    folders = [Path(f) for f in (config.raw, config.outputs) if f]
    months: dict[str, dict[int, tuple[list[Path], list[Path]]]] = {}
    for path in sorted({p for folder in folders for p in folder.rglob("E3SM-MMF.*.nc")}):
        try:
            parsed = parse_name(path)
        except ClimSimError as error:
            logger.warning("%s", error)
            continue
        if parsed is None or parsed[0] not in (*INPUT_TAGS, OUTPUT_TAG):
            continue
        date = to_date(parsed[1])
        month = months.setdefault(f"{date.year:04d}-{date.month:02d}", {})
        pair = month.setdefault(parsed[1], ([], []))
        pair[parsed[0] == OUTPUT_TAG].append(path)
    if not months:
        raise ClimSimError(f"{config.raw}: no step files: expected YYYY-MM/E3SM-MMF.mli....nc")
    return [
        _MonthTask(
            month, tuple((s, tuple(a), tuple(b)) for s, (a, b) in sorted(files.items())), shape
        )
        for month, files in sorted(months.items())
    ]


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
                _check_file(path, names, task.shape, report, headers)
    return report


def _check_file(
    path: Path,
    names: tuple[str, ...],
    shape: tuple[int, int] | None,
    report: MonthReport,
    headers: HeaderCache,
) -> None:
    fields, problems = inspect_fields(path, names, headers)
    for problem in problems:
        report.add(problem.problem, str(problem))
    found = next((value.shape for value in fields.values() if value.ndim == 2), shape)
    if shape is not None and found != shape:
        report.add("shape", f"{path}: (level, column) is {found}, the grid file says {shape}")
    for name, count in outside_range(fields).items():
        values = fields[name][implausible(name, fields[name])]
        worst = values[np.argmax(np.abs(values))]
        report.add("range", f"{path}: {name} has {count} implausible values, such as {worst:g}")


def _find_missing(tasks: list[_MonthTask], reports: dict[str, MonthReport], stride: int) -> None:
    """Report the steps absent between the first and the last of the record."""
    present = {seconds for task in tasks for seconds, *_ in task.files}
    step = int(TIME_STEP) * stride
    for seconds in range(min(present), max(present), step):
        if seconds not in present:
            date = to_date(seconds)
            month = f"{date.year:04d}-{date.month:02d}"
            report = reports.setdefault(month, MonthReport(month))
            report.add("missing", f"{month}: no file for the step {date}")


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
        {"ok": report.ok, "months": months, **provenance(asdict(config), {"raw": str(config.raw)})},
    )
