"""The Snakemake profile that sends the jobs of an experiment to SLURM."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import yaml

from climsim.errors import ClimSimError, missing_extra
from climsim.files import write_text
from climsim.keys import Values
from climsim.workflow.config import Slurm

PROFILE = "profile"
_PLUGIN = "snakemake_executor_plugin_slurm"
_LONGEST_WAIT = 180
"""Most seconds between two looks of the plugin at the jobs."""
_COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "sinfo")


def write_profile(folder: Path, slurm: Slurm) -> Path:
    """Write the profile into an experiment's folder.

    Args:
        folder: of the experiment.
        slurm: resources of the rules.

    Returns:
        The folder of the profile.

    Raises:
        ClimSimError: if the plugin or SLURM is missing, or SLURM would not tell how jobs ended.
    """
    _require_slurm()
    path = folder / PROFILE / "config.yaml"
    accounting = keeps_accounts()
    if not accounting:
        _require_patient_queue(slurm.check_seconds)
    options = profile(slurm, accounting)
    write_text(path, yaml.safe_dump(options, sort_keys=False))
    return path.parent


def profile(slurm: Slurm, accounting: bool = True) -> Values:
    """Options of Snakemake for the executor ``slurm``, by name.

    Args:
        slurm: resources of the rules.
        accounting: whether SLURM keeps accounts, which tell how jobs ended; else its queue does.
    """
    default = _given(slurm.default)
    if slurm.account is not None:
        default["slurm_account"] = slurm.account
    threads = {rule: cores for rule, v in slurm.rules.items() if (cores := v.get("threads"))}
    resources = {rule: _given(values) for rule, values in slurm.rules.items()}
    for values in (default, *resources.values()):
        values.pop("threads", None)
    options: Values = {
        "executor": "slurm",
        "jobs": slurm.jobs,
        "latency-wait": slurm.settle_seconds,
        "slurm-init-seconds-before-status-checks": slurm.check_seconds,
        "slurm-keep-successful-logs": False,
        "slurm-status-command": "sacct" if accounting else "squeue",
        "default-resources": _texts(default),
        "set-resources": {rule: _texts(values) for rule, values in resources.items() if values},
        "set-threads": threads,
    }
    if slurm.account is None:
        options["slurm-no-account"] = True
    return {key: value for key, value in options.items() if value not in ({}, [], False)}


def keeps_accounts() -> bool:
    """Whether ``sacct`` answers: a cluster may run without a database."""
    return subprocess.run(["sacct", "--noheader"], capture_output=True, check=False).returncode == 0


def _require_patient_queue(check_seconds: int) -> None:
    """Refuse a cluster whose queue forgets jobs before their end is read: they would never end."""
    done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True)
    kept = re.search(r"^MinJobAge\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    needed = max(_LONGEST_WAIT, 3 * check_seconds)
    if kept and int(kept[1]) <= needed:
        raise ClimSimError(
            "--slurm: SLURM has no job accounting (sacct does not answer) and its queue forgets "
            f"jobs after {kept[1]} s (MinJobAge): expected more than {needed} s, the larger of "
            f"{_LONGEST_WAIT} and 3 slurm.check_seconds: lower slurm.check_seconds, or ask those "
            "who run the cluster for a longer MinJobAge or job accounting"
        )


def _given(values: Values) -> Values:
    return {key: value for key, value in values.items() if value is not None}


def _texts(values: Values) -> Values:
    """Words in quotes: Snakemake takes resources for Python expressions."""
    return {k: v if isinstance(v, int | float) else repr(str(v)) for k, v in values.items()}


def _require_slurm() -> None:
    if importlib.util.find_spec(_PLUGIN) is None:
        raise missing_extra("--slurm", "Snakemake's SLURM plugin", "cluster")
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing:
        raise ClimSimError(
            f"--slurm: expected SLURM's commands on the PATH, found no {', '.join(missing)}: run "
            "this on a login node of the cluster"
        )
