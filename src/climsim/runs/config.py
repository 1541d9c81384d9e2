"""The configuration of an online run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from climsim.devices import AUTO, check_device
from climsim.errors import ClimSimError
from climsim.names import check_name
from climsim.plugins import absolute_reference
from climsim.runs.coupling import CouplerOptions
from climsim.runs.streams import STREAMS
from climsim.validation import Checks

RESTART_DAYS = 1.0
"""Simulated days between restart points of a host that is stepped from here, unless given."""


@dataclass(frozen=True)
class RunConfig:
    """One online run.

    Attributes:
        case: name of the run, the first part of its files' names.
        folder: of the run.
        days: simulated days.
        host: name of the host, a module of `climsim.hosts`, or
            ``path/to/file.py:build_host``.
        host_options: settings of the host, by key.
        model: exported model; None runs the host's own physics.
        device: where the model runs: ``cpu``, ``gpu``, or ``auto`` for a GPU where there is one.
        threads: of the model on a CPU; 0 takes OMP_NUM_THREADS, or every core.
        start: restart file of the host to start from; None takes the host's own start state.
        perturbation_seed: seed of noise added to the start temperature; None adds none.
        perturbation_amplitude: standard deviation of that noise [K].
        streams: history streams to write.
        hourly_fields: fields of the hourly stream; empty takes its default.
        restart_days: simulated days between restart points; None takes the host's own: 1, on E3SM
            30.
        kept_restart_days: simulated days between restart files of the host that stay in the folder
            ``starts`` of the run, that of its start included, for other runs to start from; 0
            keeps none.
        health_steps: steps between two looks at the bounds of the state; 0 looks at every step of
            a host on a CPU and at every 12th of one on a GPU, which must not wait for them.
        coupler: rules of the coupling.
    """

    case: str
    folder: Path
    days: float
    host: str = "gcm"
    host_options: dict[str, object] = field(default_factory=dict)
    model: Path | None = None
    device: str = AUTO
    threads: int = 0
    start: Path | None = None
    perturbation_seed: int | None = None
    perturbation_amplitude: float = 1.0e-2
    streams: tuple[str, ...] = tuple(STREAMS)
    hourly_fields: tuple[str, ...] = ()
    restart_days: float | None = None
    kept_restart_days: int = 0
    health_steps: int = 0
    coupler: CouplerOptions = field(default_factory=CouplerOptions)

    def __post_init__(self) -> None:
        for name in ("folder", "model", "start"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        object.__setattr__(self, "host", absolute_reference(self.host))
        object.__setattr__(self, "streams", tuple(self.streams))
        object.__setattr__(self, "hourly_fields", tuple(self.hourly_fields))
        check_name(self.case, "case")
        check = Checks(self)
        check.positive("days", "restart_days")
        check_device("device", self.device)
        check.whole("threads", "kept_restart_days", "health_steps")
        check.each_of(STREAMS, "streams")
        if self.hourly_fields and "h2" not in self.streams:
            raise ClimSimError(
                f"hourly_fields: expected h2 among the streams, found {', '.join(self.streams)}: "
                "add h2 or leave the fields out"
            )
        check.at_least(0, "perturbation_amplitude", unit="K")
        if self.perturbation_seed is not None:
            check.whole("perturbation_seed")

    def resolved(self) -> dict[str, object]:
        """Plain values, as the record keeps them."""
        values = asdict(self)
        for name in ("folder", "model", "start"):
            values[name] = None if values[name] is None else str(values[name])
        return {
            **values,
            "coupler": self.coupler.to_dict(),
            "streams": list(self.streams),
            "hourly_fields": list(self.hourly_fields),
        }
