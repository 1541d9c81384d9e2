"""Reading what jobs wrote: the end of a log, and the error in it."""

from __future__ import annotations

from pathlib import Path

from climsim.console import ERROR_PREFIX
from climsim.workflow.jobs import CALL

_TAIL_BYTES = 20_000


def tail(log: Path) -> str:
    """End of a log; empty where there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return stream.read().decode(errors="replace")


def latest_call(log: Path) -> str:
    """End of the log of a job, without what earlier calls of the job wrote."""
    text = tail(log)
    _, called, latest = text.rpartition(f"\n{CALL}")
    return latest.partition("\n")[2] if called else text


def log_message(log: Path) -> str:
    """The last error in the log of a job, or its last line; empty where there is no log."""
    return last_line(latest_call(log))


def last_line(text: str) -> str:
    """The last error line of a text, without its prefix, or else its last line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(CALL)]
    return error_line(text) or (" ".join(lines[-1].split()) if lines else "")


def error_line(text: str) -> str:
    """The last error of a command in a text, without its prefix; empty where there is none."""
    lines = [line for line in text.splitlines() if line.startswith(ERROR_PREFIX)]
    return " ".join(lines[-1].removeprefix(ERROR_PREFIX).split()) if lines else ""
