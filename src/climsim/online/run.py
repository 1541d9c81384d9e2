"""Running a climate model step by step, coupled to an exported model or with its own physics.

The loop is exact over interruptions: a run that was killed continues from its last restart point
and gives the files that it would have given.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from climsim.errors import ClimSimError
from climsim.exported_file import training_of_file
from climsim.files import file_hash, provenance, require_there
from climsim.hosts import batch_runner, build_host, require_taken
from climsim.hosts.base import SteppedHost
from climsim.hosts.members import Members, another, members_of
from climsim.locks import LOCK_NAME, only_process
from climsim.online.fields import NEEDED_FIELDS
from climsim.online.fitting import open_fitting_model
from climsim.online.loop import Loop
from climsim.online.model import CoupledModel, OfMembers
from climsim.online.restart import latest_restart
from climsim.online.stages import ONLINE_RUN
from climsim.products import claim
from climsim.runs.config import RESTART_DAYS, RunConfig
from climsim.runs.record import RECORD_NAME, RUN, RunAbout, RunRecord
from climsim.runs.status import RunStatus
from climsim.stage import Progress
from climsim.stepping import Interrupted, advance, steps_asked, steps_of

__all__ = ["RunConfig", "run_online", "run_together"]
_log = logging.getLogger(__name__)
_MAY_CHANGE = (*ONLINE_RUN.may_change, "folder", "threads")
_FILES = ("model", "start")
"""Keys that name files which a run reads."""


def run_online(
    config: RunConfig, progress: Progress | None = None, host: SteppedHost | None = None
) -> RunRecord:
    """Run a host for a number of days; a second call continues, or does nothing when all is done.

    Args:
        config: of the run.
        progress: called with (steps done, steps in all).
        host: one built before, at its start state; None builds it from the configuration.

    Returns:
        The record, also in ``record.json`` of the folder. A host that runs in batch is brought one
        stage further, and the record says where it stands. A run that became unstable ends with
        the status ``unstable``; it is no error.

    Raises:
        ClimSimError: for a configuration, model or folder that does not fit.
        KeyboardInterrupt: after an interrupt, once the run can be continued.
    """
    inputs_by_key = {"model": config.model, "start": config.start}
    claim(config.folder, RUN, inputs_by_key, key="folder")
    if host is None:
        require_taken(config.host, config)
    if host is None and (runner := batch_runner(config.host)) is not None:
        return runner.run(config, progress)
    case = _prepared(config)
    with _locked(config.folder):
        if (done := _previous(case)) is not None:
            return done
        host = build_host(config.host, config.host_options) if host is None else host
        (record,) = _run([case], members_of([host]), progress)
        return record


def run_together(
    configs: Sequence[RunConfig], progress: Progress | None = None, host: SteppedHost | None = None
) -> list[RunRecord]:
    """Run several members of a host in one program, each as if it ran alone.

    Args:
        configs: of the members, alike but for case, folder, model and perturbation. Members that
            are complete are left out; the others must have come equally far.
        progress: called with (steps done, steps in all).
        host: one built before, at its start state; None builds it from the configuration.

    Returns:
        The records of the members, in their order.

    Raises:
        ClimSimError: for a configuration, model or folder that does not fit.
        KeyboardInterrupt: after an interrupt, once the runs can be continued.
    """
    cases = [_prepared(config) for config in configs]
    with ExitStack() as locks:
        for config in configs:
            locks.enter_context(_locked(config.folder))
        done = {i: record for i, case in enumerate(cases) if (record := _previous(case))}
        rest = [i for i in range(len(cases)) if i not in done]
        if rest:
            host = build_host(configs[0].host, configs[0].host_options) if host is None else host
            members = members_of([host, *(another(host) for _ in rest[1:])])
            records = _run([cases[i] for i in rest], members, progress)
            done |= dict(zip(rest, records, strict=True))
    return [done[i] for i in range(len(cases))]


def steps_done(folder: Path) -> int:
    """Steps from which a run in a folder would continue, 0 where there is none."""
    point = latest_restart(folder)
    return 0 if point is None else RunRecord.open(point).steps


@dataclass(frozen=True)
class _Case:
    """A run that is asked for.

    Attributes:
        config: of the run.
        inputs: hashes of the files that it reads, by path.
    """

    config: RunConfig
    inputs: dict[str, str]


def require_files(config: RunConfig) -> None:
    """Refuse a run of which a file is not there, before anything is built for it.

    Args:
        config: of a run of a host that is stepped from here.

    Raises:
        ClimSimError: naming the file.
    """
    require_there({"model": config.model})
    if not (config.folder / RECORD_NAME).exists():
        # One that has begun continues from its own restart points, or has nothing left to do.
        mixing = config.coupler.statistics_file
        require_there({"start": config.start, "coupler.mixing_statistics": mixing})


def _prepared(config: RunConfig) -> _Case:
    require_files(config)
    named = (config.model, config.start, config.coupler.statistics_file)
    files = [file for file in named if file is not None and file.is_file()]
    return _Case(config, {str(file): file_hash(file) for file in files})


def _run(
    cases: Sequence[_Case], members: Members, progress: Progress | None
) -> Sequence[RunRecord]:
    """Run what is left to run; whatever ends it, the records say so."""
    host, configs = members.member(0), [case.config for case in cases]
    total = steps_asked(configs[0].days, host.dt)
    model = _open_models(configs, host)
    records = [_new_record(case, host, len(cases)) for case in cases]
    found = [latest_restart(config.folder) for config in configs]
    points = [point for point in found if point is not None]
    begins = len(points) < len(found)
    if begins:
        # Before anything is made: a start may not fit.
        _restore_starts(configs, members)
    loop = Loop(configs, members, model, records)
    try:
        if begins:
            _note_starts(loop)
        else:
            _continue(loop, points)
        _advance(loop, total, progress)
    except Interrupted:
        for index in loop.under_way:
            record = loop.records[index]
            _note(record, RunStatus.INTERRUPTED, f"interrupted after {record.days:.2f} days")
            record.save(configs[index].folder)
        raise
    except Exception as error:
        loop.stop()
        for index in loop.under_way:
            _note(loop.records[index], RunStatus.FAILED, " ".join(str(error).split()))
            _save_if_possible(loop.records[index], configs[index].folder)
        raise
    finally:
        loop.close()
    return loop.records


def _advance(loop: Loop, total: int, progress: Progress | None) -> None:
    """Step until all steps are done or every member has left its bounds."""
    config, dt = loop.configs[0], loop.records[0].about.dt
    restart_days = RESTART_DAYS if config.restart_days is None else config.restart_days
    between = max(1, steps_of(restart_days, dt))
    for record in loop.records:
        record.about.days_wanted = config.days
        _note(record, RunStatus.RUNNING, "")
    if advance(loop, total, between, progress):
        loop.write_unfinished()
        for index in loop.under_way:
            record = loop.records[index]
            _note(record, RunStatus.COMPLETE, f"complete after {record.days:.2f} days")
            record.save(loop.configs[index].folder)


def _note(record: RunRecord, status: RunStatus, message: str) -> None:
    record.status, record.message = status, message


def _restore_starts(configs: Sequence[RunConfig], members: Members) -> None:
    """Bring the members to their start states."""
    for index, config in enumerate(configs):
        host = members.member(index)
        if config.start is not None:
            host.restore(config.start)
        if config.perturbation_seed is not None:
            host.perturb(config.perturbation_seed, config.perturbation_amplitude)


def _note_starts(loop: Loop) -> None:
    """Write down that the runs begin, and when."""
    for index, (config, record) in enumerate(zip(loop.configs, loop.records, strict=True)):
        record.about.start = record.date = loop.members.member(index).date.isoformat()
        record.save(config.folder)
    loop.keep_starts()


def _continue(loop: Loop, points: Sequence[Path]) -> None:
    """Bring the members to their last restart points."""
    loop.load_restart(points)
    for config, record in zip(loop.configs, loop.records, strict=True):
        _log.info("%s: continuing from step %d", config.folder, record.steps)


def _open_models(configs: Sequence[RunConfig], host: SteppedHost) -> CoupledModel | None:
    """The models of the members, each file once, as one; None for the host's own physics."""
    opened = {
        config.model: open_fitting_model(config, host, NEEDED_FIELDS, "its history and budgets")
        for config in {config.model: config for config in configs}.values()
    }
    models = [opened[config.model] for config in configs]
    fitting = [model for model in models if model is not None]
    if len(opened) == 1 or not fitting:
        return models[0]
    return OfMembers(fitting, compared=configs[0].coupler.needs_physics)


