"""Raw step pairs from a host that runs with its own physics.

The files have the layout of E3SM-MMF's. A run that was killed continues from the restart file of
its last whole day and writes the pairs it would have written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from climsim.arrays import Fields
from climsim.constants import SECONDS_PER_DAY
from climsim.data.raw.steps import GRID_FILE, write_grid_info, write_step_pair
from climsim.errors import ClimSimError
from climsim.files import atomic_path, file_hash, provenance, read_json, write_json
from climsim.hosts import build_host
from climsim.hosts.base import Host, StepResult
from climsim.products import Kind, claim, noted
from climsim.validation import Checks
from climsim.variables import PROGNOSTIC

__all__ = ["GenerateConfig", "generate"]
_log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
_WORK_FOLDER = ".generate"
_RECORD = "record.json"
_RESTART = "restart.npz"
GENERATED = Kind(
    "the folder of generated step pairs",
    lambda path: noted(path / _WORK_FOLDER / _RECORD, "identity", "days_done"),
    is_folder=True,
    scaffold=(_WORK_FOLDER,),
)


@dataclass(frozen=True)
class GenerateConfig:
    """Which host makes how many days of step pairs.

    Attributes:
        raw: folder of the step pairs.
        days: simulated days.
        host: name of the host, a module of `climsim.hosts`.
        host_options: settings of the host, by key.
        start: restart file of the host to start from; None takes the host's own start state.
    """

    raw: Path
    days: float
    host: str = "gcm"
    host_options: dict[str, Any] = field(default_factory=dict)
    start: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", Path(self.raw))
        if self.start is not None:
            object.__setattr__(self, "start", Path(self.start))
        Checks(self).positive("days")

    def identity(self) -> dict[str, Any]:
        """What has to stay the same for a run to continue."""
        start = None if self.start is None else str(self.start)
        options = {key: str(value) for key, value in sorted(self.host_options.items())}
        return {"host": self.host, "host_options": options, "start": start}


def generate(
    config: GenerateConfig, progress: Progress | None = None, host: Host | None = None
) -> Path:
    """Run a host with full physics and write its step pairs; a second call continues.

    Args:
        config: of the run.
        progress: called with (steps done, steps in all).
        host: one built before, at its start state; None builds it from the configuration.

    Returns:
        The folder of the step pairs.

    Raises:
        ClimSimError: if the folder holds another run, or the host became unstable.
    """
    claim(config.raw, GENERATED, {"start": config.start}, key="raw")
    work = config.raw / _WORK_FOLDER
    record = _record(config, work)
    if record is not None and record["days_done"] >= config.days:
        _log.info("%s: nothing to do: %g days are there", config.raw, record["days_done"])
        return config.raw
    host = build_host(config.host, config.host_options) if host is None else host
    first = _start(config, host, work, record)
    total = round(config.days * SECONDS_PER_DAY / host.dt)
    per_day = round(SECONDS_PER_DAY / host.dt)
    write_grid_info(config.raw / GRID_FILE, host.grid, host.source)
    while (done := host.step_number - first) < total:
        _require_health(host)
        result = host.step_physics()
        write_step_pair(
            config.raw,
            result.date,
            result.inputs,
            after_physics(result, host.dt),
            host.grid,
            host.source,
            host.dt,
        )
        done += 1
        if done % per_day == 0 or done == total:
            with atomic_path(work / _RESTART) as temporary:
                host.save(temporary)
            days = done * host.dt / SECONDS_PER_DAY
            write_json(work / _RECORD, _new_record(config, first, days))
        if progress is not None:
            progress(done, total)
    return config.raw


def after_physics(result: StepResult, dt: float) -> Fields:
    """Prognostic state after the emulated physics, and the surface outputs.

    `x_after = x_before + dt * ptend_x`, in double precision.

    Args:
        result: of a step.
        dt: time step [s].
    """
    after = {
        name: np.asarray(result.inputs[name], np.float64)
        + dt * np.asarray(result.tendencies[name.replace("state_", "ptend_")], np.float64)
        for name in PROGNOSTIC
    }
    return {**after, **result.surface}


def _start(config: GenerateConfig, host: Host, work: Path, record: dict[str, Any] | None) -> int:
    """Bring the host to the start or to the last whole day; return its first step number."""
    if record is not None and record["days_done"]:
        host.restore(work / _RESTART)
        _log.info("%s: continuing after %g days", config.raw, record["days_done"])
        return int(record["first_step"])
    if config.start is not None:
        host.restore(config.start)
    # Before the first file: the folder says what it is from the beginning.
    write_json(work / _RECORD, _new_record(config, host.step_number, 0.0))
    return host.step_number


def _record(config: GenerateConfig, work: Path) -> dict[str, Any] | None:
    path = work / _RECORD
    if not path.exists():
        return None
    record: dict[str, Any] = read_json(path)
    if record.get("identity") != config.identity():
        raise ClimSimError(
            f"{config.raw}: holds step pairs of {record.get('identity')}, expected "
            f"{config.identity()}: choose another folder or delete this one"
        )
    return record


def _new_record(config: GenerateConfig, first: int, days: float) -> dict[str, Any]:
    start = config.start
    inputs = {} if start is None or not start.is_file() else {str(start): file_hash(start)}
    return {
        "identity": config.identity(),
        "first_step": first,
        "days_done": days,
        **provenance({**config.identity(), "days": days}, inputs),
    }


def _require_health(host: Host) -> None:
    report = host.health()
    if report is not None:
        raise ClimSimError(
            f"{host.name}: unstable at {host.date}: {report.variable} is {report.value:g} at "
            f"column {report.column}, level {report.level}, expected {report.bounds}"
        )
