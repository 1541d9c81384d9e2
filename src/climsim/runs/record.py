"""What a run says about itself: what it is, how far it is, its speed, its sums and its health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dacite

from climsim.cards import TrainingCard
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.files import read_json, write_json
from climsim.products import Kind, noted
from climsim.runs.health import Instability, RunHealth
from climsim.runs.status import RunStatus
from climsim.runs.sums import StepSums
from climsim.runs.timing import Timing
from climsim.stepping import steps_of

RECORD_NAME = "record.json"
CASE_NOTE = "case.json"
"""What a host that runs in batch notes of its case."""
RUN = Kind(
    "the folder of an online run",
    lambda path: noted(path / RECORD_NAME, "case", "status") or noted(path / CASE_NOTE, "case"),
    is_folder=True,
)


def _number(value: object) -> object:
    # JSON has no number for what is not finite; the record spells it as text.
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole or value in ("nan", "inf", "-inf") else value  # type: ignore[arg-type]


_PLAIN = dacite.Config(cast=[tuple], type_hooks={float: _number, RunStatus: RunStatus})


@dataclass
class RunAbout:
    """What is run.

    Attributes:
        config: resolved configuration.
        made_by: provenance attributes.
        host: name of the host.
        physics: name of the host's own physics, such as ``MMF``; empty where it has none.
        model: path of the exported model, None for the host's own physics.
        training: what that file said of its training when the run started, None where none ran.
        start: date of the first step.
        dt: time step [s].
        cells: (columns x levels), what the counts of one step are out of.
        days_wanted: simulated days asked for.
        together: number of members stepped in one program; the wall time is that of all.
    """

    config: Mapping[str, object] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)
    host: str = ""
    physics: str = ""
    model: str | None = None
    training: TrainingCard | None = None
    start: str = ""
    dt: float = 0.0
    cells: int = 0
    days_wanted: float = 0.0
    together: int = 1


@dataclass
class RunRecord:
    """The record of one run, kept up to date while it runs.

    On disk the parts `about`, `sums` and `health` are not nested: every key stands at the top.

    Attributes:
        case: name of the run.
        status: how far the run is.
        message: status in words, such as ``unstable after 3.2 days``.
        date: date that the run has reached.
        steps: steps done.
        about: what is run.
        timing: wall time and its parts.
        sums: over the steps.
        health: how the run fares.
        files: what else the run wrote, by role.
    """

    case: str
    status: RunStatus = RunStatus.RUNNING
    message: str = ""
    date: str = ""
    steps: int = 0
    about: RunAbout = field(default_factory=RunAbout)
    timing: Timing = field(default_factory=Timing)
    sums: StepSums = field(default_factory=StepSums)
    health: RunHealth = field(default_factory=RunHealth)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def days(self) -> float:
        """Simulated days done."""
        return self.steps * self.about.dt / SECONDS_PER_DAY

    def __str__(self) -> str:
        speed = "" if self.sypd is None else f", {self.sypd:.1f} simulated years per day"
        return f"{self.case}: {self.message or self.status}{speed}"

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to run."""
        wanted = steps_of(self.about.days_wanted, self.about.dt)
        return self.status == RunStatus.UNSTABLE or (
            self.status == RunStatus.COMPLETE and self.steps >= wanted
        )

    @property
    def sypd(self) -> float | None:
        """Simulated years per day."""
        return self.timing.years_per_day(self.about.dt)

    def to_dict(self) -> dict[str, object]:
        """Everything, with what follows from it, for the file."""
        return {
            "case": self.case,
            "status": self.status,
            "message": self.message,
            "steps": self.steps,
            "days": self.days,
            "sypd": self.sypd,
            "date": self.date,
            **asdict(self.about),
            **self.health.to_dict(),
            "files": self.files,
            "drift": self.health.drift(),
            **self.sums.to_dict(),
            "timing": asdict(self.timing) | {"total": self.timing.total()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> RunRecord:
        """Rebuild what `to_dict` gave.

        Raises:
            KeyError: if it is something else.
            TypeError: likewise.
            dacite.DaciteError: likewise.
        """
        flat = {**values, "budgets": {"sums": values["budget_sums"]}}
        parts = {"about": flat, "sums": flat, "health": flat}
        return dacite.from_dict(cls, {**flat, **parts}, _PLAIN)

    def save(self, folder: Path) -> None:
        """Write ``record.json`` atomically."""
        write_json(folder / RECORD_NAME, self.to_dict())

    @classmethod
    def open(cls, folder: Path) -> RunRecord:
        """Read ``record.json``.

        Raises:
            ClimSimError: if it is missing or no record.
        """
        path = folder / RECORD_NAME
        values = read_json(path)
        try:
            return cls.from_dict(values)
        except (KeyError, TypeError, AttributeError, dacite.DaciteError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise ClimSimError(
                f"{path}: expected the record of a run, found something else ({reason}): "
                "choose another folder or delete it"
            ) from error

    def end_unstable(self, instability: Instability) -> None:
        """Note that a bound was violated."""
        self.status = RunStatus.UNSTABLE
        self.message = f"unstable after {self.days:.2f} days"
        self.health.instability = instability
