"""Where the jobs of an experiment stand: progress, time left, last error lines."""

from __future__ import annotations

import json
import socket
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climsim.console import ProgressNote
from climsim.errors import ClimSimError
from climsim.files import read_json
from climsim.locks import LOCK_NAME, held
from climsim.online.stages import ONLINE_RUN
from climsim.runs.record import RECORD_NAME
from climsim.runs.status import RunStatus
from climsim.workflow.former import present_rule
from climsim.workflow.job import JobState, lock_path, progress_path, state_path
from climsim.workflow.jobs import PLAN, Job, PlanNote, is_experiment, read_jobs
from climsim.workflow.logs import log_message
from climsim.workflow.remaining import Work, remaining
from climsim.workflow.steps import STEPS

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
_INTERRUPTED = 130


@dataclass(frozen=True)
class JobStatus:
    """Where one job stands.

    Attributes:
        name: of the job.
        rule: its rule.
        member: its member or reference run; empty for a stage that all share.
        status: waiting, running, done, unstable, failed or stopped.
        fraction: what is done of a running job, None before it is known.
        seconds_left: of a running job at its present rate, None before it is known [s].
        seconds: that a finished job took, or a running one has taken [s].
        message: why it failed; empty when well.
    """

    name: str
    rule: str
    member: str
    status: str
    fraction: float | None = None
    seconds_left: float | None = None
    seconds: float | None = None
    message: str = ""


@dataclass(frozen=True)
class ExperimentStatus:
    """Where an experiment stands.

    Attributes:
        name: of the study.
        folder: of the study.
        running: whether a process runs it.
        jobs: all of them, in the order of the chain.
        slots: how many jobs of members run side by side.
    """

    name: str
    folder: Path
    running: bool
    jobs: tuple[JobStatus, ...]
    slots: int = 1

    def count(self, *statuses: str) -> int:
        """Number of jobs with one of these statuses."""
        return sum(job.status in statuses for job in self.jobs)

    def seconds_left(self) -> tuple[float | None, bool]:
        """Time left of the whole study (see `climsim.workflow.remaining`) [s].

        Returns:
            The time, None before it can be known; and whether it covers every job that is left.
        """
        done = (DONE, RunStatus.UNSTABLE)
        work = [
            Work(
                job.rule,
                job.member,
                job.status in done,
                job.seconds if job.status in (*done, RUNNING) else None,
                job.seconds_left,
            )
            for job in self.jobs
        ]
        return remaining(work, self.slots)


def experiment_status(folder: Path) -> ExperimentStatus:
    """Read the status of an experiment from its folder.

    Raises:
        ClimSimError: if the folder holds no experiment.
    """
    if not is_experiment(folder):
        raise ClimSimError(
            f"{folder}: holds no {PLAN} of a study: expected the folder of an experiment that was "
            "started: give its name or folder"
        )
    plan: PlanNote = read_json(folder / PLAN)
    running = held(folder / LOCK_NAME)
    jobs = tuple(job_status(folder, job, running) for job in read_jobs(folder))
    return ExperimentStatus(str(plan["name"]), folder, running, jobs, _slots(plan, jobs))


def _slots(plan: PlanNote, jobs: Sequence[JobStatus]) -> int:
    """Jobs side by side: as many as find room here, or more where a cluster runs them."""
    cores = plan.get("cores", 1)
    room = cores // (plan.get("cores_per_member", 0) or cores)
    return max(1, room, sum(job.status == RUNNING for job in jobs))


def find_experiments(which: str) -> list[Path]:
    """Folders of the experiments that a word names.

    Args:
        which: a folder of an experiment, one that holds several, or the name of a study in
            ``runs/``.

    Raises:
        ClimSimError: if there is none.
    """
    for folder in (Path(which), Path("runs") / which):
        if is_experiment(folder):
            return [folder]
        plans = sorted(folder.glob(f"*/{PLAN}"))
        found = [path.parent for path in plans if is_experiment(path.parent)]
        if found:
            return found
    raise ClimSimError(
        f"{which}: no experiment has been started there (expected {PLAN} in {which} or in "
        f"{Path('runs') / which}): give the name or folder of one"
    )


def job_status(folder: Path, job: Job, experiment_runs: bool) -> JobStatus:
    """Read the status of one job.

    Args:
        folder: of the experiment.
        job: as planned.
        experiment_runs: whether a process runs the experiment.
    """
    name, common = job.name, (job.name, present_rule(job.rule), job.member)
    state: JobState = _read(state_path(folder, name))
    if _runs(folder, name, state, experiment_runs):
        return JobStatus(*common, RUNNING, *_progress(folder, name))
    seconds = state["finished"] - state["started"] if "finished" in state else None
    if (folder / job.output).exists():
        message = _instability(folder, job)
        ended = RunStatus.UNSTABLE if message else DONE
        return JobStatus(*common, ended, seconds=seconds, message=message)
    if not state:
        return JobStatus(*common, WAITING)
    code = state.get("code")
    if code == 0 or (code in (None, _INTERRUPTED) and experiment_runs):
        return JobStatus(*common, WAITING)
    if code in (None, _INTERRUPTED):
        return JobStatus(*common, STOPPED)
    return JobStatus(*common, FAILED, seconds=seconds, message=log_message(folder / job.log))


def _runs(folder: Path, name: str, state: JobState, experiment_runs: bool) -> bool:
    if held(lock_path(folder, name)):
        return True
    # Locks do not always reach from one machine of a cluster to another.
    elsewhere = state.get("host", "") != socket.gethostname()
    return bool(state) and experiment_runs and elsewhere and "finished" not in state


def _progress(folder: Path, name: str) -> tuple[float | None, float | None, float | None]:
    values: ProgressNote = _read(progress_path(folder, name))
    if not values or not values["total"]:
        return None, None, None
    done, total, seconds = values["done"], values["total"], values["seconds"]
    advanced = done - values["first"]
    left = seconds * (total - done) / advanced if advanced > 0 else None
    return done / total, left, seconds


def _instability(folder: Path, job: Job) -> str:
    """How an online run ended that became unstable; empty for every other job."""
    if STEPS[present_rule(job.rule)].stage is not ONLINE_RUN:
        return ""
    record = _read(folder / job.product / RECORD_NAME)
    return str(record["message"]) if record.get("status") == RunStatus.UNSTABLE else ""


def _read(path: Path) -> Any:
    """A small JSON file; empty where there is none."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def by_member(jobs: Sequence[JobStatus]) -> dict[str, dict[str, JobStatus]]:
    """Jobs by member and stage, in their order; those of all members under the empty name."""
    table: dict[str, dict[str, JobStatus]] = defaultdict(dict)
    for job in jobs:
        table[job.member][STEPS[job.rule].stage.name] = job
    return dict(table)
