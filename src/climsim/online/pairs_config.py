"""Which step pairs a host writes: generated with its own physics, or collected from a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from climsim.cards import flatten
from climsim.constants import DAYS_PER_YEAR, SECONDS_PER_DAY
from climsim.devices import AUTO, check_device
from climsim.errors import ClimSimError
from climsim.files import file_hash
from climsim.hosts.settings import as_texts
from climsim.online.perturbed import LATER_KEYS, Amplitudes
from climsim.plugins import absolute_reference
from climsim.runs.coupling import CouplerOptions
from climsim.stepping import steps_asked, steps_of
from climsim.validation import Checks, require

LAST_YEAR = 9999
"""In the names of step files, whose years have four digits."""
NOISY_YEARS = 9000
"""By how much the dates of pairs beside those of a run are later."""
YEARS_APART = 2
"""Least between the dates of two members or segments: one may run over the end of its year."""
BETWEEN_MEMBERS = "years between members"
"""What a record calls their distance; those of an earlier version have `YEARS_APART`."""
_PAUSE = 1
"""Least time between the last date of a member and the first of the next [days]."""
_NONE_NOTED: Mapping[str, str] = MappingProxyType({})
GENERATE_FOLDER = ".generate"
"""Of what generation resumes from, in the folder of the step pairs."""


def generated_ends(raw: Path, members: int = 1) -> tuple[Path, ...]:
    """Restart files at the end of the generated days, one for each member.

    Args:
        raw: folder of the step pairs.
        members: number of runs that wrote them.
    """
    work = raw / GENERATE_FOLDER
    others = (work / f"restart-{number:02d}.npz" for number in range(2, members + 1))
    return (work / "restart.npz", *others)


def require_same(raw: Path, noted: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Refuse a folder that holds other step pairs.

    Args:
        raw: folder of the step pairs.
        noted: what had to stay the same, as its record says.
        now: the same of the configuration.

    Raises:
        ClimSimError: naming the first key that differs.
    """
    # An earlier version noted the path of a host as it was typed.
    host = absolute_reference(str(noted.get("host")))
    before, after = (
        {key: value for key, value in flatten(identity).items() if value != {}}
        for identity in ({**noted, "host": host}, json.loads(json.dumps(now)))
    )
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            raise ClimSimError(
                f"{raw}: holds other step pairs: {key} was {before.get(key)!r}, now "
                f"{after.get(key)!r}: choose another folder, or give it as it was"
            )


def damaged_record(path: Path, error: Exception) -> ClimSimError:
    """The error about a record that cannot be read, to be raised."""
    return ClimSimError(
        f"{path}: expected the record of the step pairs, found a damaged one "
        f"({type(error).__name__}: {error}): restore it from a copy, or choose another folder"
    )


