"""Start or continue an experiment: compose its configuration, hand it to Snakemake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from climsim.configuration import build_config, compose_config, flatten
from climsim.errors import ClimSimError
from climsim.files import remove, write_json

STAGE_NAMES = (
    "generate",
    "prepare",
    "statistics",
    "train",
    "export",
    "evaluate_offline",
    "online_mmf1",
    "online_mmf2",
    "online_member",
    "evaluate_online",
    "figures",
    "report",
)


@dataclass(frozen=True)
class Members:
    """Which models a study trains: the product of the three lists.

    Attributes:
        networks: names of networks.
        recipes: names of recipes.
        seeds: seeds of initialization and shuffling.
    """

    networks: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for key in ("networks", "recipes", "seeds"):
            if not getattr(self, key):
                raise ClimSimError(f"members.{key}: expected at least one entry, found none")


@dataclass(frozen=True)
class ExperimentConfig:
    """A study: its members and the overrides of each stage.

    Attributes:
        name: name of the study.
        folder: where every product goes.
        members: which models are trained.
        stages: for each stage, the configuration keys of its command that differ from the
            defaults, nested or dotted.
        cores: processor cores Snakemake may use; 0 for all.
        cores_per_member: cores of one training, evaluation or online run; 0 for all. As many
            members run side by side as find room.
    """

    name: str
    folder: Path
    members: Members
    cores: int = 0
    cores_per_member: int = 0
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.stages) - set(STAGE_NAMES))
        if unknown:
            raise ClimSimError(
                f"stages: unknown {', '.join(unknown)}: expected {', '.join(STAGE_NAMES)}"
            )


def run_experiment(
    name: str,
    overrides: Sequence[str] = (),
    *,
    dry_run: bool = False,
    until: str | None = None,
    config_dir: str | None = None,
) -> Path | None:
    """Run what is missing or out of date of a study.

    Args:
        name: a configuration of the group ``experiment``, such as ``"demo"``.
        overrides: further ``key=value`` overrides of that configuration.
        dry_run: only list what would run.
        until: name of the last rule to run.
        config_dir: folder of further configuration.

    Returns:
        Path of the report, or None for a dry run or with ``until``.

    Raises:
        ClimSimError: if another process runs the same experiment, or a stage fails.
    """
    values = compose_config("run_experiment", [f"experiment={name}", *overrides], config_dir)
    config = build_config(ExperimentConfig, values)
    folder = config.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        with lock.acquire(timeout=0):
            _forget_lost_products(folder)
            write_json(folder / "experiment.json", _snakemake_values(config))
            _run_snakemake(config, folder, _options(dry_run, until))
    except Timeout as error:
        raise ClimSimError(
            f"{folder}: another process runs this experiment: wait for it or stop it"
        ) from error
    return None if dry_run or until else folder / "report.html"


def stage_interpreter() -> str:
    """The interpreter that runs the stages: the present one."""
    return sys.executable


def _snakemake_values(config: ExperimentConfig) -> dict[str, Any]:
    members = config.members
    return {
        "name": config.name,
        "python": stage_interpreter(),
        "cores_per_member": config.cores_per_member,
        "members": {
            "networks": list(members.networks),
            "recipes": list(members.recipes),
            "seeds": list(members.seeds),
        },
        "stages": {stage: override_texts(config.stages.get(stage, {})) for stage in STAGE_NAMES},
    }


def override_texts(values: Mapping[str, Any]) -> list[str]:
    """Write nested configuration values as Hydra overrides, ``a.b=value``."""
    return [f"{key}={_hydra_value(value)}" for key, value in flatten(values).items()]


def _hydra_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_hydra_value(item) for item in value) + "]"
    if isinstance(value, str) and not re.fullmatch(r"[\w./+:-]+", value):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _forget_lost_products(folder: Path) -> None:
    """Remove the completion marks of products that somebody deleted."""
    for flag in folder.glob("flags/*.done"):
        product = flag.read_text().strip()
        if not product or not (folder / product).exists():
            remove(flag)


def _options(dry_run: bool, until: str | None) -> list[str]:
    options = []
    if dry_run:
        options += ["--dry-run"]
    if until:
        options += ["--until", until]
    return options


def _run_snakemake(config: ExperimentConfig, folder: Path, options: Sequence[str]) -> None:
    snakefile = resources.files("climsim.workflow") / "Snakefile"
    quiet = [] if "--dry-run" in options else ["--quiet", "all"]
    command = [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(snakefile)),
        *("--directory", str(folder)),
        *("--configfile", str(folder / "experiment.json")),
        *("--cores", str(config.cores or os.cpu_count() or 1)),
        # The experiment holds its own lock, which unlike Snakemake's does not outlive a kill -9.
        *("--nolock", "--rerun-incomplete", "--keep-going"),
        *("--rerun-triggers", "mtime", "params"),
        *quiet,
        *options,
    ]
    process = subprocess.Popen(command)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if code < 0 or code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise ClimSimError(
            f"experiment {config.name!r}: a stage failed (see the lines above): mend it and run "
            f"the same command again; what is complete in {folder} is kept"
        )
