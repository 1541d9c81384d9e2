"""What failed in an experiment, and the line that says why."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from climsim.files import remove, write_text
from climsim.report.failures import Failure
from climsim.workflow.jobs import PLAN, Job
from climsim.workflow.logs import error_line, last_line, latest_call
from climsim.workflow.slurm_ends import SlurmEnd, slurm_end
from climsim.workflow.steps import FAILURES

SHARED = "all members"
# What a program said, which Snakemake repeats, may hold lines that are not indented.
_ERROR_BLOCK = re.compile(
    r"^Error in rule [^\n]*:\n(.*?^    output: (\S+)[^\n]*(?:\n    [^\n]*)*)",
    re.MULTILINE | re.DOTALL,
)


def find_failures(folder: Path, jobs: Sequence[Job], log: str) -> list[Failure]:
    """Find the jobs that failed and say why.

    Args:
        folder: of the experiment.
        jobs: those that were to run.
        log: what Snakemake wrote.
    """
    blocks = {output: block for block, output in _ERROR_BLOCK.findall(log)}
    return [
        _failure(folder, job, blocks[job.output])
        for job in jobs
        if job.output in blocks and not (folder / job.output).exists()
    ]


def failed_jobs(jobs: Sequence[Job], failures: Sequence[Failure]) -> set[str]:
    """Names of the jobs that failures are about."""
    failed = {(failure.member, failure.stage) for failure in failures}
    return {job.name for job in jobs if (job.member or SHARED, job.rule) in failed}


def _failure(folder: Path, job: Job, block: str) -> Failure:
    end = slurm_end(job.rule, block)
    text = _text_of_stage(folder, job)
    log = job.log
    if end and end.log and not text:
        log = str(end.log.relative_to(folder) if end.log.is_relative_to(folder) else end.log)
    return Failure(job.member or SHARED, job.rule, _message(text, end), log)


def _text_of_stage(folder: Path, job: Job) -> str:
    """What the stage of a job wrote in this call of the experiment; empty where it never began."""
    log, plan = folder / job.log, folder / PLAN
    # The plan is written when the call begins, on the same file system.
    if log.exists() and plan.exists() and log.stat().st_mtime < plan.stat().st_mtime:
        return ""
    return latest_call(log)


def _message(text: str, end: SlurmEnd | None) -> str:
    """Why SLURM ended a job, else the error of its stage, else what SLURM or the stage said."""
    slurm = end.message if end else ""
    lines = [slurm if end and end.certain else "", error_line(text), slurm, last_line(text)]
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
