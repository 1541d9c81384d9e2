"""The jobs of the hindcasts of a study: short runs from starts that full physics keeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from climsim.errors import ClimSimError
from climsim.evaluation.stages import EVALUATE_HINDCASTS
from climsim.hosts import REFERENCE_RUNS, batch_runner
from climsim.keys import Values
from climsim.online.restart import start_of_day
from climsim.workflow.config import ExperimentConfig
from climsim.workflow.jobs import Job
from climsim.workflow.maker import Jobs
from climsim.workflow.steps import HINDCAST_REFERENCE_STEP, HINDCAST_STEP, STEPS

_REFERENCE = REFERENCE_RUNS[0]
_STREAMS = ["h1"]
"""Hindcasts are measured by their daily means."""


def check(config: ExperimentConfig) -> None:
    """Refuse hindcasts on a host that is not stepped from here.

    Raises:
        ClimSimError: naming the key.
    """
    starts = config.hindcasts.starts
    if starts and batch_runner(config.host) is not None:
        raise ClimSimError(
            f"hindcasts.starts={starts}: the host {config.host} keeps its restart files itself: "
            "expected 0 with it"
        )


def reference_job(config: ExperimentConfig, jobs: Jobs, start: str | None) -> Job:
    """The run with full physics that keeps the starts, and that the short runs are measured by.

    Args:
        config: the study.
        jobs: makes it.
        start: restart file that it begins at; None for the host's own start state.
    """
    given = config.hindcasts
    values: Values = {"case": _REFERENCE}
    if start is not None:
        values["start"] = start
    special: Values = {"days": given.reference_days, "kept_restart_days": given.days_apart}
    return _job(config, jobs, HINDCAST_REFERENCE_STEP, _REFERENCE, values, special)


def member_job(config: ExperimentConfig, jobs: Jobs, member: str, model: str) -> Job:
    """The short runs of a member, as many side by side as it has cores.

    Args:
        config: the study.
        jobs: makes it.
        member: name of the member.
        model: its exported file.
    """
    kept = Path(_folder_of(_REFERENCE))
    starts = [str(start_of_day(kept, day)) for day in config.hindcasts.start_days]
    values: Values = {"case": member, "model": model, "starts": starts}
    special: Values = {"days": config.hindcasts.days, "parallel": config.cores_per_member}
    return _job(config, jobs, HINDCAST_STEP, member, values, special)


def evaluation_job(jobs: Jobs, members: Sequence[str]) -> Job:
    """The metrics of the short runs of these members."""
    runs = [_folder_of(member) for member in members]
    return jobs.make(EVALUATE_HINDCASTS.name, {"runs": runs, "reference": _folder_of(_REFERENCE)})


def _job(
    config: ExperimentConfig, jobs: Jobs, rule: str, member: str, values: Values, special: Values
) -> Job:
    """A job with the settings of the study's online runs but for their length and files."""
    shared = {k: v for k, v in config.online_settings.items() if k != "hourly_fields"}
    special = {**special, "streams": _STREAMS}
    return jobs.make(rule, values, member, shared=shared, special=special)


def _folder_of(member: str) -> str:
    return STEPS[HINDCAST_STEP].product.format(member=member)
