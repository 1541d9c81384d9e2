"""What the steps of a run add to its record: corrections, losses, budgets, drift and its ending."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import timedelta

import numpy as np

from climsim.constants import SECONDS_PER_DAY, PhysicalConstants
from climsim.grid import ColumnGrid
from climsim.hosts.base import HealthReport, StepResult
from climsim.online.budget import global_means, network_budgets, step_budgets
from climsim.online.coupler import Corrections
from climsim.online.stepper import StepOutcome
from climsim.runs.health import Instability
from climsim.runs.record import RunRecord

_log = logging.getLogger(__name__)
_DRIFT_DAYS = 5
_DRIFT_LIMITS = {
    "temperature": (0.2, "K"),
    "water": (0.3, "kg m-2"),
    "energy": (2.0e6, "J m-2"),
    "surface_pressure": (20.0, "Pa"),
}
"""Largest trend per day of each global mean that is no reason to warn, and its unit."""


class Recorder:
    """Keeps the record of a run up to date.

    Args:
        record: of the run.
        grid: the host's columns.
        constants: the host's.
    """

    def __init__(self, record: RunRecord, grid: ColumnGrid, constants: PhysicalConstants) -> None:
        self.record, self.grid, self.constants = record, grid, constants

    def add(self, outcome: StepOutcome, *, with_budgets: bool) -> None:
        """Add what a step did.

        Args:
            outcome: of the step after those of the record.
            with_budgets: whether its budgets count.
        """
        record, result = self.record, outcome.result
        record.sums.add_losses("predicted", outcome.predicted_loss)
        record.sums.add_losses("true", outcome.true_loss)
        if outcome.handed is not None:
            self._add_corrections(outcome.handed.corrections)
            record.sums.coupled_steps += 1
            record.sums.share_sum += float(np.mean(self.grid.area_weights() * outcome.handed.share))
        if with_budgets:
            budgets = step_budgets(result, self.grid, self.constants)
            budgets |= network_budgets(outcome, self.grid, self.constants)
            record.sums.budgets.add(budgets, self.grid.area_weights())
        record.steps += 1
        end = result.date + timedelta(seconds=record.about.dt)
        if end.day != result.date.day:
            self._end_day(result)

    def _add_corrections(self, corrections: Corrections) -> None:
        counts, added = self.record.sums.corrections, self.record.sums.added
        for name, count in corrections.counts.items():
            counts[name] = counts.get(name, 0) + int(count.sum())
        weights = self.grid.area_weights()
        for name, value in corrections.added.items():
            added[name] = added.get(name, 0.0) + float(np.mean(weights * value))

    def _end_day(self, result: StepResult) -> None:
        """Add the global means of a day's last step, and warn of a drift."""
        record = self.record
        means = global_means(result.inputs, result.surface, self.grid, self.constants)
        record.health.daily.append(
            {"day": record.steps * record.about.dt / SECONDS_PER_DAY, **means}
        )
        if len(record.health.daily) >= _DRIFT_DAYS:
            self._warn_of_drift()

    def _warn_of_drift(self) -> None:
        """Note a trend beyond its limit, once for each global mean."""
        record = self.record
        drift = record.health.drift()
        for name, (limit, unit) in _DRIFT_LIMITS.items():
            trend, words = drift[f"{name}_per_day"], f"global mean {name.replace('_', ' ')} drifts"
            if abs(trend) < limit or any(words in warning for warning in record.health.warnings):
                continue
            text = (
                f"day {record.health.daily[-1]['day']:.0f}: {words} by {trend:+.3g} {unit} per day"
            )
            record.health.warnings.append(text)
            _log.warning("%s: %s", record.case, text)

    def end_unstable(self, trouble: HealthReport) -> None:
        """Note that a bound was violated, and where on the globe."""
        record = self.record
        instability = Instability(
            **asdict(trouble),
            step=record.steps,
            date=record.date,
            lat=float(self.grid.lat[trouble.column]),
            lon=float(self.grid.lon[trouble.column]),
        )
        record.end_unstable(instability)
        _log.warning("%s: %s (%s)", record.case, record.message, trouble)
