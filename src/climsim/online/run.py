"""Running a climate model step by step, coupled to an exported model or with its own physics.

The loop is exact over interruptions: a run that was killed continues from its last restart point
and gives the files that it would have given.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from climsim.constants import SECONDS_PER_DAY
from climsim.devices import present_device
from climsim.errors import ClimSimError
from climsim.files import file_hash, provenance
from climsim.hosts import batch_runner, build_host, require_taken
from climsim.hosts.base import SteppedHost
from climsim.locks import LOCK_NAME, LockedError, hold
from climsim.online.fields import NEEDED_FIELDS
from climsim.online.fitting import open_fitting_model
from climsim.online.loop import Loop
from climsim.online.restart import latest_restart
from climsim.products import claim
from climsim.runs.config import RESTART_DAYS, RunConfig
from climsim.runs.record import RECORD_NAME, RUN, RunAbout, RunRecord
from climsim.runs.status import RunStatus
from climsim.stepping import Interrupted, Progress, advance

__all__ = ["RunConfig", "run_online"]
_log = logging.getLogger(__name__)
_MAY_CHANGE = ("days", "folder", "restart_days", "threads")
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
    inputs = _input_hashes(config)
    config.folder.mkdir(parents=True, exist_ok=True)
    with _locked(config.folder):
        done = _previous(config, inputs)
        if done is not None and done.finished:
            _log.info("%s: nothing to do: %s", config.folder, done.message or done.status)
            return done
        host = build_host(config.host, config.host_options) if host is None else host
        return _run(config, host, inputs, progress)


def _run(
    config: RunConfig, host: SteppedHost, inputs: dict[str, str], progress: Progress | None
) -> RunRecord:
    """Run what is left to run; whatever ends it, the record says so."""
    model = open_fitting_model(config, host, NEEDED_FIELDS, "its history and budgets")
    loop = Loop(config, host, model, _new_record(config, host, inputs))
    try:
        _start(config, loop)
        _advance(config, loop, progress)
    except Interrupted:
        record = loop.record
        _note(record, RunStatus.INTERRUPTED, f"interrupted after {record.days:.2f} days")
        record.save(config.folder)
        raise
    except Exception as error:
        _note(loop.record, RunStatus.FAILED, " ".join(str(error).split()))
        _save_if_possible(loop.record, config.folder)
        raise
    finally:
        loop.close()
    return loop.record


def _advance(config: RunConfig, loop: Loop, progress: Progress | None) -> None:
    """Step until the days are done or an instability ends the run."""
    record = loop.record
    total = round(config.days * SECONDS_PER_DAY / record.about.dt)
    restart_days = RESTART_DAYS if config.restart_days is None else config.restart_days
    between = max(1, round(restart_days * SECONDS_PER_DAY / record.about.dt))
    record.about.days_wanted = config.days
    _note(record, RunStatus.RUNNING, "")
    if advance(loop, total, between, progress):
        loop.write_unfinished()
        _note(record, RunStatus.COMPLETE, f"complete after {record.days:.2f} days")
        record.save(config.folder)


def _note(record: RunRecord, status: RunStatus, message: str) -> None:
    record.status, record.message = status, message


def _start(config: RunConfig, loop: Loop) -> None:
    """Bring the loop to its start state or to the last restart point."""
    point = latest_restart(config.folder)
    if point is not None:
        loop.load_restart(point)
        _log.info("%s: continuing from step %d", config.folder, loop.record.steps)
        return
    if config.start is not None:
        loop.host.restore(config.start)
    if config.perturbation_seed is not None:
        loop.host.perturb(config.perturbation_seed, config.perturbation_amplitude)
    loop.record.about.start = loop.record.date = loop.host.date.isoformat()
    loop.record.save(config.folder)


def _model_hash(path: Path) -> str:
    if not path.is_file():
        raise ClimSimError(f"{path}: no such file: model must name an exported model")
    return file_hash(path)


def _input_hashes(config: RunConfig) -> dict[str, str]:
    inputs = {} if config.model is None else {str(config.model): _model_hash(config.model)}
    # Once a run has begun, it continues from its own restart points.
    if config.start is not None and config.start.is_file():
        inputs[str(config.start)] = file_hash(config.start)
    return inputs


def _new_record(config: RunConfig, host: SteppedHost, inputs: dict[str, str]) -> RunRecord:
    resolved = config.resolved()
    about = RunAbout(
        config=resolved,
        made_by=provenance(resolved, inputs),
        host=host.name,
        model=None if config.model is None else str(config.model),
        dt=host.dt,
        cells=host.grid.n_levels * host.grid.n_columns,
        days_wanted=config.days,
    )
    return RunRecord(config.case, about=about)


def _previous(config: RunConfig, inputs: dict[str, str]) -> RunRecord | None:
    """The record that the folder holds, if it is one of the same run."""
    if not (config.folder / RECORD_NAME).exists():
        return None
    record = RunRecord.open(config.folder)
    difference = _difference(record, config.resolved(), inputs)
    if difference and _nothing_run(record, config.folder):
        _log.info("%s: starts anew; nothing was run under other settings", config.folder)
        return None
    if difference:
        raise ClimSimError(
            f"{config.folder}: holds {difference}: choose another folder or delete it"
        )
    record.about.days_wanted = config.days
    return record


def _difference(
    record: RunRecord, now: Mapping[str, object], inputs: Mapping[str, str]
) -> str | None:
    """What a run that is there has that differs from the run of now, in words; None if nothing."""
    hashes = json.loads(record.about.made_by.get("input_hashes", "{}"))
    for key, value in now.items():
        # A key that the record lacks came with a later version, whose default is what was run.
        before = record.about.config.get(key, value)
        before = present_device(before) if key == "device" else before
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


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second process out; the lock ends with the process that holds it."""
    try:
        with hold(folder / LOCK_NAME):
            yield
    except LockedError as error:
        raise ClimSimError(
            f"{folder}: another process runs this case: wait for it or choose another folder"
        ) from error
