"""What failed in an experiment, and the line that says why."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from climsim.files import remove, write_text
from climsim.report.failures import Failure
from climsim.workflow.jobs import CALL, Job
from climsim.workflow.steps import FAILURES

_ERROR = "climsim: error: "
_TAIL_BYTES = 20_000
SHARED = "all members"
_ERROR_BLOCK = re.compile(r"^Error in rule [^\n]*:((?:\n    [^\n]*)+)", re.MULTILINE)
_OUTPUT = re.compile(r"^    output: (\S+)", re.MULTILINE)
_SLURM_SAYS = re.compile(
    r"^    message: (SLURM-job .*?)\.? ?(?:Detailed failure reason un|For further error details)",
    re.MULTILINE,
)


def find_failures(folder: Path, jobs: Sequence[Job], log: str) -> list[Failure]:
    """Find the jobs that failed and say why.

    Args:
        folder: of the experiment.
        jobs: those that were to run.
        log: what Snakemake wrote.
    """
    blocks = {
        output: block for block in _ERROR_BLOCK.findall(log) for output in _OUTPUT.findall(block)
    }
    failures = []
    for job in jobs:
        if job.output in blocks and not (folder / job.output).exists():
            slurm = _SLURM_SAYS.search(blocks[job.output])
            message = _message(folder / job.log, slurm[1] if slurm else "")
            failures.append(Failure(job.member or SHARED, job.rule, message, job.log))
    return failures


def _message(log: Path, slurm: str) -> str:
    """The error of a stage, else what SLURM wrote about it, else the last line of the stage."""
    text = _latest(log)
    lines = [_error(text), slurm, last_line(text)]
    unknown = "ended without an error message: it may have been killed"
    return next((line for line in lines if line), unknown)


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
    return last_line(_latest(log))


def _latest(log: Path) -> str:
    """End of a log, without what earlier calls of the job wrote; empty where there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    _, called, latest = text.rpartition(f"\n{CALL}")
    return latest.partition("\n")[2] if called else text


def last_line(text: str) -> str:
    """The last error line of a text, without its prefix, or else its last line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(CALL)]
    return _error(text) or (" ".join(lines[-1].split()) if lines else "")


def _error(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith(_ERROR)]
    return " ".join(lines[-1].removeprefix(_ERROR).split()) if lines else ""
