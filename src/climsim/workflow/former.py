"""Names that steps and settings of a study had before they were those of its stages.

A study that was begun then is readable and continues; a former name that is typed is answered by
the present one. To be removed after one release.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from climsim.errors import ClimSimError

RULES = {
    "offline": "evaluate_offline",
    "online_member": "online_run",
    "online_metrics": "evaluate_online",
}
"""Former names of steps, and the present ones."""
_SETTINGS = {
    "stages.online_member": "stages.online_run",
    "stages.online_mmf1": "references.mmf1",
    "stages.online_mmf2": "references.mmf2",
    **{f"slurm.rules.{old}": f"slurm.rules.{new}" for old, new in RULES.items()},
}
_FILES = ("json", "lock", "log", "made-from.json", "progress")
"""What a job leaves behind; a lock that a process still holds stays held under its new name."""


REFERENCE_RUNS = ("mmf1", "mmf2")
"""Former names of the two reference runs, which those of E3SM-MMF keep."""


def check_references(names: Iterable[str], present: tuple[str, str]) -> None:
    """Refuse the former name of a reference run on a host that is no MMF.

    Args:
        names: given under ``references``.
        present: names of the runs of the host.

    Raises:
        ClimSimError: naming the present one.
    """
    for name in names:
        if name in REFERENCE_RUNS and name not in present:
            new = present[REFERENCE_RUNS.index(name)]
            raise ClimSimError(f"references.{name}: renamed on this host: write references.{new}")


def present_rule(rule: str) -> str:
    """The present name of a rule."""
    return RULES.get(rule, rule)


def check_settings(keys: Iterable[str]) -> None:
    """Refuse former keys of a study.

    Args:
        keys: dotted.

    Raises:
        ClimSimError: naming the present key.
    """
    for key in keys:
        for old, new in _SETTINGS.items():
            if key == old or key.startswith(f"{old}."):
                raise ClimSimError(f"{key}: renamed: write {new}{key.removeprefix(old)}")


def adopt_files(logs: Path, name: str, rule: str, member: str) -> None:
    """Rename what a job of a study begun before left behind.

    Args:
        logs: folder of its files.
        name: former name of the job.
        rule: former name of its step.
        member: its member; empty where it has none.
    """
    present = f"{present_rule(rule)}-{member}" if member else present_rule(rule)
    for ending in _FILES if present != name else ():
        path = logs / f"{name}.{ending}"
        if path.exists():
            path.rename(logs / f"{present}.{ending}")
