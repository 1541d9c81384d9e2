"""What a run says about itself: progress, speed, corrections, budgets, drift and its ending."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import dacite
import numpy as np

from climsim.arrays import Fields
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.files import read_json, write_json
from climsim.products import Kind, noted
from climsim.runs.budgets import BudgetSums, daily_trend
from climsim.runs.health import HealthReport
from climsim.runs.status import RunStatus
from climsim.runs.timing import Timing

RECORD_NAME = "record.json"
CASE_NOTE = "case.json"
"""What a host that runs in batch notes of its case."""
RUN = Kind(
    "the folder of an online run",
    lambda path: noted(path / RECORD_NAME, "case", "status") or noted(path / CASE_NOTE, "case"),
    is_folder=True,
)
_TROUBLE = frozenset(field.name for field in fields(HealthReport))
"""What an instability at least says."""


def _number(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


_PLAIN = dacite.Config(type_hooks={float: _number, RunStatus: RunStatus})


@dataclass
class RunRecord:
    """The record of one run, kept up to date while it runs.

    Attributes:
        case: name of the run.
        status: how far the run is.
        message: status in words, such as ``unstable after 3.2 days``.
        config: resolved configuration.
        made_by: provenance attributes.
        host: name of the host.
        model: path of the exported model, None for the host's own physics.
        start: date of the first step.
        date: date that the run has reached.
        dt: time step [s].
        steps: steps done.
        coupled_steps: steps in which the network took part.
        days_wanted: simulated days asked for.
        timing: wall time and its parts.
        corrections: by rule and variable, number of values changed since the start.
        added: by variable, global mean that positivity added, summed over steps.
        cells: (columns x levels), what the counts of one step are out of.
        budgets: sums of the residuals.
        daily: global means at the end of each day.
        warnings: what looked suspicious, in words.
        instability: step, date, column, lat, lon, level, variable, value and bounds, where the
            run became unstable and its host knows them.
        losses: by kind (predicted, true) and target, sum over steps of the mean over cells, and
            the number of steps.
        files: what else the run wrote, by role.
        share_sum: global mean of the network's share in the tendencies, summed over coupled steps.
    """

    case: str
    status: RunStatus = RunStatus.RUNNING
    message: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)
    host: str = ""
    model: str | None = None
    start: str = ""
    date: str = ""
    dt: float = 0.0
    steps: int = 0
    coupled_steps: int = 0
    days_wanted: float = 0.0
    timing: Timing = field(default_factory=Timing)
    corrections: dict[str, int] = field(default_factory=dict)
    added: dict[str, float] = field(default_factory=dict)
    cells: int = 0
    budgets: BudgetSums = field(default_factory=BudgetSums)
    daily: list[dict[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    instability: dict[str, Any] | None = None
    losses: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    share_sum: float = 0.0

    @property
    def days(self) -> float:
        """Simulated days done."""
        return self.steps * self.dt / SECONDS_PER_DAY

    def __str__(self) -> str:
        speed = "" if self.sypd is None else f", {self.sypd:.1f} simulated years per day"
        return f"{self.case}: {self.message or self.status}{speed}"

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to run."""
        return self.status == RunStatus.UNSTABLE or (
            self.status == RunStatus.COMPLETE and self.days >= self.days_wanted
        )

    @property
    def sypd(self) -> float | None:
        """Simulated years per day."""
        return self.timing.years_per_day(self.dt)

    @property
    def mean_share(self) -> float | None:
        """Mean share of the network in coupled steps; None before the first."""
        return self.share_sum / self.coupled_steps if self.coupled_steps else None

    def drift(self) -> dict[str, float]:
        """Trends per day of the global means over the last 30 days at most."""
        names = ("temperature", "water", "energy", "surface_pressure")
        return {f"{n}_per_day": daily_trend(self.daily, n) for n in names}

    def add_losses(self, kind: str, by_target: Fields) -> None:
        """Add the losses of one step, in units of the training loss.

        Args:
            kind: ``predicted`` by the confidence head or ``true`` against the host's physics.
            by_target: (level, column) or (column,) by name of the target.
        """
        for name, value in by_target.items():
            total = self.losses.setdefault(kind, {}).setdefault(name, [0.0, 0.0])
            total[0] += float(np.mean(value))
            total[1] += 1.0

    def mean_losses(self) -> dict[str, dict[str, float]]:
        """Mean losses by kind and target."""
        return {
            kind: {n: total / steps for n, (total, steps) in by_target.items()}
            for kind, by_target in self.losses.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything, with what follows from it, for the file."""
        values = asdict(self)
        timing = values.pop("timing") | {"total": self.timing.total()}
        budget_sums = values.pop("budgets")["sums"]
        return {
            "case": values.pop("case"),
            "status": values.pop("status"),
            "message": values.pop("message"),
            "steps": values.pop("steps"),
            "days": self.days,
            "sypd": self.sypd,
            **values,
            "drift": self.drift(),
            "mean_losses": self.mean_losses(),
            "mean_share": self.mean_share,
            "timing": timing,
            "budgets": self.budgets.summary(),
            "budget_sums": budget_sums,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunRecord:
        """Rebuild what `to_dict` gave.

        Raises:
            KeyError: if it is something else.
            TypeError: likewise.
            dacite.DaciteError: likewise.
        """
        budgets = {"sums": values["budget_sums"]}
        record = dacite.from_dict(cls, {**values, "budgets": budgets}, _PLAIN)
        if record.instability is not None and not record.instability.keys() >= _TROUBLE:
            raise KeyError(f"instability without {', '.join(sorted(_TROUBLE))}")
        return record

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

    def end_unstable(self, trouble: HealthReport, where: dict[str, Any]) -> None:
        """Note that a bound was violated.

        Args:
            trouble: the violation.
            where: what else is known about it (step, date, lat, lon).
        """
        self.status = RunStatus.UNSTABLE
        self.message = f"unstable after {self.days:.2f} days"
        self.instability = {**where, **asdict(trouble), "bounds": list(trouble.bounds)}
        if not math.isfinite(trouble.value):
            self.instability["value"] = str(trouble.value)  # JSON has no such number
