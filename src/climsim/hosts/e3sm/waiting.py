"""Waiting for a case: submitted, followed, submitted again after a failure, and collected."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from filelock import FileLock

from climsim.errors import ClimSimError
from climsim.hosts.e3sm import logs
from climsim.hosts.e3sm.config import E3smConfig
from climsim.hosts.e3sm.executables import with_shared_executables
from climsim.runs.status import RunStatus

_log = logging.getLogger(__name__)
_BUILD_LOCK = ".e3sm-build.lock"


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
        (case,) = with_shared_executables([case])
        state = logs.case_state(case)
        if state.status in (RunStatus.PREPARED, RunStatus.CREATED):
            state = advance(case)
    failed = 0
    while True:
        report(state)
        if state.status in (RunStatus.COMPLETE, RunStatus.UNSTABLE):
            return state
        if state.status == RunStatus.FAILED:
            if failed == resubmissions:
                raise ClimSimError(
                    f"{case.case}: failed {failed + 1} times after {state.days:.0f} days "
                    f"({state.message}): see the logs in {case.run_folder}, fix it and run again"
                )
            failed += 1
            state = advance(case)
        else:
            time.sleep(poll_seconds)
            state = logs.case_state(case)
