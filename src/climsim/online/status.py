"""What the runs of an experiment are doing: progress, speed, health and time left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from climsim.constants import DAYS_PER_YEAR, SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.locks import LOCK_NAME, held
from climsim.online.restart import is_restart_point
from climsim.runs.record import CASE_NOTE, RECORD_NAME, RunRecord
from climsim.runs.status import RunStatus


@dataclass(frozen=True)
class RunSummary:
    """One run in a line.

    Attributes:
        folder: of the run.
        case: its name.
        status: how far it is.
        days: simulated days done; NaN where they are unknown.
        days_wanted: simulated days asked for; likewise.
        sypd: simulated years per day, None before it is known.
        seconds_left: wall time left at that speed, None unless the run is on its way [s].
        drift: trend of the global mean temperature [K per day].
        health: the instability, the failure or the last warning, in words; empty when well.
    """

    folder: Path
    case: str
    status: RunStatus
    days: float
    days_wanted: float
    sypd: float | None
    seconds_left: float | None
    drift: float
    health: str


def summarize(folder: Path) -> RunSummary:
    """Summarize the run in a folder.

    Raises:
        ClimSimError: if the folder holds no record of a run.
    """
    record = RunRecord.open(folder)
    status = record.status
    # A run in batch has no lock: its status is what the logs of its job say.
    in_batch = (folder / CASE_NOTE).exists()
    if status == RunStatus.RUNNING and not in_batch and not held(folder / LOCK_NAME):
        status = RunStatus.STOPPED
    left = None
    if status == RunStatus.RUNNING and record.sypd:
        years = (record.about.days_wanted - record.days) / DAYS_PER_YEAR
        left = years / record.sypd * SECONDS_PER_DAY
    return RunSummary(
        folder=folder,
        case=record.case,
        status=status,
        days=record.days,
        days_wanted=record.about.days_wanted,
        sypd=record.sypd,
        seconds_left=left,
        drift=record.health.drift()["temperature_per_day"],
        health=_health(record),
    )


def _health(record: RunRecord) -> str:
    if record.health.instability is not None:
        return f"{record.message}: {record.health.instability}"
    if record.status in (RunStatus.FAILED, RunStatus.UNSTABLE):
        return record.message
    warnings = record.health.warnings
    return warnings[-1] if warnings else ""


def runs_below(folder: Path) -> list[RunSummary]:
    """Summarize every run below a folder, in the order of their paths.

    A run whose record cannot be read is one of them, with the reason as its health.

    Raises:
        ClimSimError: if there is none.
    """
    runs = [
        path.parent
        for path in sorted(folder.rglob(RECORD_NAME))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not is_restart_point(path.parent)
    ]
    if not runs:
        raise ClimSimError(f"{folder}: holds no {RECORD_NAME}: expected the folder of online runs")
    return [_summary_or_damage(run) for run in runs]


def _summary_or_damage(folder: Path) -> RunSummary:
    unknown = float("nan")
    try:
        return summarize(folder)
    except (ClimSimError, OSError) as error:
        return RunSummary(
            folder=folder,
            case=folder.name,
            status=RunStatus.DAMAGED,
            days=unknown,
            days_wanted=unknown,
            sypd=None,
            seconds_left=None,
            drift=unknown,
            health=str(error),
        )


def status_rows(summaries: list[RunSummary]) -> list[tuple[str, ...]]:
    """Turn summaries into the rows of a table, its header first."""
    header = ("case", "status", "days", "SYPD", "time left", "K/day")
    rows: list[tuple[str, ...]] = [header]
    for run in summaries:
        speed = "" if run.sypd is None else f"{run.sypd:.1f}"
        known = run.status != RunStatus.DAMAGED
        days = f"{run.days:.1f}/{run.days_wanted:g}" if known else ""
        drift = f"{run.drift:+.3f}" if known else ""
        rows.append((run.case, run.status, days, speed, _duration(run.seconds_left), drift))
    return rows


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
