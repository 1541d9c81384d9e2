"""Running a climate model step by step, coupled to an exported model or with its own physics.

The loop is exact over interruptions: a run that was killed continues from its last restart point
and gives the files that it would have given.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.files import file_hash, provenance
from climsim.hosts import batch_runner, build_host, require_taken
from climsim.hosts.base import Host
from climsim.locks import LOCK_NAME, LockedError, hold
from climsim.online.config import RESTART_DAYS, RunConfig
from climsim.online.interrupts import on_interrupt
from climsim.online.loop import Loop
from climsim.online.model import Model, open_model
from climsim.online.record import (
    COMPLETE,
    FAILED,
    INTERRUPTED,
    RECORD_NAME,
    RUN,
    RUNNING,
    RunRecord,
)
from climsim.online.restart import latest_restart
from climsim.products import claim

__all__ = ["RunConfig", "run_online"]
_log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
_MAY_CHANGE = ("days", "folder", "restart_days", "threads")
_FILES = ("model", "start")
"""Keys that name files which a run reads."""


def run_online(
    config: RunConfig, progress: Progress | None = None, host: Host | None = None
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
        batch: RunRecord = runner(config, progress)
        return batch
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
    config: RunConfig, host: Host, inputs: dict[str, str], progress: Progress | None
) -> RunRecord:
    """Run what is left to run; whatever ends it, the record says so."""
    model = _open_fitting_model(config, host)
    loop = Loop(config, host, model, _new_record(config, host, inputs))
    try:
        _start(config, loop)
        with _interruptions() as stopped:
            _advance(loop, config, progress, stopped)
    except Exception as error:
        loop.record.status = FAILED
        loop.record.message = " ".join(str(error).split())
        _save_if_possible(loop.record, config.folder)
        raise
    finally:
        loop.close()
    if loop.record.status == INTERRUPTED:
        raise KeyboardInterrupt
    return loop.record


def _advance(
    loop: Loop, config: RunConfig, progress: Progress | None, stopped: threading.Event
) -> None:
    """Step until the days are done, an instability ends the run, or an interrupt asks to stop."""
    record = loop.record
    total = round(config.days * SECONDS_PER_DAY / record.dt)
    restart_days = RESTART_DAYS if config.restart_days is None else config.restart_days
    between = max(1, round(restart_days * SECONDS_PER_DAY / record.dt))
    record.status, record.days_wanted = RUNNING, config.days
    record.message = ""
    while record.steps < total:
        if not loop.step():
            loop.end_unstable()
            return
        if progress is not None:
            progress(record.steps, total)
        if stopped.is_set():
            loop.save_restart()
            record.status, record.message = INTERRUPTED, f"interrupted after {record.days:.2f} days"
            record.save(config.folder)
            return
        if record.steps % between == 0 or record.steps == total:
            loop.save_restart()
            record.save(config.folder)
    loop.history.write_unfinished()
    record.status, record.message = COMPLETE, f"complete after {record.days:.2f} days"
    record.save(config.folder)


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
    loop.record.start = loop.record.date = loop.host.date.isoformat()
    loop.record.save(config.folder)


def _open_fitting_model(config: RunConfig, host: Host) -> Model | None:
    if config.model is None:
        return None
    model = open_model(config.model, host.grid, config.device, config.threads)
    needed = max(1, model.interface.steps_of_memory)
    if config.coupler.spinup_steps < needed:
        raise ClimSimError(
            f"coupler.spinup_steps: expected {needed} or more for the interface "
            f"{model.interface.name} (surface fluxes and tendencies of earlier steps are inputs), "
            f"found {config.coupler.spinup_steps}"
        )
    return model


def _model_hash(path: Path) -> str:
    if not path.is_file():
        raise ClimSimError(f"{path}: no such file: model must name an exported TorchScript file")
    return file_hash(path)


def _input_hashes(config: RunConfig) -> dict[str, str]:
    inputs = {} if config.model is None else {str(config.model): _model_hash(config.model)}
    # Once a run has begun, it goes on from its own restart points.
    if config.start is not None and config.start.is_file():
        inputs[str(config.start)] = file_hash(config.start)
    return inputs


def _new_record(config: RunConfig, host: Host, inputs: dict[str, str]) -> RunRecord:
    resolved = config.resolved()
    return RunRecord(
        case=config.case,
        config=resolved,
        made_by=provenance(resolved, inputs),
        host=host.name,
        model=resolved["model"],
        dt=host.dt,
        days_wanted=config.days,
        cells=host.grid.n_levels * host.grid.n_columns,
    )


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
    record.days_wanted = config.days
    return record


def _difference(
    record: RunRecord, now: Mapping[str, object], inputs: Mapping[str, str]
) -> str | None:
    """What a run that is there has that differs from the run of now, in words; None if nothing."""
    hashes = json.loads(record.made_by.get("input_hashes", "{}"))
    for key, value in now.items():
        # A key that the record lacks came with a later version, whose default is what was run.
        before = record.config.get(key, value)
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


@contextmanager
def _interruptions() -> Iterator[threading.Event]:
    """Turn the first interrupt into a wish to stop after the step; a second one stops at once."""
    stopped = threading.Event()

    def ask() -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        _log.warning("stopping after this step; once more stops at once")

    with on_interrupt(ask):
        yield stopped
