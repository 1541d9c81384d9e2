"""What the stages of a study have to agree on, checked before the first of them runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from climsim.cards import setting
from climsim.configuration import build_config
from climsim.data.raw.features import require_features
from climsim.data.stages import PREPARE
from climsim.data.store.config import PrepareConfig
from climsim.errors import ClimSimError
from climsim.hosts import batch_runner
from climsim.interfaces import Encoding, encoding
from climsim.keys import Values
from climsim.online.model import require_spinup
from climsim.online.stages import ONLINE_RUN
from climsim.runs.config import RunConfig
from climsim.training.stages import TRAIN
from climsim.workflow.jobs import Job


def check_agreement(jobs: Sequence[Job]) -> None:
    """Refuse stages that do not fit together: what one makes, another could not take.

    Args:
        jobs: of the study.

    Raises:
        ClimSimError: naming the stage, what it lacks and for which member.
    """
    stores = [job for job in jobs if job.rule == PREPARE.name]
    for member, seen in _inputs(jobs):
        where = f"stages.{TRAIN.name}: {member}"
        seen.require_coupled(where)
        for store in stores:
            prepared = build_config(PrepareConfig, _settings(store))
            require_features(f"stages.{store.rule}: for {member}", prepared.names, seen.name)
    inputs = dict(_inputs(jobs))
    for job in jobs:
        if job.rule == ONLINE_RUN.name and job.member in inputs:
            _check_run(job, inputs[job.member])


def _inputs(jobs: Sequence[Job]) -> Iterator[tuple[str, Encoding]]:
    """Members that are trained on the prepared store, and what their networks see."""
    for job in jobs:
        if job.rule == TRAIN.name:
            yield job.member, encoding(str(setting(_settings(job), "recipe.inputs")))


def _check_run(job: Job, seen: Encoding) -> None:
    """Refuse a run that would hand over to its model before its memory is there."""
    run = build_config(RunConfig, _settings(job))
    if batch_runner(run.host) is not None:
        return
    try:
        require_spinup(seen.interface, run.coupler)
    except ClimSimError as error:
        raise ClimSimError(f"online: for {job.member}: {error}") from error


def _settings(job: Job) -> Values:
    return job.settings or {}
