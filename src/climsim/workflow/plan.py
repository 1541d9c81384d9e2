"""The jobs of an experiment: the command, the settings and the products of each."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TypedDict

from climsim.configuration import compose_config, flatten
from climsim.data.stages import PREPARE, STATISTICS
from climsim.errors import ClimSimError
from climsim.evaluation.stages import EVALUATE_OFFLINE, EVALUATE_ONLINE
from climsim.export.stages import EXPORT
from climsim.figures.stages import FIGURES
from climsim.files import read_json
from climsim.hosts import batch_runner
from climsim.keys import Value, Values
from climsim.online.stages import GENERATE, ONLINE_RUN
from climsim.overrides import quoted
from climsim.plugins import is_reference, reference_file, short_name
from climsim.report.stages import REPORT
from climsim.stage import Stage
from climsim.training.stages import TRAIN
from climsim.workflow.config import ExperimentConfig
from climsim.workflow.steps import (
    ENSEMBLE_STEP,
    FAILURES,
    REFERENCE_STEP,
    REFERENCES,
    STEPS,
    path_of,
)

PLAN = "plan.json"
"""File that holds the jobs, in the folder of the experiment."""
GENERATED_START = f"{path_of(GENERATE)}/.generate/restart.npz"
_STORE_MARK = "zarr.json"


class PlanNote(TypedDict, total=False):
    """What of a plan is read back, beside what Snakemake reads.

    Attributes:
        name: of the study.
        cores: for all jobs together.
        cores_per_member: of a job of a member; 0 for all.
        jobs: fields of every job, by its name.
    """

    name: str
    cores: int
    cores_per_member: int
    jobs: Mapping[str, Values]


@dataclass(frozen=True)
class Job:
    """One job of the graph.

    Attributes:
        name: rule, and member where it has one, joined by ``-``.
        rule: of the step (`climsim.workflow.steps`).
        member: member, reference run or ensemble; empty for a step that all share.
        command: words of the command line and its overrides.
        output: file that marks the job complete, in the experiment's folder.
        product: folder that the stage can resume; empty where the output is the product.
        inputs: what the product depends on, in the experiment's folder or absolute.
        settings: resolved configuration of the command.
    """

    name: str
    rule: str
    member: str
    command: tuple[str, ...] = ()
    output: str = ""
    product: str = ""
    inputs: tuple[str, ...] = ()
    settings: Values | None = None

    @property
    def log(self) -> str:
        """Where the output of the stage goes."""
        return f"logs/{self.name}.log"

    @property
    def digest(self) -> str:
        """Hash of the resolved configuration."""
        text = json.dumps(self.settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Jobs:
    """Makes the jobs of a study; settings that members share are composed once."""

    def __init__(self, config: ExperimentConfig, config_dir: str | None) -> None:
        self.config = config
        self._folder = None if config_dir is None else str(Path(config_dir).resolve())
        self._composed: dict[tuple[str, ...], Values] = {}

    def make(
        self,
        rule: str,
        values: Mapping[str, Value],
        member: str = "",
        *,
        shared: Mapping[str, Value] | None = None,
        special: Mapping[str, Value] | None = None,
    ) -> Job:
        """Make a job of a step.

        Args:
            rule: of the step.
            values: keys that differ from job to job, dotted; what the stage makes follows.
            member: member or reference run; empty for a step that all share.
            shared: further settings, which those of ``stages`` replace.
            special: further settings, which replace those.

        Raises:
            ClimSimError: for a setting that the stage does not know.
        """
        step = STEPS[rule]
        stage, product = step.stage, step.product.format(member=member)
        values = {**values, stage.makes: product}
        given = flatten(self.config.stages.get(rule, {}))
        overrides = override_texts({**(shared or {}), **given, **(special or {})})
        folder = () if self._folder is None else ("--config-dir", self._folder)
        return Job(
            name=f"{rule}-{member}" if member else rule,
            rule=rule,
            member=member,
            command=(*stage.path, *overrides, *override_texts(values), *folder),
            output=step.output.format(member=member),
            product=product if step.mark else "",
            inputs=tuple(_inputs(stage, values)),
            settings=self._settings(rule, overrides, values),
        )

    def _settings(self, rule: str, overrides: Sequence[str], values: Mapping[str, Value]) -> Values:
        name = STEPS[rule].stage.name
        key = (name, *overrides, *values)
        if key not in self._composed:
            given = [*overrides, *override_texts(values)]
            try:
                self._composed[key] = compose_config(name, given, self._folder)
            except ClimSimError as error:
                raise ClimSimError(f"stages.{rule}: {error}") from error
        settings = copy.deepcopy(self._composed[key])
        for path, value in values.items():
            *groups, last = path.split(".")
            group = settings
            for part in groups:
                group = group[part]
            group[last] = value
        return settings


def _inputs(stage: Stage, values: Mapping[str, Value]) -> Iterator[str]:
    """What a stage reads, of the values that a study sets."""
    for key in stage.needs:
        value = values.get(key)
        if isinstance(value, str):
            yield value
        elif value is not None:
            yield from value


def awaited(folder: Path, jobs: Sequence[Job]) -> dict[str, list[str]]:
    """Files that each job waits for: marks of what other jobs make, and files that are there.

    Args:
        folder: of the experiment.
        jobs: all of them.

    Returns:
        Paths by the name of the job, in the experiment's folder or absolute.
    """
    marks = {Path(job.product or job.output): job.output for job in jobs}

    def mark(path: Path) -> str | None:
        made = next((marks[p] for p in (path, *path.parents) if p in marks), None)
        there = (path, path / _STORE_MARK)
        return made or next((str(p) for p in there if (folder / p).is_file()), None)

    found = {job.name: [mark(Path(path)) for path in job.inputs] for job in jobs}
    return {name: sorted({path for path in paths if path}) for name, paths in found.items()}


def make_plan(config: ExperimentConfig, jobs: Jobs) -> list[Job]:
    """List every job of a study but the joint ones, which depend on how the others end.

    Args:
        config: the study.
        jobs: makes them.

    Returns:
        The jobs in the order of the chain.

    Raises:
        ClimSimError: for a setting that a stage does not know.
    """
    references = [_online_job(config, jobs, name, None) for name in REFERENCES]
    return [*_data_jobs(config, jobs), *references, *_member_jobs(config, jobs)]


def joint_jobs(
    jobs: Jobs, offline: Sequence[str], online: Sequence[str], failures: bool = False
) -> list[Job]:
    """List the jobs that bring members together.

    Args:
        jobs: makes them.
        offline: members with offline metrics.
        online: members with an online run; empty where there are none or no reference.
        failures: whether the report shows the list of failures.
    """
    ensembles = jobs.config.members.ensembles(offline)
    files = [path_of(EVALUATE_OFFLINE, member) for member in (*offline, *ensembles)]
    metrics = path_of(EVALUATE_ONLINE) if online else None
    shared: Values = {"offline": files, "online": metrics}
    made = [_ensemble_job(jobs, name, seeds) for name, seeds in ensembles.items()]
    if online:
        first, second = (path_of(ONLINE_RUN, name) for name in REFERENCES)
        runs = [path_of(ONLINE_RUN, member) for member in online]
        values = {"runs": runs, "reference": first, "second_reference": second}
        made.append(jobs.make(EVALUATE_ONLINE.name, values))
    made.append(jobs.make(FIGURES.name, shared))
    values = {**shared, "figures": path_of(FIGURES), "study": "experiment.json"}
    values["tables"] = "tables"
    if failures:
        values["failures"] = FAILURES
    made.append(jobs.make(REPORT.name, values))
    return made


def _ensemble_job(jobs: Jobs, name: str, seeds: Sequence[str]) -> Job:
    """Score the mean prediction of some seeds as each of them is scored."""
    first, *others = (path_of(EXPORT, member) for member in seeds)
    values = {"model": first, "members": others, "store": _store(jobs.config)}
    shared = dict(flatten(jobs.config.stages.get(EVALUATE_OFFLINE.name, {})))
    shared.pop("save_predictions", None)
    return jobs.make(ENSEMBLE_STEP, values, name, shared=shared)


def _data_jobs(config: ExperimentConfig, jobs: Jobs) -> Iterator[Job]:
    source = config.source
    batch = batch_runner(config.host) is not None
    if source.start is not None and batch:
        raise ClimSimError(
            f"source.start: the host {config.host} starts from online.host_options.reference_case, "
            "reference_date and reference_folder: leave it out"
        )
    if source.raw is None and source.store is None and batch:
        raise ClimSimError(
            f"source: the host {config.host} generates no data here: expected source.raw=FOLDER "
            "of step files or source.store=STORE, found neither"
        )
    if source.raw is None and source.store is None:
        yield jobs.make(GENERATE.name, {})
    if source.store is None:
        yield jobs.make(PREPARE.name, {"raw": str(source.raw or path_of(GENERATE))})
    yield jobs.make(STATISTICS.name, {"store": _store(config)})


def _store(config: ExperimentConfig) -> str:
    return str(config.source.store or path_of(PREPARE))


def _online_job(config: ExperimentConfig, jobs: Jobs, name: str, model: str | None) -> Job:
    values: Values = {"case": name}
    if model:
        values["model"] = model
    if batch_runner(config.host) is not None:
        values["host_options.wait"] = True
    elif start := online_start(config):
        values["start"] = start
    shared = {key: v for key, v in flatten(config.online).items() if v is not None}
    shared = {"host": config.host, **shared}
    rule = ONLINE_RUN.name if model else REFERENCE_STEP
    special = flatten(config.references.get(name, {}))
    return jobs.make(rule, values, name, shared=shared, special=special)


def online_start(config: ExperimentConfig) -> str | None:
    """Restart file that the online runs of a stepped host start from."""
    if config.source.start is not None:
        return str(config.source.start)
    generates = config.source.raw is None and config.source.store is None
    return GENERATED_START if generates else None


def _member_jobs(config: ExperimentConfig, jobs: Jobs) -> Iterator[Job]:
    store, members = _store(config), config.members
    for network, recipe, seed in product(members.networks, members.recipes, members.seeds):
        label = short_name(network)
        member = f"{label}-{recipe}-{seed}"
        data = {"data.store": store, "data.statistics": path_of(STATISTICS)}
        special = {"network": network, "recipe": recipe, **_of_member(config, label, recipe)}
        trained = jobs.make(TRAIN.name, {**data, "seed": seed}, member, special=special)
        yield trained
        yield _export_job(jobs, trained)
        yield from _scoring_jobs(config, jobs, member, path_of(EXPORT, member))
    for member, path in members.files().items():
        yield from _scoring_jobs(config, jobs, member, str(path))


def _of_member(config: ExperimentConfig, network: str, recipe: str) -> Values:
    """Settings of `train` that a member's network and recipe ask for, dotted."""
    given = (config.networks.get(network, {}), config.recipes.get(recipe, {}))
    return {key: value for settings in given for key, value in flatten(settings).items()}


