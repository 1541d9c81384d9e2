"""Configuration of the embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

import cftime

from climsim.devices import AUTO, check_device
from climsim.hosts.gcm import dynamics
from climsim.hosts.gcm.compilation import cache_root
from climsim.hosts.gcm.diffusion import default_hours
from climsim.hosts.gcm.grid import RESOLUTIONS
from climsim.hosts.gcm.physics import RADIATION_SCHEMES, REDUCED, PhysicsOptions
from climsim.hosts.gcm.restart import read_restart
from climsim.hosts.gcm.tuning import TUNING, scheme_parameters
from climsim.hosts.settings import GROUP
from climsim.processes import CLOUDS, CONVECTION, RADIATION, TURBULENCE
from climsim.validation import Checks

GCM: Final = "gcm"
"""Name of the host."""
SHIPPED, ANALYTIC = "shipped", "jw"
ANALYTIC_DATE: Final = cftime.DatetimeNoLeap(1, 4, 1)
"""Date of the analytic start."""
LONGWAVE_POINTS: Final = 20
SHORTWAVE_POINTS: Final = 20
"""Spectral points of the reduced radiation."""


@dataclass(frozen=True)
class GcmConfig:
    """Configuration of the embedded model.

    Attributes:
        resolution: `"T10"` (512 columns), `"T21"` (2048) or `"T31"` (4608).
        radiation: `"reduced"` (RRTMGP on a few spectral points), `"rrtmgp"` or `"grey"`
            (idealized).
        radiation_interval: seconds between two calls of the radiation; 0 for every step.
        tuning: parameters of jcm's schemes and of the gusts in place of the shipped ones, by
            `scheme.field`.
        diffusion_hours: damping time of vorticity at the truncation [h]; None for 360 h over its
            wavenumber: 36 h at T10.
        advection: `"eulerian"` or `"semi_lagrangian"`.
        retain_turbulence: leave turbulence to the host's own physics; with false the emulated term
            holds it too.
        split_condensate: split condensate into liquid and ice by temperature at the end of the
            emulated term, with the heat of fusion, as E3SM-MMF does.
        start: `"shipped"` (spun up at T10, refined for the others), `"jw"` (analytic) or the path
            of a restart file of this or a coarser resolution.
        device: where it runs: `"cpu"`, `"gpu"`, or `"auto"` for a GPU where JAX has one.
        cache_folder: compiled programs (`jax`), the carry that they start with, and regridded
            boundary data.
    """

    resolution: str = "T10"
    radiation: str = REDUCED
    radiation_interval: float = 3600.0
    tuning: dict[str, float] = field(default_factory=dict)
    diffusion_hours: float | None = None
    advection: str = dynamics.EULERIAN
    retain_turbulence: bool = True
    split_condensate: bool = True
    start: str = SHIPPED
    device: str = AUTO
    cache_folder: Path = field(default_factory=cache_root)

    def __post_init__(self) -> None:
        check = Checks(self, GROUP)
        check.one_of(RESOLUTIONS, "resolution")
        check.one_of(RADIATION_SCHEMES, "radiation")
        check.one_of(dynamics.ADVECTION_SCHEMES, "advection")
        check_device(f"{GROUP}.device", self.device)
        check.at_least(0, "radiation_interval", unit="s")
        check.positive("diffusion_hours")
        scheme_parameters(self.tuning)
        object.__setattr__(self, "cache_folder", Path(self.cache_folder).expanduser())

    def physics_options(self) -> PhysicsOptions:
        """What the physics is made of."""
        return PhysicsOptions(
            radiation=self.radiation,
            radiation_interval=self.radiation_interval,
            retain_turbulence=self.retain_turbulence,
            split_condensate=self.split_condensate,
            tuning=self.tuning,
        )

    def made_of(self) -> dict[str, object]:
        """What the arrays of the model depend on, whatever their values."""
        grid = {"resolution": self.resolution, "advection": self.advection}
        return grid | asdict(self.physics_options())

    @property
    def emulated_processes(self) -> frozenset[str]:
        """What the emulated term holds, by the names of `climsim.processes`."""
        always = frozenset((RADIATION, CONVECTION, CLOUDS))
        return always if self.retain_turbulence else always | {TURBULENCE}

    @property
    def damping_hours(self) -> float:
        """Damping time of vorticity at the truncation [h]."""
        given = self.diffusion_hours
        return default_hours(self.resolution) if given is None else given

    @contextmanager
    def start_file(self) -> Iterator[Path | None]:
        """The restart file that the model begins at, the shipped one on the coarsest grid.

        Yields:
            Its path; None for the analytic start.
        """
        if self.start == ANALYTIC:
            yield None
        elif self.start == SHIPPED:
            shipped = resources.files(__package__) / "assets" / "start_T10.npz"
            with resources.as_file(shipped) as path:
                yield path
        else:
            yield Path(self.start).expanduser()

    def start_date(self, restart: Path | None = None) -> cftime.DatetimeNoLeap:
        """Date of a start.

        Args:
            restart: restart file; None for the start that `start` chooses.

        Raises:
            ClimSimError: if the file cannot be read.
        """
        if restart is not None:
            return read_restart(restart, header_only=True).date
        with self.start_file() as path:
            return ANALYTIC_DATE if path is None else self.start_date(path)

    def identity(self) -> dict[str, str]:
        """What a restart file has to agree with."""
        tuned = {**TUNING, **self.tuning}
        return {
            "resolution": self.resolution,
            "advection": self.advection,
            "radiation": self.radiation,
            "tuning": ", ".join(f"{key}={value:g}" for key, value in sorted(tuned.items())),
            "diffusion_hours": f"{self.damping_hours:g}",
        }


@dataclass(frozen=True)
class SpinupConfig:
    """What is spun up for how long.

    Attributes:
        out: the restart file; ``<out>.checkpoint`` holds the state reached so far.
        days: simulated days.
        host: name of the host; only the embedded model is spun up.
        host_options: settings of the host, by key.
        checkpoint_days: simulated days between states that a killed run continues from.
    """

    out: Path
    days: int = 275
    host: str = GCM
    host_options: dict[str, object] = field(default_factory=lambda: {"start": ANALYTIC})
    checkpoint_days: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        check = Checks(self)
        check.one_of((GCM,), "host")
        check.whole("days", "checkpoint_days", least=1)


@dataclass(frozen=True)
class FitConfig:
    """What the points are fitted on.

    Attributes:
        out: file of the points.
        days: simulated days that columns are taken from; the last third tests.
        columns: columns that the fit uses, and as many for the test.
        longwave: spectral points of the longwave.
        shortwave: of the shortwave.
        draws: random draws of clouds among which the best is kept.
        host: name of the host; only the embedded model has this radiation.
        host_options: settings of the host, by key.
    """

    out: Path
    days: int = 30
    columns: int = 128
    longwave: int = LONGWAVE_POINTS
    shortwave: int = SHORTWAVE_POINTS
    draws: int = 6
    host: str = GCM
    host_options: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        check = Checks(self)
        check.one_of((GCM,), "host")
        check.whole("days", "columns", "longwave", "shortwave", "draws", least=1)
