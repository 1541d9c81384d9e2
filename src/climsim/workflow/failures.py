"""What failed in an experiment, and the line that says why."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from climsim.files import remove, write_text
from climsim.workflow.plan import FAILURES, Job

_ERROR = "climsim: error: "
_TAIL_BYTES = 20_000
SHARED = "all members"
_ERROR_OUTPUT = re.compile(
    r"^Error in rule [^\n]*:(?:\n    [^\n]*)*?\n    output: (\S+)", re.MULTILINE
)


@dataclass(frozen=True)
class Failure:
    """One job that failed.

    Attributes:
        member: member or reference run; ``all members`` for a stage that all share.
        stage: generate, prepare, statistics, train, export, offline or online.
        message: what the stage said, in one line.
        log: its log, in the experiment's folder.
    """

    member: str
    stage: str
    message: str
    log: str


def find_failures(folder: Path, jobs: Sequence[Job], said: str) -> list[Failure]:
    """Find the jobs that failed and say why.

    Args:
        folder: of the experiment.
        jobs: those that were to run.
        said: what Snakemake said.
    """
    failed = set(_ERROR_OUTPUT.findall(said))
    failures = []
    for job in jobs:
        if job.output in failed and not (folder / job.output).exists():
            message = log_message(folder / job.log) or "ended without a word: it may be killed"
            stage = job.name.removesuffix(f"-{job.member}") if job.member else job.name
            failures.append(Failure(job.member or SHARED, stage, message, job.log))
    return failures


def write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Write ``failures.json``, unless it says the same already; remove it where nothing failed."""
    path = folder / FAILURES
    text = json.dumps([asdict(failure) for failure in failures], indent=2) + "\n"
    if not failures:
        remove(path)
    elif not path.exists() or path.read_text() != text:
        write_text(path, text)


def log_message(log: Path) -> str:
    """The last error in a log, or its last line; empty where there is no log."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    # What an earlier call of the same job wrote is no news.
    text = text.rpartition("\n$ climsim ")[2] if "\n$ climsim " in text else text
    return last_line(text)


def last_line(text: str) -> str:
    """The last error line of a text, without its prefix, or else its last line."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("$ climsim")]
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    return (errors or lines or [""])[-1]
