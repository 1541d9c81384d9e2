"""One job of a study, as the plan in the folder of the study holds it.

This is read by every job that runs, so it loads little.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import dacite

from climsim.files import read_json
from climsim.keys import Values
from climsim.products import noted

PLAN = "plan.json"
"""File that holds the jobs, in the folder of the experiment."""
CALL = "$ climsim "
"""What stands before the command in the log of a job."""


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

    def digest(self, given: Mapping[str, str]) -> str:
        """Hash of the resolved configuration, and of what the job is given where there is any.

        Args:
            given: identity of what it reads that neither jobs make nor Snakemake looks at.
        """
        made = [self.settings, given] if given else self.settings
        text = json.dumps(made, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_experiment(folder: Path) -> bool:
    """Whether a folder is that of an experiment: other products have a plan of their own."""
    return noted(folder / PLAN, "members", "jobs")


def read_jobs(folder: Path) -> list[Job]:
    """The jobs of the plan in the folder of an experiment."""
    plan: PlanNote = read_json(folder / PLAN)
    lists = dacite.Config(cast=[tuple])
    return [dacite.from_dict(Job, job, lists) for job in plan["jobs"].values()]
