"""Showing an experiment while it runs: a live table on a terminal, a line per job elsewhere."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from climsim.console import out, whole_column
from climsim.runs.status import RunStatus
from climsim.workflow.status import (
    DONE,
    FAILED,
    RUNNING,
    STOPPED,
    WAITING,
    ExperimentStatus,
    JobStatus,
    by_member,
    experiment_status,
)
from climsim.workflow.steps import STEPS

_STAGES = tuple(dict.fromkeys(s.stage for s in STEPS.values() if s.of_members))
"""Stages of which members have a job."""
_STYLES = {
    RUNNING: "cyan",
    DONE: "green",
    RunStatus.UNSTABLE: "yellow",
    FAILED: "red",
    STOPPED: "magenta",
}
_BETWEEN_LOOKS = 1.0
_LINES_AROUND = 12
"""Lines of the terminal that the table of members leaves to the rest."""


def follow(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """Show an experiment until the process that runs it ends.

    Args:
        folder: of the experiment.
        process: Snakemake.

    Returns:
        Its exit code.
    """
    if out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            while (code := _wait(process)) is None:
                live.update(view(experiment_status(folder), out), refresh=True)
            live.update(view(experiment_status(folder), out), refresh=True)
        return code
    before = {job.name: (job.status, job.seconds) for job in experiment_status(folder).jobs}
    while True:
        code = _wait(process)
        for job in experiment_status(folder).jobs:
            now = (job.status, job.seconds)
            if now != before.get(job.name) and job.status in (DONE, FAILED, RunStatus.UNSTABLE):
                click.echo(_line(job))
            before[job.name] = now
        if code is not None:
            return code


def watch(folders: Sequence[Path]) -> None:
    """Show experiments until nothing runs any of them; once where there is no terminal."""
    with Live(console=out, auto_refresh=False) as live:
        while True:
            found = [experiment_status(folder) for folder in folders]
            live.update(Group(*(view(status, out) for status in found)), refresh=True)
            if not any(status.running for status in found):
                return
            time.sleep(_BETWEEN_LOOKS)


def show_json(experiments: Iterable[ExperimentStatus]) -> str:
    """Experiments with all their jobs as JSON."""
    values = [{**asdict(e), "folder": str(e.folder)} for e in experiments]
    return json.dumps(values, indent=2)


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=_BETWEEN_LOOKS)
    except subprocess.TimeoutExpired:
        return None


def _line(job: JobStatus) -> str:
    took = f" ({duration(job.seconds)})" if job.seconds is not None else ""
    message = f": {job.message}" if job.message else ""
    return f"{job.name}: {job.status}{took}{message}"


def view(status: ExperimentStatus, console: Console | None = None) -> Group:
    """Lay out the status of an experiment.

    Args:
        status: of the experiment.
        console: leaves out members that are done or wait where it is too low for all; None shows
            all of them.
    """
    table = by_member(status.jobs)
    shared = table.pop("", {})
    parts: list[Text | Table] = [_headline(status)]
    if shared:
        parts.append(_shared(shared.values()))
    height = None if console is None else max(5, console.height - _LINES_AROUND)
    parts.append(_members(table, height))
    messages = [_message(job) for job in status.jobs if job.message]
    room = 6 if console is not None else len(messages)
    parts += messages[:room]
    if len(messages) > room:
        parts.append(Text(f"and {len(messages) - room} more"))
    return Group(*parts)


def _headline(status: ExperimentStatus) -> Text:
    words = [f"{status.count(DONE, RunStatus.UNSTABLE)} of {len(status.jobs)} jobs done"]
    for name in (RUNNING, FAILED, STOPPED, RunStatus.UNSTABLE):
        if count := status.count(name):
            words.append(f"{count} {name}")
    left, complete = status.seconds_left()
    if left:
        words.append(f"{'about' if complete else 'at least'} {duration(left)} left")
    state = "running" if status.running else "not running"
    return Text(f"{status.name} ({status.folder}), {state}: {', '.join(words)}", style="bold")


def _shared(jobs: Iterable[JobStatus]) -> Table:
    jobs = list(jobs)
    table = Table(*(job.name for job in jobs))
    table.add_row(*(_cell(job) for job in jobs))
    return table


def _members(table: dict[str, dict[str, JobStatus]], height: int | None) -> Table:
    shown = list(table)
    if height is not None and len(shown) > height:
        alive = (RUNNING, FAILED, STOPPED)
        shown = [m for m in shown if any(job.status in alive for job in table[m].values())]
    left_out = len(table) - len(shown[:height])
    caption = f"{left_out} more: climsim experiment status shows all" if left_out else None
    stages = [s for s in _STAGES if any(s.name in jobs for jobs in table.values())]
    members = Table(whole_column("member"), *(s.command for s in stages), caption=caption)
    for member in shown[:height]:
        jobs = table[member]
        cells = (_cell(jobs[s.name]) if s.name in jobs else Text("") for s in stages)
        members.add_row(member, *cells)
    return members


def _cell(job: JobStatus) -> Text:
    if job.status == WAITING:
        return Text(WAITING, style="dim")
    words = [job.status]
    if job.fraction is not None:
        words = [f"{100 * job.fraction:.0f} %"]
    if job.seconds_left is not None:
        words.append(f"{duration(job.seconds_left)} left")
    elif job.status in (DONE, RunStatus.UNSTABLE) and job.seconds is not None:
        words.append(duration(job.seconds))
    return Text(", ".join(words), style=_STYLES[job.status])


def _message(job: JobStatus) -> Text:
    return Text(f"{job.name}: {job.message}", style=_STYLES[job.status])


def duration(seconds: float) -> str:
    """A duration in words: seconds, minutes, or hours and minutes."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
