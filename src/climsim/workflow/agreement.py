"""What the stages of a study have to agree on, checked before the first of them runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from climsim.calendar import to_seconds
from climsim.cards import setting
from climsim.configuration import build_config
from climsim.constants import TIME_STEP
from climsim.data.raw.features import require_features
from climsim.data.stages import PREPARE, STATISTICS
from climsim.data.store.address import is_url
from climsim.data.store.config import PrepareConfig
from climsim.data.store.splits import assign_splits
from climsim.errors import ClimSimError
from climsim.evaluation.stages import EVALUATE_OFFLINE
from climsim.files import not_there
from climsim.hosts import batch_runner
from climsim.hosts.settings import GROUP, Dated, build_settings
from climsim.interfaces import Encoding, encoding
from climsim.keys import Values
from climsim.online.model import require_spinup
from climsim.online.pairs_config import GenerateConfig
from climsim.online.stages import COLLECT, GENERATE, ONLINE_RUN
from climsim.plugins import is_reference
from climsim.processes import EMULATED_ATTRIBUTE, agreed
from climsim.runs.config import RunConfig
from climsim.runs.coupling import CONFIDENCE
from climsim.schema import option_classes
from climsim.training.stages import TRAIN
from climsim.workflow.jobs import Job
from climsim.workflow.scored import check_scored
from climsim.workflow.steps import STEPS

_BRACES = frozenset("{}")


def check_agreement(jobs: Sequence[Job], folder: Path) -> None:
    """Refuse stages that do not fit together: what one makes, another could not take.

    Args:
        jobs: of the study.
        folder: of the study, where they run.

    Raises:
        ClimSimError: naming the stage, what it lacks and for which member.
    """
    for job in jobs:
        _check_files(job, folder)
    stores = [job for job in jobs if job.rule == PREPARE.name]
    for store in stores:
        _check_splits(store, jobs, folder)
    _check_processes(jobs)
    for member, seen in _inputs(jobs):
        where = f"stages.{TRAIN.name}: {member}"
        seen.require_coupled(where)
        for store in stores:
            prepared = build_config(PrepareConfig, _settings(store))
            require_features(f"stages.{store.rule}: for {member}", prepared.names, seen.name)
    if not stores:
        _check_given_store(jobs)
    inputs = dict(_inputs(jobs))
    for job in jobs:
        if job.rule == ONLINE_RUN.name and job.member in inputs:
            _check_run(job, inputs[job.member])
            _check_mixing(job, jobs)
    check_scored(jobs)


def _check_files(job: Job, folder: Path) -> None:
    """Refuse a file that a stage needs, no other stage makes, and is not there.

    A path that Snakemake would take for a pattern is refused too.
    """
    for name in job.inputs:
        if not _BRACES.isdisjoint(name):
            raise ClimSimError(
                f"stages.{job.rule}: {name}: expected a path without braces, which Snakemake takes "
                "for a pattern: rename it"
            )
    for key in STEPS[job.rule].stage.needs:
        value = setting(_settings(job), key)
        for path in value if isinstance(value, list | tuple) else [value]:
            if not path or path in job.inputs or is_url(str(path)):
                continue
            if not (folder / str(path)).exists():
                raise not_there(f"stages.{job.rule}: {key}", str(path))


def _check_splits(store: Job, jobs: Sequence[Job], folder: Path) -> None:
    """Refuse splits that a stage reads and nothing falls into, or that the record is too short for.

    The record is known where the study generates it; its dates are known where the host says when
    it begins, and shares do not ask for them.
    """
    split = build_config(PrepareConfig, _settings(store)).split
    for job in jobs:
        for name in _splits_read(job):
            if not split.holds(name):
                raise ClimSimError(
                    f"stages.{store.rule}: split: expected steps in the split {name}, which "
                    f"stages.{job.rule} reads, found none: give it a share or a period"
                )
    record = next((job for job in jobs if job.rule == GENERATE.name), None)
    if record is None:
        return
    generated = build_config(GenerateConfig, _settings(record))
    starts = [0] if split.by_share else _starts(generated, folder)
    if is_reference(generated.host) or not starts:
        return
    try:
        assign_splits(generated.times(TIME_STEP, starts), split)
    except ClimSimError as error:
        days = f"stages.{record.rule} has days={generated.days:g}"
        raise ClimSimError(f"stages.{store.rule}: {error} ({days})") from error


def _check_given_store(jobs: Sequence[Job]) -> None:
    """Refuse a store that lacks a split that a stage reads, or features that a network sees."""
    # Here, not above: studies that prepare their store need no Zarr for their plan.
    from climsim.data.store.opened import open_store

    readers = (job for job in jobs if job.rule == STATISTICS.name)
    given = next((str(setting(_settings(job), "store")) for job in readers), None)
    if given is None:
        return
    store = open_store(given)
    for member, seen in _inputs(jobs):
        require_features(f"source.store={given}: for {member}", store.names, seen.name)
    for job in jobs:
        for name in _splits_read(job):
            if not store.steps(name).size:
                raise ClimSimError(
                    f"source.store={given}: expected steps in the split {name}, which "
                    f"stages.{job.rule} reads, found none: prepare it with such a split"
                )


def _starts(generated: GenerateConfig, folder: Path) -> list[int]:
    """Time stamps of the starts of generated data; none where the host does not say them."""
    files: list[Path | None] = [folder / path for path in generated.start_files]
    for cls in option_classes("host", generated.host):
        settings: object = build_settings(cls, generated.host_options)
        if isinstance(settings, Dated):
            return [to_seconds(settings.start_date(file)) for file in files or [None]]
    return []


def _splits_read(job: Job) -> tuple[str, ...]:
    if job.rule == TRAIN.name:
        return ("train", "validation")
    reads = job.rule in (STATISTICS.name, EVALUATE_OFFLINE.name)
    return (str(setting(_settings(job), "split")),) if reads else ()


def _check_processes(jobs: Sequence[Job]) -> None:
    """Refuse a host that leaves out other processes than those that the generated data hold."""
    said = {}
    for job in jobs:
        host = str(setting(_settings(job), "host"))
        if job.rule == GENERATE.name:
            said[f"stages.{job.rule}"] = _processes(job, host)
        elif said and job.rule in (ONLINE_RUN.name, COLLECT.name) and batch_runner(host) is None:
            said[f"stages.{job.rule}: {job.member}"] = _processes(job, host)
    agreed(said, "give the option that chooses them for all stages, as hosts.NAME.KEY")


def _processes(job: Job, host: str) -> frozenset[str]:
    """What the emulated term holds under the options of a job; empty where they do not say it."""
    options = setting(_settings(job), GROUP)
    assert isinstance(options, dict)
    for cls in option_classes("host", host):
        settings: object = build_settings(cls, options)
        if hasattr(settings, EMULATED_ATTRIBUTE):
            return frozenset(getattr(settings, EMULATED_ATTRIBUTE))
    return frozenset()


def _check_mixing(run: Job, jobs: Sequence[Job]) -> None:
    """Refuse a run that mixes by a confidence that its model does not predict."""
    if setting(_settings(run), "coupler.mixing") != CONFIDENCE:
        return
    for job in jobs:
        trained = job.rule == TRAIN.name and job.member == run.member
        if trained and not setting(_settings(job), "recipe.confidence"):
            raise ClimSimError(
                f"online: for {run.member}: coupler.mixing={CONFIDENCE}: its recipe trains no "
                "confidence head: choose another mixing, or recipe.confidence=true"
            )


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