def _new_record(case: _Case, host: SteppedHost, together: int) -> RunRecord:
    config, resolved = case.config, case.config.resolved()
    about = RunAbout(
        config=resolved,
        made_by=provenance(resolved, case.inputs),
        host=host.name,
        model=None if config.model is None else str(config.model),
        training=None if config.model is None else training_of_file(config.model),
        dt=host.dt,
        cells=host.grid.n_levels * host.grid.n_columns,
        days_wanted=config.days,
        together=together,
    )
    return RunRecord(config.case, about=about)


def _previous(case: _Case) -> RunRecord | None:
    """The record that the folder holds, if the same run is done there; None to run."""
    config = case.config
    if not (config.folder / RECORD_NAME).exists():
        return None
    record = RunRecord.open(config.folder)
    difference = _difference(record, config.resolved(), case.inputs)
    if difference and _nothing_run(record, config.folder):
        _log.info("%s: starting over; nothing was run under other settings", config.folder)
        return None
    if difference:
        raise ClimSimError(
            f"{config.folder}: holds {difference}: choose another folder or delete it"
        )
    record.about.days_wanted = config.days
    if not record.finished:
        return None
    _log.info("%s: nothing to do: %s", config.folder, record.message or record.status)
    return record


def _difference(
    record: RunRecord, now: Mapping[str, object], inputs: Mapping[str, str]
) -> str | None:
    """What a run that is there has that differs from the run of now, in words; None if nothing."""
    hashes = json.loads(record.about.made_by.get("input_hashes", "{}"))
    for key, value in now.items():
        # A key that the record lacks came with a later version, whose default is what was run.
        before = ONLINE_RUN.present(key, record.about.config.get(key, value))
        # A file is what it holds: it may have moved, or be named by another path.
        moved = key in _FILES and before in hashes and hashes[before] == inputs.get(str(value))
        if key not in _MAY_CHANGE and before != value and not moved:
            return f"another run: {key} was {before!r}, now {value!r}"
    for name, content in hashes.items():
        if inputs.get(name, content) != content:
            return f"a run of another version of {name}"
    return None


def _nothing_run(record: RunRecord, folder: Path) -> bool:
    """Whether a run ended before it left anything that could be lost or mixed with another's."""
    history = next(folder.glob("*.eam.h[0-9].*.nc"), None)
    return record.steps == 0 and latest_restart(folder) is None and history is None


def _save_if_possible(record: RunRecord, folder: Path) -> None:
    """Note a failure without hiding its cause when even that cannot be written."""
    try:
        record.save(folder)
    except (ClimSimError, OSError) as error:
        _log.warning("%s: the record could not be written: %s", folder, error)


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Keep a second process out; of a run that is refused nothing is left."""
    return only_process(folder / LOCK_NAME, f"{folder}: another process runs this case")
