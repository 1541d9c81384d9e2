"""Which cases share an executable: one rule for ensembles and for the members of an experiment."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from climsim.files import read_json
from climsim.hosts.e3sm.case import ABOUT, BUILT, describe_case
from climsim.hosts.e3sm.config import E3smConfig

_log = logging.getLogger(__name__)
_NAME = "e3sm.exe"
_DECISIVE = (
    "source",
    "machine",
    "compiler",
    "purpose",
    "compset",
    "grid",
    "tasks",
    "threads",
    "ftorch",
    "definitions",
    "environment_lines",
    "source_mods",
    "debug_build",
)
"""Settings that an executable depends on."""


def with_shared_executables(cases: Sequence[E3smConfig]) -> list[E3smConfig]:
    """Let cases use the executable that another case of equal settings has built or builds first.

    A case keeps the executable that it was created with. A new one takes that of a case in a folder
    beside it whose build has ended, else that of an earlier case of this call.

    Args:
        cases: in the order in which they are built.

    Returns:
        The same cases with the executables that they take; those that build have none.
    """
    built: dict[tuple[object, ...], Path] = {}
    result = []
    for case in cases:
        settings = _decisive(describe_case(case))
        if case.executable is None:
            executable = _chosen(case, settings, built.get(settings))
            case = case if executable is None else replace(case, executable=executable)
        built.setdefault(settings, case.build_folder / _NAME)
        result.append(case)
    return result


def _chosen(case: E3smConfig, settings: tuple[object, ...], earlier: Path | None) -> Path | None:
    about = case.folder / ABOUT
    if about.exists():
        recorded = read_json(about).get("executable", str(None))
        return None if recorded == str(None) else Path(str(recorded))
    return _built_beside(case, settings) or earlier


def _built_beside(case: E3smConfig, settings: tuple[object, ...]) -> Path | None:
    for about in sorted(case.folder.parent.glob(f"*/{ABOUT}")):
        executable = about.parent / "build" / _NAME
        if not (about.parent / BUILT).exists() or not executable.exists():
            continue
        if _decisive(read_json(about)) == settings:
            _log.info("%s: takes the executable of %s", case.case, about.parent.name)
            return executable
    return None


def _decisive(about: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(about.get(key) for key in _DECISIVE)
