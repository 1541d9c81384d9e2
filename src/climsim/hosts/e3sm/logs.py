"""What E3SM's own files say about a case: how far it is, how it ended, what was corrected."""

from __future__ import annotations

import contextlib
import gzip
import logging
import re
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cftime import DatetimeNoLeap

from climsim.constants import DAYS_PER_YEAR, SECONDS_PER_DAY
from climsim.hosts.e3sm.config import E3smConfig
from climsim.runs.status import RunStatus

_log = logging.getLogger(__name__)
_STAMP = re.compile(
    r"model date =\s*(\d{4,})(\d{2})(\d{2})\s+(\d+)\s+wall clock = (\S+ \S+)", re.IGNORECASE
)
_EVENT = re.compile(r"(case\.submit|case\.run) (starting|success|error)")
_INSTABILITY = (
    "NaN produced in physics_state",
    "invalid value",
    "negative layer thickness",
    "CFL condition",
    "temperature is out of range",
    "vertical remap",
    "Inf produced",
)
"""Words of E3SM's logs that tell an instability from other failures."""
_CORRECTIONS = {
    "positivity:ptend_t": "made a negative absolute temperature",
    "positivity:ptend_q0001": "made a negative absolute q,",
}
_TAIL_BYTES = 400_000


@dataclass(frozen=True)
class CaseState:
    """Where a case stands.

    Attributes:
        status: how far it is.
        date: simulated date reached, None before the first day.
        days: simulated days done.
        sypd: simulated years per day of wall time over the last job, None before it is known.
        message: the line of the log that tells what went wrong; empty when well.
        corrections: by rule and variable, number of corrections that the log tells of.
    """

    status: RunStatus
    date: DatetimeNoLeap | None = None
    days: float = 0.0
    sypd: float | None = None
    message: str = ""
    corrections: dict[str, int] = field(default_factory=dict)


def case_state(config: E3smConfig) -> CaseState:
    """Read the state of a case from CIME's and E3SM's logs."""
    if not (config.folder / "built").exists():
        return CaseState(RunStatus.PREPARED)
    events = _events(config.case_root / "CaseStatus")
    if not events:
        return CaseState(RunStatus.CREATED)
    stamps = _stamps(config.run_folder)
    date = stamps[-1][0] if stamps else None
    days = 0.0 if date is None else (date - start_date(config)).total_seconds() / SECONDS_PER_DAY
    common = (date, days, _speed(stamps))
    atmosphere = _tail(_newest(config.run_folder, "atm.log"))
    corrections = {n: atmosphere.count(text) for n, text in _CORRECTIONS.items()}
    last = events[-1]
    if date is not None and date >= end_date(config):
        return CaseState(RunStatus.COMPLETE, *common, corrections=corrections)
    if last == ("case.run", "error"):
        message = _trouble(config.run_folder)
        unstable = any(text in message for text in _INSTABILITY)
        return CaseState(
            RunStatus.UNSTABLE if unstable else RunStatus.FAILED, *common, message, corrections
        )
    if last == ("case.run", "starting"):
        return CaseState(RunStatus.RUNNING, *common, corrections=corrections)
    return CaseState(RunStatus.SUBMITTED, *common, corrections=corrections)


def start_date(config: E3smConfig) -> DatetimeNoLeap:
    """Date that the case starts at."""
    year, month, day = (int(part) for part in config.reference_date.split("-"))
    return DatetimeNoLeap(year, month, day)


def end_date(config: E3smConfig) -> DatetimeNoLeap:
    """Date that the case ends at; the day is cut to the length of the month, as CIME does."""
    start = start_date(config)
    if config.days is not None:
        return start + timedelta(days=config.days)
    months = start.month - 1 + config.months
    first = DatetimeNoLeap(start.year + months // 12, months % 12 + 1, 1)
    return first.replace(day=min(start.day, first.daysinmonth))


def days_wanted(config: E3smConfig) -> float:
    """Simulated days from start to end."""
    return float((end_date(config) - start_date(config)).total_seconds() / SECONDS_PER_DAY)


def _events(path: Path) -> list[tuple[str, str]]:
    """Submissions and runs in CIME's ``CaseStatus``, oldest first."""
    if not path.exists():
        return []
    return [(m[1], m[2]) for m in map(_EVENT.search, path.read_text().splitlines()) if m]


def _newest_first(folder: Path, prefix: str) -> list[Path]:
    dated = []
    for path in folder.glob(f"{prefix}.*"):
        with contextlib.suppress(FileNotFoundError):  # CIME compresses logs meanwhile.
            dated.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(dated, reverse=True)]


def _newest(folder: Path, prefix: str) -> Path | None:
    return next(iter(_newest_first(folder, prefix)), None)


def _tail(path: Path | None) -> str:
    """The end of a log; nothing while CIME compresses it."""
    if path is None:
        return ""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", errors="replace") as stream:
                return stream.read()
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        _log.warning("%s: cannot be read (%s)", path, error)
        return ""


def _stamps(folder: Path) -> list[tuple[DatetimeNoLeap, datetime]]:
    """Model dates of the last job that came to any, and the wall clock at each.

    A job that died in its first step has none: what the jobs before it reached still counts.
    """
    for path in _newest_first(folder, "cpl.log"):
        stamps = []
        for match in _STAMP.finditer(_tail(path)):
            date = DatetimeNoLeap(int(match[1]), int(match[2]), int(match[3]))
            stamps.append((date, datetime.fromisoformat(match[5])))
        if stamps:
            return stamps
    return []


def _speed(stamps: list[tuple[DatetimeNoLeap, datetime]]) -> float | None:
    if len(stamps) < 2:
        return None
    days = (stamps[-1][0] - stamps[0][0]).total_seconds() / SECONDS_PER_DAY
    wall = (stamps[-1][1] - stamps[0][1]).total_seconds() / SECONDS_PER_DAY
    return days / DAYS_PER_YEAR / wall if wall > 0 else None


def _trouble(folder: Path) -> str:
    """The line that tells best what went wrong: an instability, else the last error."""
    text = "\n".join(_tail(_newest(folder, prefix)) for prefix in ("atm.log", "e3sm.log"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if any(words in line for words in _INSTABILITY):
            return line
    errors = [line for line in lines if "ERROR" in line or "error" in line]
    return errors[-1] if errors else "the run ended without an error message in its logs"
