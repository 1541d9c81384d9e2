"""What E3SM's own files say about a case: how far it is, how it ended, what was corrected."""

from __future__ import annotations

import contextlib
import gzip
import logging
import re
import time
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cftime import DatetimeNoLeap

from climsim.constants import DAYS_PER_YEAR, SECONDS_PER_DAY
from climsim.hosts.e3sm.config import E3smConfig
from climsim.hosts.e3sm.dates import end_date, start_date
from climsim.hosts.e3sm.queue import how_it_ended
from climsim.runs.status import RunStatus

_log = logging.getLogger(__name__)
_STAMP = re.compile(
    r"model date =\s*(\d{4,})(\d{2})(\d{2})\s+(\d+)\s+"
    r"wall clock = (\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})",
    re.IGNORECASE,
)
_SUBMIT, _RUN = "case.submit", "case.run"
_EVENT = re.compile(r"(case\.submit|case\.run) (starting|success|error)\b(.*)")
_JOB_OF = {_RUN: re.compile(r"\s+(\d+)"), _SUBMIT: re.compile(r".*?\bcase\.run:(\d+)")}
"""Where CIME puts the number of the job behind a submission or the start of a run."""
_REFUSED = "the scheduler refused the job: see submit_case.log of the case"
_QUIET_SECONDS = 900.0
"""How long files of a case must not have changed before a job counts as ended without a note: what
another node writes may be seen late."""
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
    events = _events(config)
    if not events:
        return CaseState(RunStatus.CREATED)
    last, begun = events[-1], any(event.phase == _RUN for event in events)
    refused = (last.phase, last.result) == (_SUBMIT, "error")
    if refused and not begun:
        return CaseState(RunStatus.CREATED, message=_REFUSED)
    stamps = _stamps(config.run_folder)
    date = stamps[-1][0] if stamps else None
    days = 0.0 if date is None else (date - start_date(config)).total_seconds() / SECONDS_PER_DAY
    common = (date, days, _speed(stamps))
    atmosphere = _tail(_newest(config.run_folder, "atm.log"))
    corrections = {n: atmosphere.count(text) for n, text in _CORRECTIONS.items()}
    if date is not None and date >= end_date(config):
        return CaseState(RunStatus.COMPLETE, *common, corrections=corrections)
    if refused:
        return CaseState(RunStatus.FAILED, *common, _REFUSED, corrections)
    if (last.phase, last.result) == (_RUN, "error"):
        message = _trouble(config.run_folder)
        unstable = any(text in message for text in _INSTABILITY)
        return CaseState(
            RunStatus.UNSTABLE if unstable else RunStatus.FAILED, *common, message, corrections
        )
    if ended := _ended_unnoted(config, events):
        return CaseState(RunStatus.FAILED, *common, ended, corrections)
    running = (last.phase, last.result) == (_RUN, "starting")
    status = RunStatus.RUNNING if running else RunStatus.SUBMITTED
    return CaseState(status, *common, corrections=corrections)


@dataclass(frozen=True)
class _Event:
    """A line of CIME's ``CaseStatus`` about a submission or a run.

    Attributes:
        phase: ``case.submit`` or ``case.run``.
        result: ``starting``, ``success`` or ``error``.
        job: number of the job that runs the model; empty where the line does not say.
    """

    phase: str
    result: str
    job: str


def _events(config: E3smConfig) -> list[_Event]:
    """Submissions and runs, oldest first."""
    path = config.case_root / "CaseStatus"
    if not path.exists():
        return []
    events = []
    for match in map(_EVENT.search, path.read_text(errors="replace").splitlines()):
        if match is not None:
            job = _JOB_OF[match[1]].match(match[3])
            events.append(_Event(match[1], match[2], "" if job is None else job[1]))
    return events


def _ended_unnoted(config: E3smConfig, events: list[_Event]) -> str:
    """How the last job ended, in words, where CIME notes no end; empty where it has none.

    CIME notes nothing of a job that the scheduler kills, or that is cancelled.
    """
    job = _last_job(events)
    files = [config.case_root / "CaseStatus", *_newest_first(config.run_folder, "cpl.log")[:1]]
    quiet = time.time() - max(path.stat().st_mtime for path in files)
    state = how_it_ended(job) if quiet > _QUIET_SECONDS else ""
    if not state or _events(config) != events:
        return ""
    return f"job {job} ended, of which CIME's CaseStatus says nothing (SLURM's state: {state})"


def _last_job(events: list[_Event]) -> str:
    """Number of the job of the last submission; empty where that is not known."""
    for event in reversed(events):
        if event.job or (event.phase, event.result) == (_SUBMIT, "starting"):
            return event.job
    return ""


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
