"""Raw step pairs from a host that runs with its own physics.

The files have the layout of E3SM-MMF's. A run that was killed continues from the restart file of
its last whole day, one that was interrupted from its last step; both write the pairs that an
undisturbed run would have written.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from climsim.arrays import Fields
from climsim.constants import SECONDS_PER_DAY
from climsim.data.raw.steps import GRID_FILE, write_grid_info, write_step_pair
from climsim.errors import ClimSimError
from climsim.files import atomic_path, file_hash, provenance, read_json, write_json
from climsim.hosts import build_host
from climsim.hosts.base import HostSteps, SteppedHost, StepResult
from climsim.hosts.settings import as_texts
from climsim.online.perturbed import Amplitudes
from climsim.products import Kind, claim, noted
from climsim.stepping import Progress, advance
from climsim.validation import Checks
from climsim.variables import PROGNOSTIC

__all__ = ["GenerateConfig", "generate"]
_log = logging.getLogger(__name__)
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
        noise: standard deviations of noise on the temperature, of which each pair takes one at
            random [K]: its physics sees it, the run does not. Empty adds none.
        humidity_noise: the same on the specific humidity, as a share of it.
        wind_noise: the same on both winds [m/s].
        seed: of the noise.
    """

    raw: Path
    days: float
    host: str = "gcm"
    host_options: dict[str, object] = field(default_factory=dict)
    start: Path | None = None
    noise: tuple[float, ...] = ()
    humidity_noise: tuple[float, ...] = ()
    wind_noise: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", Path(self.raw))
        if self.start is not None:
            object.__setattr__(self, "start", Path(self.start))
        check = Checks(self)
        check.positive("days")
        check.whole("seed")
        amplitudes = self.amplitudes
        object.__setattr__(self, "noise", amplitudes.temperature)
        object.__setattr__(self, "humidity_noise", amplitudes.humidity)
        object.__setattr__(self, "wind_noise", amplitudes.wind)

    @property
    def amplitudes(self) -> Amplitudes:
        """Of the noise that the labels see."""
        return Amplitudes(self.noise, self.humidity_noise, self.wind_noise)

    def identity(self) -> dict[str, object]:
        """What has to stay the same for a run to continue."""
        start = None if self.start is None else str(self.start)
        options = as_texts(self.host_options)
        known: dict[str, object] = {"host": self.host, "host_options": options, "start": start}
        amplitudes = self.amplitudes
        return {**known, "noise": f"{amplitudes}, seed {self.seed}"} if amplitudes else known


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
    claim(config.raw, GENERATED, {"start": config.start}, key="raw")
    work = config.raw / _WORK_FOLDER
    note = _read_note(config, work / _RECORD)
    if note is not None and note.days_done >= config.days:
        _log.info("%s: nothing to do: %g days are there", config.raw, note.days_done)
        return config.raw
    host = build_host(config.host, config.host_options) if host is None else host
    generation = _Generation(host, _start(config, host, work, note), config)
    total, per_day = (round(days * SECONDS_PER_DAY / host.dt) for days in (config.days, 1))
    write_grid_info(config.raw / GRID_FILE, host.grid, host.source)
    advance(generation, total, per_day, progress)
    return config.raw


@dataclass(frozen=True)
class _Generation(HostSteps[SteppedHost]):
    """A host whose steps are written as pairs.

    Attributes:
        config: of the run.
    """

    config: GenerateConfig

    def step(self) -> bool:
        """Write one pair."""
        host = self.host
        _require_health(host)
        label, amplitudes = None, self.config.amplitudes
        if amplitudes:
            generator = np.random.default_rng((self.config.seed, self.steps_done))
            with TemporaryDirectory(prefix="climsim-") as folder:
                label = amplitudes.physics(host, generator, Path(folder))
        result = host.step_physics()
        label = result if label is None else label
        write_step_pair(
            self.config.raw,
            label.date,
            label.inputs,
            after_physics(label, host.dt),
            host.grid,
            source=f"{host.source}; {amplitudes}" if amplitudes else host.source,
            time_step=host.dt,
        )
        return True

    def save(self) -> None:
        """Write the restart file and how far the run is."""
        work = self.config.raw / _WORK_FOLDER
        with atomic_path(work / _RESTART) as temporary:
            self.host.save(temporary)
        days = self.steps_done * self.host.dt / SECONDS_PER_DAY
        _write_note(self.config, _Note(self.first_step, days))


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


@dataclass(frozen=True)
class _Note:
    """How far a run is, as its record says.

    Attributes:
        first_step: number of the host's first step.
        days_done: simulated days whose pairs are there.
    """

    first_step: int
    days_done: float


def _start(config: GenerateConfig, host: SteppedHost, work: Path, note: _Note | None) -> int:
    """Bring the host to the start or to where it was saved last; return its first step number."""
    if note is not None and note.days_done:
        host.restore(work / _RESTART)
        _log.info("%s: continuing after %g days", config.raw, note.days_done)
        return note.first_step
    if config.start is not None:
        host.restore(config.start)
    # Before the first file: the folder says what it is from the beginning.
    _write_note(config, _Note(host.step_number, 0.0))
    return host.step_number


def _read_note(config: GenerateConfig, path: Path) -> _Note | None:
    if not path.exists():
        return None
    values = read_json(path)
    if values.get("identity") != config.identity():
        raise ClimSimError(
            f"{config.raw}: holds step pairs of {values.get('identity')}, expected "
            f"{config.identity()}: choose another folder or delete this one"
        )
    return _Note(int(values["first_step"]), float(values["days_done"]))


def _write_note(config: GenerateConfig, note: _Note) -> None:
    start = config.start
    inputs = {} if start is None or not start.is_file() else {str(start): file_hash(start)}
    made_by = provenance({**config.identity(), "days": note.days_done}, inputs)
    path = config.raw / _WORK_FOLDER / _RECORD
    write_json(path, {"identity": config.identity(), **asdict(note), **made_by})


def _require_health(host: SteppedHost) -> None:
    report = host.health()
    if report is not None:
        raise ClimSimError(f"{host.name}: unstable at {host.date}: {report}")
