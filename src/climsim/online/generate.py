"""Raw step pairs from a host that runs with its own physics.

The files have the layout of E3SM-MMF's. A run that was killed continues from its last restart file,
one that was interrupted from its last step; both write the pairs that an undisturbed run would
have written. Several members run from starts of their own, each in years of its own, so that all
of them form one record.
"""

from __future__ import annotations

import datetime
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cftime
import numpy as np

from climsim.constants import SECONDS_PER_DAY
from climsim.data.raw.steps import GRID_FILE, write_grid_info
from climsim.errors import ClimSimError
from climsim.files import (
    atomic_path,
    file_hash,
    provenance,
    read_json,
    remove,
    require_there,
    write_json,
)
from climsim.hosts import build_host
from climsim.hosts.base import SteppedHost, StepResult
from climsim.hosts.members import Members, another, joined, members_of
from climsim.locks import LOCK_NAME, only_process
from climsim.online.pairs import PairFiles, PairWriter
from climsim.online.pairs_config import GENERATE_FOLDER, NOISY_YEARS, GenerateConfig, years_later
from climsim.products import Kind, claim, noted
from climsim.stage import Progress
from climsim.stepping import advance, steps_asked, steps_of

__all__ = ["GenerateConfig", "generate"]
_log = logging.getLogger(__name__)
_RECORD = "record.json"
_LAST_SAVE = "last_save"
"""Where the restart files of a save lie together until each has its own name."""
_NOISY_FOLDER = "noisy"
"""Where pairs beside those of the run lie."""
_HEALTH_STEPS = 12
"""Most steps between two looks at the state, where none is written."""
GENERATED = Kind(
    "the folder of generated step pairs",
    lambda path: noted(path / GENERATE_FOLDER / _RECORD, "identity", "days_done"),
    is_folder=True,
    scaffold=(GENERATE_FOLDER,),
)


