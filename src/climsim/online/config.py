"""How many runs an ensemble has, and which states are collected."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from pathlib import Path

from climsim.constants import DAYS_PER_YEAR
from climsim.devices import AUTO, check_device
from climsim.errors import ClimSimError
from climsim.files import file_hash, require_apart
from climsim.hosts.settings import as_texts
from climsim.names import as_name
from climsim.online.perturbed import LATER_KEYS, Amplitudes
from climsim.runs.config import RunConfig
from climsim.runs.coupling import CouplerOptions
from climsim.validation import Checks, require

_LAST_YEAR = 9999
_MANY = {"models": "model", "starts": "start", "seeds": "perturbation_seed"}
"""Keys in which members of an ensemble differ, in the order of their names, and those of a run."""
YEARS_APART = 2
"""Between the dates of two segments: one may run over the end of its year."""


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


@dataclass(frozen=True)
class EnsembleConfig(RunConfig):
    """What the members share, as in a single run, and how they differ.

    Attributes:
        models: exported models; empty means the one of ``model``, or the host's own physics.
        seeds: perturbation seeds of the start; empty means the one of ``perturbation_seed``.
        starts: restart files of the host, from each of which every model runs, such as those that
            a run keeps (``kept_restart_days``); empty means the one of ``start``.
        parallel: members that run at a time, each in a process of its own; 0 means one on each
            core.
        together: members that step in one program, their columns side by side: on a GPU dozens
            cost little more than one. 1 means none.
    """

    models: tuple[Path, ...] = ()
    seeds: tuple[int, ...] = ()
    starts: tuple[Path, ...] = ()
    parallel: int = 0
    together: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "models", tuple(Path(m) for m in self.models))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        object.__setattr__(self, "starts", tuple(Path(s) for s in self.starts))
        for many, one in _MANY.items():
            if getattr(self, many) and getattr(self, one) is not None:
                raise ClimSimError(f"{many}: given together with {one}: keep one of the two")
        for many in ("models", "starts"):
            require_apart({many: getattr(self, many)})
        check = Checks(self)
        check.whole("parallel")
        check.whole("together", least=1)
        if self.starts and self.together > 1:
            raise ClimSimError(
                f"together: expected 1 with starts, as members of one program have one date, found "
                f"{self.together}: leave it out"
            )

    def members(self) -> list[RunConfig]:
        """The runs: each named by case, model, start and seed, in a folder of that name.

        Raises:
            ClimSimError: if two of them have one name.
        """
        shared = RunConfig(**{key.name: getattr(self, key.name) for key in fields(RunConfig)})
        members = []
        for values in product(*(getattr(self, many) or (None,) for many in _MANY)):
            given = {k: v for k, v in zip(_MANY.values(), values, strict=True) if v is not None}
            words = (as_name(v.stem) if isinstance(v, Path) else str(v) for v in given.values())
            name = "-".join((self.case, *words))
            members.append(replace(shared, case=name, folder=self.folder / name, **given))
        for name, count in Counter(member.case for member in members).items():
            if count > 1:
                raise ClimSimError(
                    f"{', '.join(_MANY)}: expected members of different names, found {count} of "
                    f"name {name}: give the files or seeds once, or rename a file"
                )
        return members


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
            last <= _LAST_YEAR,
            f"years up to {_LAST_YEAR} for {self.segments} segments",
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
