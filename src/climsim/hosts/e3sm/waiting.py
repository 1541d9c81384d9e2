"""Waiting for a case: submitted, followed, submitted again after a failure, and collected."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from filelock import FileLock

from climsim.errors import ClimSimError
from climsim.files import read_json
from climsim.hosts.e3sm import logs
from climsim.hosts.e3sm.case import ABOUT, BUILT, describe_case
from climsim.hosts.e3sm.config import E3smConfig

_log = logging.getLogger(__name__)
_BUILD_LOCK = ".e3sm-build.lock"
_WHAT_IS_BUILT = (
    "source", "machine", "compiler", "purpose", "compset", "grid", "tasks", "threads", "ftorch",
    "definitions",
)  # fmt: skip
"""Settings that an executable depends on."""


def wait_for(
    case: E3smConfig,
    advance: Callable[[E3smConfig], logs.CaseState],
    report: Callable[[logs.CaseState], object],
    poll_seconds: float,
    resubmissions: int,
) -> logs.CaseState:
    """Bring a case to its end.

    Cases beside it that need the same executable are built one after the other, so that only the
    first compiles.

    Args:
        case: the case.
        advance: does the next thing that a case needs.
        report: called with the state after each look.
        poll_seconds: time between two looks [s].
        resubmissions: how often a job that failed is submitted again.

    Returns:
        The last state: complete or unstable.

    Raises:
        ClimSimError: if the case fails once more than that.
    """
    case.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(case.folder.parent / _BUILD_LOCK):
        case = with_shared_executable(case)
        state = logs.case_state(case)
        if state.status in (logs.PREPARED, logs.CREATED):
            state = advance(case)
    failed = 0
    while True:
        report(state)
        if state.status in (logs.COMPLETE, logs.UNSTABLE):
            return state
        if state.status == logs.FAILED:
            if failed == resubmissions:
                raise ClimSimError(
                    f"{case.case}: failed {failed + 1} times after {state.days:.0f} days "
                    f"({state.message}): see the logs in {case.run_folder}, mend it and run again"
                )
            failed += 1
            state = advance(case)
        else:
            time.sleep(poll_seconds)
            state = logs.case_state(case)


def with_shared_executable(case: E3smConfig) -> E3smConfig:
    """Let a case use the executable that a case in a folder beside it has built, if it fits."""
    if case.executable is not None or (case.folder / ABOUT).exists():
        return case
    wanted = _built_from(describe_case(case))
    for about in sorted(case.folder.parent.glob(f"*/{ABOUT}")):
        executable = about.parent / "build" / "e3sm.exe"
        if not (about.parent / BUILT).exists() or not executable.exists():
            continue
        if _built_from(read_json(about)) == wanted:
            _log.info("%s: takes the executable of %s", case.case, about.parent.name)
            return replace(case, executable=executable)
    return case


def _built_from(about: Mapping[str, object]) -> dict[str, object]:
    return {key: about.get(key) for key in _WHAT_IS_BUILT}