def generate(
    config: GenerateConfig, progress: Progress | None = None, host: SteppedHost | None = None
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
        KeyboardInterrupt: after an interrupt, once the run can be continued.
    """
    files: dict[str, Path | None] = {"start": config.start}
    files |= {f"starts[{number}]": path for number, path in enumerate(config.starts)}
    claim(config.raw, GENERATED, files, key="raw")
    lock = config.raw / LOCK_NAME
    with only_process(lock, f"{config.raw}: another process generates these step pairs"):
        _generate(config, progress, host)
    return config.raw


def _generate(config: GenerateConfig, progress: Progress | None, host: SteppedHost | None) -> None:
    """Write what is missing of the step pairs of a folder that no other process writes."""
    note = _read_note(config)
    if note is not None and note.holds(config.days):
        _log.info("%s: nothing to do: %g days are there", config.raw, note.days_done)
        return
    if note is None:
        require_there({"start": config.start, "starts": config.starts})
    host = build_host(config.host, config.host_options) if host is None else host
    total = steps_asked(config.days, host.dt)
    between = max(1, steps_of(config.restart_days, host.dt))
    hosts = [host, *(another(host) for _ in config.folders[1:])]
    members, name = members_of(hosts, by_physics=True), host.name
    first_steps = _start(config, members, note)
    write_grid_info(config.raw / GRID_FILE, host.grid, host.source)
    with PairWriter() as writer:
        advance(_Generation(config, members, writer, first_steps, name), total, between, progress)


class _Generation:
    """Members whose steps are written as pairs.

    Args:
        config: of the run.
        members: at their starts or where they were saved.
        writer: of the pairs.
        first_steps: number of the first step of each member.
        name: of the host.
    """

    def __init__(
        self,
        config: GenerateConfig,
        members: Members,
        writer: PairWriter,
        first_steps: tuple[int, ...],
        name: str,
    ) -> None:
        self._config, self._members, self._writer = config, members, writer
        self._first_steps, self._name = first_steps, name
        host = members.member(0)
        noisy = f"{host.source}; {config.amplitudes}" if config.amplitudes else host.source
        apart = config.noise_stride > 0
        self._weather = PairFiles.of(host, config.folders, host.source if apart else noisy)
        beside = tuple(folder / _NOISY_FOLDER for folder in config.folders)
        self._noisy = PairFiles.of(host, beside, noisy) if apart else self._weather
        self._dt, self._done = host.dt, host.step_number - first_steps[0]
        self._spinup = steps_of(config.spinup_days, host.dt)
        begun = [date - self._time(self._done) for date in members.dates]
        self._years = years_later([date.year for date in begun])

    @property
    def steps_done(self) -> int:
        """Steps since the start."""
        return self._done

    def step(self) -> bool:
        """Advance every member, and write its pair where the step is kept."""
        config, apart = self._config, self._config.noise_stride
        kept, noisy = self._due(config.stride), self._due(apart or config.stride)
        if kept or noisy or self._done % _HEALTH_STEPS == 0:
            self._require_health()
        dates = [
            date.replace(year=date.year + years)
            for date, years in zip(self._members.dates, self._years, strict=True)
        ]
        if noisy and config.amplitudes:
            years = NOISY_YEARS if apart else 0
            later = [date.replace(year=date.year + years) for date in dates]
            self._writer.add(self._noisy, self._at_noisy_states(), later)
            kept = kept and apart > 0
        result = self._members.step_physics()
        if kept:
            self._writer.add(self._weather, result, dates)
        self._done += 1
        return True

    def _due(self, stride: int) -> bool:
        after_spinup = self._done - self._spinup
        return after_spinup >= 0 and after_spinup % stride == 0

    def save(self) -> None:
        """Write the restart files and how far the run is, once the pairs are there."""
        self._writer.settle()
        with atomic_path(self._config.raw / GENERATE_FOLDER / _LAST_SAVE) as together:
            together.mkdir()
            for index, path in enumerate(self._config.restarts):
                self._members.member(index).save(together / path.name)
        _name_restarts(self._config)
        days = self._done * self._dt / SECONDS_PER_DAY
        _write_note(self._config, _Note(self._first_steps, days, self._dt))

    def _time(self, steps: int) -> datetime.timedelta:
        return datetime.timedelta(seconds=self._dt * steps)

    def _at_noisy_states(self) -> StepResult:
        """What physics does at the states with noise, which the run does not see."""
        config, labels = self._config, []
        with TemporaryDirectory(prefix="climsim-") as folder:
            for index in range(config.members):
                # The noise of a first member is that of a single one.
                seed = (config.seed, self._done, *([index] if index else ()))
                host, generator = self._members.member(index), np.random.default_rng(seed)
                labels.append(config.amplitudes.physics(host, generator, Path(folder)))
        return joined(labels)

    def _require_health(self) -> None:
        reports = self._members.health()
        for index, (report, folder) in enumerate(zip(reports, self._config.folders, strict=True)):
            if report is not None:
                what = self._name if len(reports) == 1 else f"{self._name}, {folder.name}"
                date: cftime.DatetimeNoLeap = self._members.dates[index]
                raise ClimSimError(f"{what}: unstable at {date}: {report}")


@dataclass(frozen=True)
class _Note:
    """How far a run is, as its record says.

    Attributes:
        first_steps: number of the first step of each member.
        days_done: simulated days whose pairs are there.
        dt: time step [s].
    """

    first_steps: tuple[int, ...]
    days_done: float
    dt: float

    def holds(self, days: float) -> bool:
        """Whether the pairs of so many days are there."""
        return steps_of(self.days_done, self.dt) >= steps_of(days, self.dt)


def _name_restarts(config: GenerateConfig) -> None:
    """Give the restart files of the last save their names; after a kill, those that lack them."""
    last_save = config.raw / GENERATE_FOLDER / _LAST_SAVE
    for path in config.restarts:
        if (last_save / path.name).exists():
            (last_save / path.name).replace(path)
    remove(last_save)


def _start(config: GenerateConfig, members: Members, note: _Note | None) -> tuple[int, ...]:
    """Bring the members to their starts or to where they were saved; numbers of their first steps.

    Raises:
        ClimSimError: if they were saved at several steps.
    """
    hosts = [members.member(index) for index in range(members.count)]
    if note is not None and note.days_done:
        _name_restarts(config)
        for host, path in zip(hosts, config.restarts, strict=True):
            host.restore(path)
        numbers = [h.step_number - first for h, first in zip(hosts, note.first_steps, strict=True)]
        if len(set(numbers)) > 1:
            raise ClimSimError(
                f"{config.restarts[0].parent}: expected restart files of one step, found those of "
                f"steps {sorted(set(numbers))}: delete {config.raw} and generate it again"
            )
        _log.info("%s: continuing after %g days", config.raw, note.days_done)
        return note.first_steps
    for index, host in enumerate(hosts):
        if config.start_files:
            host.restore(config.start_files[index % len(config.start_files)])
        if index:
            random = np.random.default_rng((config.seed, index))
            host.perturb(int(random.integers(2**31)), config.start_amplitude)
        _to_season(host, config, index)
    first_steps = tuple(host.step_number for host in hosts)
    # Before the first file: the folder says what it is from the beginning.
    _write_note(config, _Note(first_steps, 0.0, hosts[0].dt))
    return first_steps


def _to_season(host: SteppedHost, config: GenerateConfig, index: int) -> None:
    """Put a member at its start under the date of its season."""
    days = config.days_to_season(index)
    if not days:
        return
    move = getattr(host, "set_date", None)
    if move is None:
        raise ClimSimError(
            f"seasons={config.seasons}: expected a host with the method set_date, found "
            f"{host.name} without: add it to the host, or give starts of several seasons (starts)"
        )
    move(host.date + datetime.timedelta(days=days))


def _read_note(config: GenerateConfig) -> _Note | None:
    path = config.raw / GENERATE_FOLDER / _RECORD
    if not path.exists():
        return None
    values = read_json(path)
    if values.get("identity") != config.identity():
        raise ClimSimError(
            f"{config.raw}: holds step pairs of {values.get('identity')}, expected "
            f"{config.identity()}: choose another folder or delete this one"
        )
    # A record of an earlier version is of one member, and does not say the time step: its days are
    # compared to the second.
    first_steps = values.get("first_steps", [values.get("first_step")])
    dt = float(values.get("dt", 1.0))
    return _Note(tuple(int(step) for step in first_steps), float(values["days_done"]), dt)


def _write_note(config: GenerateConfig, note: _Note) -> None:
    inputs = {str(path): file_hash(path) for path in config.start_files if path.is_file()}
    made_by = provenance({**config.identity(), "days": note.days_done}, inputs)
    path = config.raw / GENERATE_FOLDER / _RECORD
    write_json(path, {"identity": config.identity(), **asdict(note), **made_by})