def _export_job(jobs: Jobs, trained: Job) -> Job:
    network = str((trained.settings or {})["network"]["name"])
    # The study names that code itself, so that its export may run it.
    code = {"code": [str(reference_file(network))]} if is_reference(network) else {}
    best = f"{trained.product}/best.ckpt"
    return jobs.make(EXPORT.name, {"checkpoint": best, **code}, trained.member)


def _scoring_jobs(config: ExperimentConfig, jobs: Jobs, member: str, model: str) -> Iterator[Job]:
    """What is done with a model file, whoever trained it."""
    yield jobs.make(EVALUATE_OFFLINE.name, {"model": model, "store": _store(config)}, member)
    yield _online_job(config, jobs, member, model)


def override_texts(values: Mapping[str, Value]) -> list[str]:
    """Write nested configuration values as Hydra overrides, ``a.b=value``."""
    return [f"{key}={_hydra_value(value)}" for key, value in flatten(values).items()]


def _hydra_value(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_hydra_value(item) for item in value) + "]"
    if isinstance(value, str):
        return quoted(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def plan_values(folder: Path, jobs: Sequence[Job]) -> Values:
    """Plain values of the jobs, by name.

    Args:
        folder: of the experiment.
        jobs: all of them.
    """
    after = awaited(folder, jobs)
    return {
        job.name: {
            **asdict(job),
            "digest": job.digest,
            "log": job.log,
            "after": after[job.name],
        }
        for job in jobs
    }


def read_jobs(folder: Path) -> list[Job]:
    """The jobs of the plan in the folder of an experiment."""
    known = Job.__dataclass_fields__
    plan: PlanNote = read_json(folder / PLAN)
    planned = plan["jobs"].values()
    return [Job(**{key: job[key] for key in known if key in job}) for job in planned]
