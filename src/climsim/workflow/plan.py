"""The jobs of an experiment: the command, the settings and the products of each."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from climsim.configuration import compose_config, flatten
from climsim.errors import ClimSimError
from climsim.hosts import batch_runner
from climsim.overrides import quoted
from climsim.plugins import is_reference, reference_file, short_name
from climsim.workflow.config import REFERENCES, ExperimentConfig

STORE, STATISTICS, RAW = "store.zarr", "statistics.nc", "raw"
GENERATED_START = "raw/.generate/restart.npz"
FAILURES = "failures.json"
JOINT_RULES = ("online_metrics", "figures", "report")


@dataclass(frozen=True)
class Job:
    """One job of the graph.

    Attributes:
        name: rule, and member where it has one, joined by ``-``.
        rule: rule of the Snakefile.
        member: member or reference run; empty for a stage that all share.
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
    settings: dict[str, Any] | None = None

    @property
    def log(self) -> str:
        """Where the output of the stage goes."""
        return f"logs/{self.name}.log"

    @property
    def digest(self) -> str:
        """Hash of the resolved configuration."""
        text = json.dumps(self.settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_STAGES = {
    "generate": ("data generate", "generate"),
    "prepare": ("data prepare", "prepare"),
    "statistics": ("data statistics", "statistics"),
    "train": ("train", "train"),
    "export": ("export", "export"),
    "evaluate_offline": ("evaluate offline", "evaluate_offline"),
    "online_mmf1": ("online run", "online_run"),
    "online_mmf2": ("online run", "online_run"),
    "online_member": ("online run", "online_run"),
    "evaluate_online": ("evaluate online", "evaluate_online"),
    "figures": ("figures", "figures"),
    "report": ("report", "report"),
}


class Stages:
    """How the stages of a study are called; settings that members share are composed once."""

    def __init__(self, config: ExperimentConfig, config_dir: str | None) -> None:
        self._config = config
        self._folder = None if config_dir is None else str(Path(config_dir).resolve())
        self._composed: dict[tuple[str, ...], dict[str, Any]] = {}

    def job(self, stage: str, job: Job, values: Mapping[str, Any], **choices: Any) -> Job:
        """Complete a job by its command and settings.

        Args:
            stage: name of the stage.
            job: name, rule, products and inputs.
            values: keys that differ from job to job, dotted.
            **choices: further settings; those of a network or recipe in `train` go before those
                of the stage where both set a key, others after.

        Raises:
            ClimSimError: for a setting that the stage does not know.
        """
        words, name = _STAGES[stage]
        given = flatten(self._config.stages.get(stage, {}))
        first, last = (given, choices) if stage == "train" else (choices, given)
        overrides = override_texts({**first, **last})
        own = override_texts(values)
        folder = () if self._folder is None else ("--config-dir", self._folder)
        settings = self._settings(stage, name, overrides, values)
        command = (*words.split(), *overrides, *own, *folder)
        return replace(job, command=command, settings=settings)

    def _settings(
        self, stage: str, name: str, overrides: Sequence[str], values: Mapping[str, Any]
    ) -> dict[str, Any]:
        key = (name, *overrides, *values)
        if key not in self._composed:
            given = [*overrides, *override_texts(values)]
            try:
                self._composed[key] = compose_config(name, given, self._folder)
            except ClimSimError as error:
                raise ClimSimError(f"stages.{stage}: {error}") from error
        settings = copy.deepcopy(self._composed[key])
        for path, value in values.items():
            *groups, last = path.split(".")
            group = settings
            for part in groups:
                group = group[part]
            group[last] = value
        return settings


def make_plan(config: ExperimentConfig, stages: Stages) -> list[Job]:
    """List every job of a study but the joint ones, which depend on how the others end.

    Args:
        config: the study.
        stages: how its stages are called.

    Returns:
        The jobs in the order of the chain.

    Raises:
        ClimSimError: for a setting that a stage does not know.
    """
    references = [_online_job(config, stages, f"online_{name}", name, None) for name in REFERENCES]
    return [*_data_jobs(config, stages), *references, *_member_jobs(config, stages)]


def joint_jobs(
    stages: Stages, offline: Sequence[str], online: Sequence[str], failures: bool = False
) -> list[Job]:
    """List the jobs that bring members together.

    Args:
        stages: how they are called.
        offline: members with offline metrics.
        online: members with an online run; empty where there are none or no reference.
        failures: whether the report shows the list of failures.
    """
    files = [f"offline/{member}.nc" for member in offline]
    runs = [f"online/{member}" for member in online]
    metrics = "online.nc" if online else None
    shared = {"offline": files, "online": metrics}
    jobs = []
    if online:
        job = Job("online_metrics", "online_metrics", "", output="online.nc", inputs=tuple(runs))
        references = {"reference": "online/mmf1", "second_reference": "online/mmf2"}
        values: dict[str, Any] = {"runs": runs, **references, "out": "online.nc"}
        jobs.append(stages.job("evaluate_online", job, values))
    inputs = (*files, *((metrics,) if metrics else ()))
    job = Job(
        name="figures",
        rule="figures",
        member="",
        command=(),
        output="flags/figures.done",
        product="figures",
        inputs=inputs,
    )
    jobs.append(stages.job("figures", job, {**shared, "out": "figures"}))
    values = {**shared, "figures": "figures", "study": "experiment.json", "out": "report.html"}
    values["tables"] = "tables"
    if failures:
        values["failures"] = FAILURES
    job = Job("report", "report", "", output="report.html", inputs=inputs)
    jobs.append(stages.job("report", job, values))
    return jobs


def _data_jobs(config: ExperimentConfig, stages: Stages) -> Iterator[Job]:
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
        job = Job(
            name="generate",
            rule="generate",
            member="",
            command=(),
            output="flags/generate.done",
            product=RAW,
        )
        yield stages.job("generate", job, {"raw": RAW})
    if source.store is None:
        raw = str(source.raw or RAW)
        job = Job(
            name="prepare",
            rule="prepare",
            member="",
            command=(),
            output="flags/prepare.done",
            product=STORE,
            inputs=(raw,),
        )
        yield stages.job("prepare", job, {"raw": raw, "store": STORE})
    store = str(source.store or STORE)
    job = Job("statistics", "statistics", "", output=STATISTICS, inputs=(store,))
    yield stages.job("statistics", job, {"store": store, "out": STATISTICS})


def _online_job(
    config: ExperimentConfig, stages: Stages, stage: str, name: str, model: str | None
) -> Job:
    folder, rule = f"online/{name}", "online_member" if model else "online_reference"
    values: dict[str, Any] = {"case": name, "folder": folder}
    inputs = []
    if model:
        values["model"] = model
        inputs.append(model)
    if batch_runner(config.host) is not None:
        values["host_options.wait"] = True
    elif start := online_start(config):
        values["start"] = start
        inputs.append(start)
    flag = f"flags/online-{name}.done"
    job = Job(
        name=f"online-{name}",
        rule=rule,
        member=name,
        command=(),
        output=flag,
        product=folder,
        inputs=tuple(inputs),
    )
    shared = {key: v for key, v in flatten(config.online).items() if v is not None}
    return stages.job(stage, job, values, **{"host": config.host, **shared})


def online_start(config: ExperimentConfig) -> str | None:
    """Restart file that the online runs of a stepped host start from."""
    if config.source.start is not None:
        return str(config.source.start)
    generates = config.source.raw is None and config.source.store is None
    return GENERATED_START if generates else None


def _member_jobs(config: ExperimentConfig, stages: Stages) -> Iterator[Job]:
    store = str(config.source.store or STORE)
    members = config.members
    for network, recipe, seed in product(members.networks, members.recipes, members.seeds):
        label = short_name(network)
        member = f"{label}-{recipe}-{seed}"
        folder, flag = f"members/{member}", f"flags/train-{member}.done"
        job = Job(
            name=f"train-{member}",
            rule="train",
            member=member,
            command=(),
            output=flag,
            product=folder,
            inputs=(store, STATISTICS),
        )
        values = {"data.store": store, "data.statistics": STATISTICS, "seed": seed, "out": folder}
        own = {"network": network, "recipe": recipe, **_own_settings(config, label, recipe)}
        job = stages.job("train", job, values, **own)
        yield job
        yield _export_job(stages, job)
        yield from _scoring_jobs(config, stages, member, f"models/{member}.pt", store)
    for member, path in members.files().items():
        yield from _scoring_jobs(config, stages, member, str(path), store)


def _own_settings(config: ExperimentConfig, network: str, recipe: str) -> dict[str, Any]:
    """Settings of `train` that a member's network and recipe ask for, dotted."""
    own = (config.networks.get(network, {}), config.recipes.get(recipe, {}))
    return {key: value for settings in own for key, value in flatten(settings).items()}


def _export_job(stages: Stages, trained: Job) -> Job:
    member, network = trained.member, str((trained.settings or {})["network"]["name"])
    # The study names that code itself, so that its export may run it.
    code = {"code": [str(reference_file(network))]} if is_reference(network) else {}
    best, model = f"members/{member}/best.ckpt", f"models/{member}.pt"
    job = Job(f"export-{member}", "export", member, output=model, inputs=(best,))
    return stages.job("export", job, {"checkpoint": best, "out": model, **code})


def _scoring_jobs(
    config: ExperimentConfig, stages: Stages, member: str, model: str, store: str
) -> Iterator[Job]:
    """What is done with a model file, whoever trained it."""
    metrics = f"offline/{member}.nc"
    job = Job(f"offline-{member}", "offline", member, output=metrics, inputs=(model, store))
    yield stages.job("evaluate_offline", job, {"model": model, "store": store, "out": metrics})
    yield _online_job(config, stages, "online_member", member, model)


def override_texts(values: Mapping[str, Any]) -> list[str]:
    """Write nested configuration values as Hydra overrides, ``a.b=value``."""
    return [f"{key}={_hydra_value(value)}" for key, value in flatten(values).items()]


def _hydra_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_hydra_value(item) for item in value) + "]"
    if isinstance(value, str):
        return quoted(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def plan_values(jobs: Sequence[Job]) -> dict[str, Any]:
    """Plain values of the jobs, by name."""
    return {job.name: {**asdict(job), "digest": job.digest, "log": job.log} for job in jobs}
