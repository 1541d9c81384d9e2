"""Running cases: one call brings a case one stage further and says where it stands."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from climsim.constants import DAYS_PER_YEAR, SECONDS_PER_DAY
from climsim.errors import ClimSimError, members_failed
from climsim.exported_file import training_of_file
from climsim.files import file_hash, provenance
from climsim.hosts.batch import RunKeys
from climsim.hosts.e3sm import logs
from climsim.hosts.e3sm.case import create_case, dry_run, require_same_case, submit_case
from climsim.hosts.e3sm.config import E3smConfig
from climsim.hosts.e3sm.dates import days_wanted, start_date
from climsim.hosts.e3sm.executables import with_shared_executables
from climsim.hosts.e3sm.keys import RUN_KEYS, call_options, case_config
from climsim.hosts.e3sm.waiting import wait_for
from climsim.locks import LOCK_NAME, only_process
from climsim.runs.config import RunConfig
from climsim.runs.record import RunAbout, RunRecord
from climsim.runs.status import RunStatus
from climsim.runs.sums import StepSums
from climsim.stage import Progress

_log = logging.getLogger(__name__)
_NAME, _MMF = "e3sm", "MMF"
MMF_RUNS = ("mmf1", "mmf2")


@dataclass(frozen=True)
class E3smRunner:
    """E3SM-MMF in batch.

    Attributes:
        keys: of a run that E3SM acts on.
        reference_runs: names of the two runs with its own physics, those of the paper.
    """

    keys: RunKeys = RUN_KEYS
    reference_runs: tuple[str, str] = MMF_RUNS

    def check(self, config: RunConfig) -> None:
        """Refuse settings that fit no case (see `BatchRunner.check`)."""
        call_options(config)
        case_config(config, planned=True)

    def run(self, config: RunConfig, progress: Progress | None = None) -> RunRecord:
        """Bring the case of a run one stage further.

        A case that does not exist is created, built and submitted; one that failed is resubmitted
        from its last restart; the history of one that is complete or unstable is collected.

        Args:
            config: of the run; `host_options` holds keys of `E3smConfig` and of `CallOptions`.
            progress: called with (stages done, stages in all).

        Returns:
            The record, also in ``record.json``. A dry run only logs the commands.
        """
        case = case_config(config)
        options = call_options(config)
        if options.dry_run:
            commands = dry_run(case)
            for command in commands:
                _log.info("%s", command)
            message = "\n".join(commands)
            return RunRecord(config.case, RunStatus.DRY_RUN, message, about=RunAbout(host=_NAME))

        def report(state: logs.CaseState) -> RunRecord:
            record = _record(config, case, state)
            if state.status in (RunStatus.COMPLETE, RunStatus.UNSTABLE):
                record.files["history"] = str(len(collect(case, config.folder)))
            record.save(config.folder)
            if progress is not None:
                progress(round(state.days), max(1, round(days_wanted(case))))
            return record

        if options.build_only:
            return report(_built(case, options.wait))
        if not options.wait:
            return report(advance(case))
        poll_seconds = 60 * options.poll_minutes
        return report(wait_for(case, advance, report, poll_seconds, options.resubmissions))

    def run_members(self, configs: Sequence[RunConfig]) -> list[RunRecord]:
        """Bring the case of each run one stage further; those of a kind share one executable.

        Args:
            configs: of the runs, see `run`; none is waited for.

        Returns:
            Their records, in order.

        Raises:
            ClimSimError: once each has had its turn, naming those that failed.
        """
        cases = with_shared_executables([case_config(config) for config in configs])
        records, failed = [], {}
        for config, case in zip(configs, cases, strict=True):
            options = {**config.host_options, "executable": case.executable, "wait": False}
            try:
                records.append(self.run(replace(config, host_options=options)))
            except ClimSimError as error:
                failed[config.case] = str(error)
        if failed:
            raise members_failed(failed, len(configs))
        return records


def _built(case: E3smConfig, waits: bool) -> logs.CaseState:
    """Create and build a case that is not there yet, and say where it stands.

    Raises:
        ClimSimError: if the end of the case is waited for, which nobody submits.
    """
    if waits:
        raise ClimSimError(
            "host_options.build_only=true: given together with wait=true, but a case that is only "
            "built never ends: leave one of the two out"
        )
    with _alone(case):
        if logs.case_state(case).status == RunStatus.PREPARED:
            create_case(case)
    return logs.case_state(case)


def advance(case: E3smConfig) -> logs.CaseState:
    """Do the next thing that a case needs and say where it then stands.

    Raises:
        ClimSimError: if another process does so at the time, or a command of CIME fails.
    """
    with _alone(case):
        return _advance(case)


def _alone(case: E3smConfig) -> AbstractContextManager[None]:
    """Keep a second process from building or submitting the same case."""
    return only_process(
        case.folder / LOCK_NAME, f"{case.folder}: another process prepares or submits this case"
    )


def _advance(case: E3smConfig) -> logs.CaseState:
    state = logs.case_state(case)
    require_same_case(case)
    if state.status == RunStatus.PREPARED:
        create_case(case)
        submit_case(case)
    elif state.status == RunStatus.CREATED:
        submit_case(case)
    elif state.status == RunStatus.FAILED:
        _log.warning("%s: resubmitted after: %s", case.case, state.message)
        submit_case(case, state.days)
    else:
        return state
    return logs.case_state(case)


def collect(case: E3smConfig, folder: Path) -> list[Path]:
    """Link the history files of a case into a folder; a file that is there is left as it is.

    Args:
        case: the case.
        folder: where the evaluation looks for them.

    Returns:
        The links, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    links = []
    for path in sorted(case.run_folder.glob(f"{case.case}.eam.h[0-9].*.nc")):
        link = folder / path.name
        if link.is_symlink():
            link.unlink()
        if not link.exists():
            os.symlink(path, link)
        links.append(link)
    return links


def _record(config: RunConfig, case: E3smConfig, state: logs.CaseState) -> RunRecord:
    resolved = config.resolved()
    inputs = {} if case.model is None else {str(case.model): file_hash(case.model)}
    message = f"{state.status} after {state.days:.0f} days"
    dt = SECONDS_PER_DAY / case.steps_per_day
    record = RunRecord(
        case=config.case,
        status=state.status,
        message=f"{message}: {state.message}" if state.message else message,
        date="" if state.date is None else state.date.isoformat(),
        steps=round(state.days * SECONDS_PER_DAY / dt),
        about=RunAbout(
            config=resolved,
            made_by=provenance(resolved, inputs),
            host=_NAME,
            physics=_MMF if _MMF in case.compset else "",
            model=None if config.model is None else str(config.model),
            training=None if config.model is None else training_of_file(config.model),
            start=start_date(case).isoformat(),
            dt=dt,
            days_wanted=days_wanted(case),
        ),
        sums=StepSums(corrections=state.corrections),
    )
    if state.sypd:
        # The log gives the speed; the record derives it from steps and seconds.
        record.timing.steps = record.steps
        record.timing.seconds["host"] = record.steps * dt / (DAYS_PER_YEAR * state.sypd)
    return record
