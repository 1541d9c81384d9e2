"""Raw step pairs from a host that runs with its own physics.

The files have the layout of E3SM-MMF's. A run that was killed continues from its last restart file,
one that was interrupted from its last step; both write the pairs that an undisturbed run would
have written. Several members run from starts of their own, each in years of its own, so that all
of them form one record.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from climsim.online.pairs_config import (
    BETWEEN_MEMBERS,
    GENERATE_FOLDER,
    LAST_YEAR,
    NOISY_YEARS,
    YEARS_APART,
    GenerateConfig,
    damaged_record,
    require_same,
)
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
        ClimSimError: if the folder holds another run, its dates go past the last year that names
            of files hold, or the host became unstable.
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
    if note is None or not note.days_done:
        require_there({"start": config.start, "starts": config.starts})
    host = build_host(config.host, config.host_options) if host is None else host
    total = steps_asked(config.days, host.dt)
    between = max(1, steps_of(config.restart_days, host.dt))
    hosts = [host, *(another(host) for _ in config.folders[1:])]
    members, name = members_of(hosts, by_physics=True), host.name
    note = _start(config, members, note)
    with PairWriter() as writer:
        generation = _Generation(config, members, writer, note, name)
        generation.require_dates(total)
        # Before the first file: the folder says what it is from the beginning.
        _write_note(config, note)
        write_grid_info(config.raw / GRID_FILE, host.grid, host.source)
        advance(generation, total, between, progress)


class _Generation:
    """Members whose steps are written as pairs.

    Args:
        config: of the run.
        members: at their starts or where they were saved.
        writer: of the pairs.
        note: how far they are.
        name: of the host.
    """

    def __init__(
        self,
        config: GenerateConfig,
        members: Members,
        writer: PairWriter,
        note: _Note,
        name: str,
    ) -> None:
        self._config, self._members, self._writer = config, members, writer
        self._note, self._name = note, name
        host = members.member(0)
        noisy = f"{host.source}; {config.amplitudes}" if config.amplitudes else host.source
        apart = config.noise_stride > 0
        self._weather = PairFiles.of(host, config.folders, host.source if apart else noisy)
        beside = tuple(folder / _NOISY_FOLDER for folder in config.folders)
        self._noisy = PairFiles.of(host, beside, noisy) if apart else self._weather
        self._dt, self._done = host.dt, host.step_number - note.first_steps[0]
        self._spinup = steps_of(config.spinup_days, host.dt)
        self._begun = [date - self._time(self._done) for date in members.dates]
        self._years = config.years_later([date.year for date in self._begun])
        self._noisy_years = NOISY_YEARS if apart else 0

    @property
    def steps_done(self) -> int:
        """Steps since the start."""
        return self._done

    def require_dates(self, steps: int) -> None:
        """Refuse a run with dates that no name of a step file holds.

        Args:
            steps: of the whole run.
        """
        ends = [begin + self._time(steps - 1) for begin in self._begun]
        last = max(end.year + years for end, years in zip(ends, self._years, strict=True))
        if last + self._noisy_years > LAST_YEAR:
            noisy = f" ({NOISY_YEARS} more for noise_stride)" if self._noisy_years else ""
            raise ClimSimError(
                f"{self._config.raw}: expected dates up to the year {LAST_YEAR}, found "
                f"{last + self._noisy_years}{noisy}: start in an earlier year, or give fewer days "
                "or members"
            )

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
            later = [date.replace(year=date.year + self._noisy_years) for date in dates]
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
        _write_note(self._config, replace(self._note, days_done=days, dt=self._dt))

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
    """What a run is and how far it is, as its record says.

    Attributes:
        identity: what has to stay the same for it to continue.
        inputs: hash of each start file, as it was at the beginning.
        first_steps: number of the first step of each member.
        days_done: simulated days whose pairs are there.
        dt: time step [s].
    """

    identity: Mapping[str, object]
    inputs: Mapping[str, str]
    first_steps: tuple[int, ...]
    days_done: float
    dt: float

    @classmethod
    def read(cls, path: Path) -> _Note:
        """Read a record; one of an earlier version too.

        Raises:
            ClimSimError: if it is damaged.
        """
        values = read_json(path)
        try:
            # An earlier version knew one member, and did not note the time step: its days are
            # compared to the second.
            steps = values.get("first_steps", [values.get("first_step")])
            return cls(
                identity=dict(values["identity"]),
                inputs=dict(json.loads(values.get("input_hashes", "{}"))),
                first_steps=tuple(int(step) for step in steps),
                days_done=float(values["days_done"]),
                dt=float(values.get("dt", 1.0)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise damaged_record(path, error) from error

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


def _start(config: GenerateConfig, members: Members, note: _Note | None) -> _Note:
    """Bring the members to their starts or to where they were saved, which the note says.

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
        return note
    for index, host in enumerate(hosts):
        if config.start_files:
            host.restore(config.start_files[index % len(config.start_files)])
        if index:
            random = np.random.default_rng((config.seed, index))
            host.perturb(int(random.integers(2**31)), config.start_amplitude)
        _to_season(host, config, index)
    inputs = {str(path): file_hash(path) for path in config.start_files}
    first_steps = tuple(host.step_number for host in hosts)
    return _Note(config.identity(), inputs, first_steps, 0.0, hosts[0].dt)


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
    """The record of the folder, with what has to stay the same as this version notes it."""
    path = config.raw / GENERATE_FOLDER / _RECORD
    if not path.exists():
        return None
    note = _Note.read(path)
    now, noted = config.identity(note.inputs), dict(note.identity)
    # An earlier version noted the path of the start, and had one distance of the members.
    start = noted.get("start")
    if start is not None:
        same = str(start) == str(config.start)
        noted["start"] = now["start"] if same else note.inputs.get(str(start), start)
    if "members" in noted:
        noted.setdefault(BETWEEN_MEMBERS, YEARS_APART)
    require_same(config.raw, noted, now)
    return replace(note, identity=now)


def _write_note(config: GenerateConfig, note: _Note) -> None:
    progress = {"first_steps": note.first_steps, "days_done": note.days_done, "dt": note.dt}
    made_by = provenance({**note.identity, "days": note.days_done}, note.inputs)
    path = config.raw / GENERATE_FOLDER / _RECORD
    write_json(path, {"identity": note.identity, **progress, **made_by})