@dataclass(frozen=True)
class GenerateConfig:
    """Which host makes how many days of step pairs.

    Attributes:
        raw: folder of the step pairs.
        days: simulated days, of each member.
        host: name of the host, a module of `climsim.hosts`, or
            ``path/to/file.py:build_host``.
        host_options: settings of the host, by key.
        start: restart file of the host to start from; None takes the host's own start state.
        members: runs side by side, on a GPU in one program. Of several, each writes a folder
            ``member-NN`` below `raw`, under dates in years of its own: two apart, or more where
            `days` take more.
        starts: restart files of the host in place of `start`, taken in turn by the members.
        start_amplitude: standard deviation of the noise on the temperature of the start of every
            member but the first [K].
        spinup_days: simulated days at the start of which nothing is written.
        stride: after that, write every n-th step.
        seasons: dates, spread evenly over the year from that of the start, that the members begin
            at in turn. Their states take days to follow: see `spinup_days`.
        restart_days: simulated days between two times that restart files are written.
        noise: standard deviations of noise on the temperature, of which each pair takes one at
            random [K]: its physics sees it, the run does not. Empty adds none.
        humidity_noise: the same on the specific humidity, as a share of it.
        wind_noise: the same on both winds [m/s].
        cloud_noise: standard deviations of the logarithm of a factor on liquid and ice, likewise.
        noise_stride: leave the pairs of the run as they are, and add one with noise at every n-th
            step, in a folder ``noisy`` and in years from 9001 on, which belong to training alone
            (``split.training_only=1001-01/9999-12``). 0 puts the noise on the pairs themselves.
        seed: of all noise.
    """

    raw: Path
    days: float
    host: str = "gcm"
    host_options: dict[str, object] = field(default_factory=dict)
    start: Path | None = None
    members: int = 1
    starts: tuple[Path, ...] = ()
    start_amplitude: float = 1.0e-2
    spinup_days: float = 0.0
    stride: int = 1
    restart_days: float = 1.0
    noise: tuple[float, ...] = ()
    humidity_noise: tuple[float, ...] = ()
    wind_noise: tuple[float, ...] = ()
    cloud_noise: tuple[float, ...] = ()
    noise_stride: int = 0
    seasons: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", Path(self.raw))
        object.__setattr__(self, "host", absolute_reference(self.host))
        object.__setattr__(self, "starts", tuple(Path(start) for start in self.starts))
        if self.start is not None:
            object.__setattr__(self, "start", Path(self.start))
            if self.starts:
                raise ClimSimError("starts: given together with start: keep one of the two")
        check = Checks(self)
        check.positive("days", "restart_days")
        check.at_least(0.0, "start_amplitude", unit="K")
        check.at_least(0.0, "spinup_days", unit="days")
        check.whole("seed", "noise_stride")
        check.whole("members", "stride", "seasons", least=1)
        most = self.seasons <= self.members
        require(
            "seasons", self.seasons, most, f"at most members={self.members}: each begins with one"
        )
        enough = len(self.starts) <= self.members
        require("starts", f"{len(self.starts)} files", enough, f"at most members={self.members}")
        written = self.spinup_days < self.days
        require("spinup_days", self.spinup_days, written, f"less than days={self.days:g}")
        Amplitudes.settle(self)
        if self.noise_stride and not self.amplitudes:
            raise ClimSimError(
                f"noise_stride={self.noise_stride}: expected noise to add pairs with, found none: "
                "give noise, humidity_noise, wind_noise or cloud_noise"
            )

    @property
    def amplitudes(self) -> Amplitudes:
        """Of the noise that the labels see."""
        return Amplitudes.of(self)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Of the pairs of each member."""
        if self.members == 1:
            return (self.raw,)
        return tuple(self.raw / f"member-{number:02d}" for number in range(1, self.members + 1))

    @property
    def restarts(self) -> tuple[Path, ...]:
        """Restart file of each member."""
        return generated_ends(self.raw, self.members)

    @property
    def start_files(self) -> tuple[Path, ...]:
        """Restart files that the members start from, in turn; empty for the host's own start."""
        return self.starts if self.start is None else (self.start,)

    def days_to_season(self, index: int) -> int:
        """Days from the date of the start to the season that a member begins in."""
        return round(DAYS_PER_YEAR * (index % self.seasons) / self.seasons)

    @property
    def years_apart(self) -> int:
        """Between the beginnings of two members."""
        seasons = [*map(self.days_to_season, range(self.seasons)), DAYS_PER_YEAR]
        # A member may begin earlier in its year than the one before it, by the rest of the year.
        between = 1 if len(self.starts) > 1 else int(np.diff(seasons).min())
        days = DAYS_PER_YEAR - between + self.days + _PAUSE
        return max(YEARS_APART, math.ceil(days / DAYS_PER_YEAR))

    def years_later(self, begun: Sequence[int]) -> list[int]:
        """Years by which the dates of each member are moved: no two members share any.

        Args:
            begun: years in which they begin.
        """
        return [begun[0] + self.years_apart * index - year for index, year in enumerate(begun)]

    def times(self, dt: float, starts: Sequence[int] = (0,)) -> NDArray[np.int64]:
        """Time stamps of the pairs, in order.

        Args:
            dt: time step of the host [s].
            starts: time stamps of the starts, which the members take in turn; those of the
                beginning of 0001-01-01 stand for dates that are not known.
        """
        end, first_kept = steps_asked(self.days, dt), steps_of(self.spinup_days, dt)
        kept, noisy = (
            dt * np.arange(first_kept, end, stride)
            for stride in (self.stride, self.noise_stride or 1)
        )
        year = DAYS_PER_YEAR * SECONDS_PER_DAY
        begun = [
            starts[index % len(starts)] + SECONDS_PER_DAY * self.days_to_season(index)
            for index in range(self.members)
        ]
        later = self.years_later([begin // year for begin in begun])
        firsts = [begin + year * years for begin, years in zip(begun, later, strict=True)]
        parts = [first + kept for first in firsts]
        if self.noise_stride:
            parts += [first + year * NOISY_YEARS + noisy for first in firsts]
        return np.sort(np.concatenate(parts)).astype(np.int64)

    def identity(self, noted: Mapping[str, str] = _NONE_NOTED) -> dict[str, object]:
        """What has to stay the same for a run to continue.

        Args:
            noted: hashes of files that a record holds, for start files that are gone since.
        """
        contents = [
            file_hash(path) if path.exists() else noted.get(str(path), str(path))
            for path in self.start_files
        ]
        start = None if self.start is None else contents[0]
        options = as_texts(self.host_options)
        known: dict[str, object] = {"host": self.host, "host_options": options, "start": start}
        # Records of an earlier version have no more than these and the noise.
        if self.amplitudes:
            known["noise"] = f"{self.amplitudes}, seed {self.seed}"
        if self.members > 1:
            starts = f"noise of {self.start_amplitude:g} K, seed {self.seed}"
            known |= {"members": self.members, "members' starts": starts}
            known[BETWEEN_MEMBERS] = self.years_apart
        if self.starts:
            known["starts"] = contents
        if self.spinup_days or self.stride > 1:
            known["kept"] = f"every step {self.stride} after {self.spinup_days:g} days"
        if self.seasons > 1:
            known["seasons"] = self.seasons
        if self.noise_stride:
            known["noise_stride"] = self.noise_stride
        return known


@dataclass(frozen=True)
class CollectConfig:
    """Which model drives which host from where, and which of the states are kept.

    Attributes:
        raw: folder of the step pairs.
        segments: number of segments.
        days: simulated days of a segment, the first steps with the host's own physics included.
        model: exported model that drives; None lets the host's own physics drive.
        starts: restart files of the host, taken in turn; empty takes the host's own start state.
        start_amplitude: standard deviation of the noise on the temperature of a start, another one
            in every segment [K].
        stride: keep every n-th step.
        physics_share: share of the steps that the host's own physics drives, chosen at random.
        noise: standard deviations of noise on the temperature of the kept states, of which each
            takes one at random [K]; the run itself does not see it. Empty adds none.
        humidity_noise: the same on their specific humidity, as a share of it.
        wind_noise: the same on both winds [m/s].
        cloud_noise: standard deviations of the logarithm of a factor on liquid and ice, likewise.
        first_year: year in the dates of the first segment; the next has the second year after,
            and so on, as a record holds every date once. Day and hour are those of the host.
        seed: of all that is random.
        host: name of the host, a module of `climsim.hosts`, or
            ``path/to/file.py:build_host``.
        host_options: settings of the host, by key.
        device: where the model runs: ``cpu``, ``gpu``, or ``auto`` for a GPU where there is one.
        threads: of the model on a CPU; 0 takes OMP_NUM_THREADS, or every core.
        coupler: rules of the coupling.
    """

    raw: Path
    segments: int
    days: float = 5.0
    model: Path | None = None
    starts: tuple[Path, ...] = ()
    start_amplitude: float = 1.0e-2
    stride: int = 1
    physics_share: float = 0.0
    noise: tuple[float, ...] = ()
    humidity_noise: tuple[float, ...] = ()
    wind_noise: tuple[float, ...] = ()
    cloud_noise: tuple[float, ...] = ()
    first_year: int = 1001
    seed: int = 0
    host: str = "gcm"
    host_options: dict[str, object] = field(default_factory=dict)
    device: str = AUTO
    threads: int = 0
    coupler: CouplerOptions = field(default_factory=CouplerOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", Path(self.raw))
        object.__setattr__(self, "host", absolute_reference(self.host))
        object.__setattr__(self, "model", None if self.model is None else Path(self.model))
        object.__setattr__(self, "starts", tuple(Path(start) for start in self.starts))
        Amplitudes.settle(self)
        check = Checks(self)
        check.whole("segments", "stride", "first_year", least=1)
        check.positive("days")
        check.between(0.0, 1.0, "physics_share")
        check.at_least(0.0, "start_amplitude", unit="K")
        check_device("device", self.device)
        check.whole("threads", "seed")
        require("days", self.days, self.days <= DAYS_PER_YEAR, "at most a year")
        last = self.first_year + YEARS_APART * self.segments - 1
        require(
            "first_year",
            self.first_year,
            last <= LAST_YEAR,
            f"years up to {LAST_YEAR} for {self.segments} segments",
        )

    @property
    def amplitudes(self) -> Amplitudes:
        """Of the noise that the labels see."""
        return Amplitudes.of(self)

    def identity(self) -> dict[str, object]:
        """What has to stay the same for a record to grow."""
        values = asdict(self)
        for name in ("raw", "segments", "device", "threads"):
            del values[name]
        values["model"] = None if self.model is None else file_hash(self.model)
        values["starts"] = [file_hash(path) for path in self.starts]
        values["noise"] = list(self.noise)
        for name in LATER_KEYS:
            # Records of an earlier version do not have them.
            values[name] = list(getattr(self, name))
            if not values[name]:
                del values[name]
        values["host_options"] = as_texts(self.host_options)
        values["coupler"] = self.coupler.to_dict()
        return values
