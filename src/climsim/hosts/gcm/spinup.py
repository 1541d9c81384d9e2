"""Spin the embedded model up and store a restart file, such as the shipped start state."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climsim.arrays import Array
from climsim.constants import MM_PER_DAY, STEPS_PER_DAY
from climsim.errors import ClimSimError
from climsim.files import provenance, read_json, remove, write_json
from climsim.hosts.base import HostSteps, StepResult
from climsim.hosts.gcm import build_host
from climsim.hosts.gcm.config import SpinupConfig
from climsim.hosts.gcm.host import GcmHost
from climsim.hosts.gcm.restart import RESTART, read_restart, write_restart
from climsim.hosts.settings import as_texts
from climsim.locks import only_process
from climsim.physics.columns import Columns
from climsim.products import Kind, claim, note_of, noted
from climsim.stage import Progress
from climsim.stepping import advance

__all__ = ["SpinupConfig", "spin_up"]
_log = logging.getLogger(__name__)
_OPTIONS = "host_options"
_NOTE = Kind("the note of a spin-up", lambda path: noted(path, _OPTIONS))


def spin_up(
    config: SpinupConfig, progress: Progress | None = None, host: GcmHost | None = None
) -> Path:
    """Run full physics for some days and write a restart file; a second call continues.

    Beside it lies a note of what made it.

    Args:
        config: of the run.
        progress: called with (steps done, steps in all).
        host: one built before, at its start state; None builds it from the configuration.

    Returns:
        The restart file, compressed.

    Raises:
        ClimSimError: if the model became unstable, or what is there is of other options.
        KeyboardInterrupt: after an interrupt, once the checkpoint is written.
    """
    checkpoint = config.out.with_name(config.out.name + ".checkpoint")
    claim(config.out, RESTART)
    claim(checkpoint, RESTART)
    claim(note_of(config.out), _NOTE)
    lock = config.out.with_name(f".{config.out.name}.lock")
    with only_process(lock, f"{config.out}: another process spins this start up"):
        _spin_up(config, checkpoint, progress, host)
    return config.out


def _spin_up(
    config: SpinupConfig, checkpoint: Path, progress: Progress | None, host: GcmHost | None
) -> None:
    """Write a restart file that no other process writes, by way of its checkpoint."""
    _require_same_options(config)
    host = build_host(config.host_options) if host is None else host
    run = _SpinUp(host, host.step_number, checkpoint)
    for path in (checkpoint, config.out):
        if path.exists() and path.stat().st_size:
            host.restore(path)
            break
    steps, between = (days * STEPS_PER_DAY for days in (config.days, config.checkpoint_days))
    if run.steps_done >= steps and not checkpoint.exists():
        _log.info(
            "%s: nothing to do: %d days are there", config.out, run.steps_done / STEPS_PER_DAY
        )
        return
    if run.steps_done:
        _log.info("%s: continuing from day %d", config.out, run.steps_done // STEPS_PER_DAY)
    _write_note(config)
    advance(run, steps, between, progress)
    write_restart(config.out, read_restart(checkpoint), compress=True)
    remove(checkpoint)


def _write_note(config: SpinupConfig) -> None:
    options = as_texts(config.host_options)
    made_by = provenance({"host": config.host, _OPTIONS: options, "days": config.days}, {})
    write_json(note_of(config.out), {_OPTIONS: options, **made_by})


def _require_same_options(config: SpinupConfig) -> None:
    """Refuse options that a restart file says nothing of and that differ from those it began with.

    Raises:
        ClimSimError: naming the first.
    """
    note = note_of(config.out)
    if not note.exists():
        return
    before, now = read_json(note)[_OPTIONS], as_texts(config.host_options)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise ClimSimError(
                f"{config.out}: was begun with host_options.{key}={before.get(key, 'its default')},"
                f" found {now.get(key, 'its default')}: choose another file, or delete this one "
                f"with {note.name}"
            )


@dataclass(frozen=True)
class _SpinUp(HostSteps[GcmHost]):
    """Full physics until a restart file is written.

    Attributes:
        checkpoint: file of the state reached so far.
    """

    checkpoint: Path

    def step(self) -> bool:
        """Do one step; look at the state at the end of a day."""
        result = self.host.step_physics()
        if self.steps_done % STEPS_PER_DAY == 0:
            _report(self.host, result, self.steps_done // STEPS_PER_DAY)
        return True

    def save(self) -> None:
        """Write the checkpoint."""
        self.host.save(self.checkpoint)


def _report(host: GcmHost, result: StepResult, day: int) -> None:
    """Log global means of a day's last step; refuse a state out of its bounds."""
    trouble = host.health()
    if trouble is not None:
        raise ClimSimError(f"spin-up: unstable on day {day}: {trouble}")
    inputs, weights = result.inputs, host.grid.area_weights()

    def mean(values: Array) -> float:
        return float(np.mean(weights * values))

    columns = Columns.between(host.grid.interface_pressure(inputs["state_ps"]), host.constants)
    water = columns.integral(inputs["state_q0001"])
    means = (
        f"water {mean(water):.2f} kg/m2",
        f"lowest temperature {mean(inputs['state_t'][-1]):.2f} K",
        f"precipitation {mean(result.surface['cam_out_PRECC']) * MM_PER_DAY:.2f} mm/day",
        f"outgoing longwave {mean(result.diagnostics['FLUT']):.1f} W/m2",
    )
    _log.info("day %d: %s", day, ", ".join(means))
