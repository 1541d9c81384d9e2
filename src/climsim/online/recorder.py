"""What the steps of a run add to its record: corrections, losses, budgets, drift and its ending."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import timedelta

from climsim.arrays import Fields, to_numpy
from climsim.constants import SECONDS_PER_DAY, PhysicalConstants
from climsim.grid import ColumnGrid
from climsim.hosts.base import HealthReport, StepResult
from climsim.hosts.members import means_of_members, of_member, sums_of_members
from climsim.online.budget import global_means, network_budgets, step_budgets
from climsim.online.coupler import Coupled
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
    """Keeps the records of the members of a run up to date.

    Args:
        records: of the members.
        grid: the columns of one member.
        constants: the host's.
    """

    def __init__(
        self, records: Sequence[RunRecord], grid: ColumnGrid, constants: PhysicalConstants
    ) -> None:
        self.records, self.grid, self.constants = list(records), grid, constants
        self._weights = grid.area_weights()

    def add(self, outcome: StepOutcome, members: Collection[int], *, with_budgets: bool) -> None:
        """Add what a step did.

        Args:
            outcome: of the step after those of the records.
            members: that are still under way.
            with_budgets: whether its budgets count.
        """
        self._add_losses("predicted", outcome.predicted_loss, members)
        self._add_losses("true", outcome.true_loss, members)
        if outcome.handed is not None:
            self._add_handed(outcome.handed, members)
        if with_budgets:
            self._add_budgets(outcome, members)
        date = outcome.result.date
        for index in members:
            record = self.records[index]
            record.steps += 1
            if (date + timedelta(seconds=record.about.dt)).day != date.day:
                self._end_day(outcome.result, index)

    def _add_losses(self, kind: str, by_target: Fields, members: Collection[int]) -> None:
        means = means_of_members(by_target, len(self.records))
        for index in members:
            self.records[index].sums.add_losses(kind, means[index])

    def _add_handed(self, handed: Coupled, members: Collection[int]) -> None:
        number, corrections = len(self.records), handed.corrections
        counts = sums_of_members(corrections.counts, number)
        added = means_of_members(corrections.added, number, self._weights)
        shares = means_of_members({"share": handed.share}, number, self._weights)
        for index in members:
            sums = self.records[index].sums
            sums.coupled_steps += 1
            sums.share_sum += shares[index]["share"]
            for name, count in counts[index].items():
                sums.corrections[name] = sums.corrections.get(name, 0) + int(count)
            for name, value in added[index].items():
                sums.added[name] = sums.added.get(name, 0.0) + value

    def _add_budgets(self, outcome: StepOutcome, members: Collection[int]) -> None:
        number = len(self.records)
        budgets = step_budgets(outcome.result, self.grid, self.constants)
        budgets |= network_budgets(outcome, self.grid, self.constants)
        means = means_of_members(budgets, number, self._weights)
        squares = {name: residual**2 for name, residual in budgets.items()}
        mean_squares = means_of_members(squares, number, self._weights)
        for index in members:
            self.records[index].sums.budgets.add(means[index], mean_squares[index])

    def _end_day(self, result: StepResult, index: int) -> None:
        """Add the global means of a day's last step, and warn of a drift."""
        record, number = self.records[index], len(self.records)
        inputs = of_member(result.inputs, index, number)
        surface = of_member(result.surface, index, number)
        means = global_means(
            {name: to_numpy(values) for name, values in inputs.items()},
            {name: to_numpy(values) for name, values in surface.items()},
            self.grid,
            self.constants,
        )
        day = record.steps * record.about.dt / SECONDS_PER_DAY
        record.health.daily.append({"day": day, **means})
        if len(record.health.daily) >= _DRIFT_DAYS:
            _warn_of_drift(record)

    def end_unstable(self, index: int, trouble: HealthReport) -> None:
        """Note that a member violated a bound, and where on the globe."""
        record = self.records[index]
        instability = Instability(
            **asdict(trouble),
            step=record.steps,
            date=record.date,
            lat=float(self.grid.lat[trouble.column]),
            lon=float(self.grid.lon[trouble.column]),
        )
        record.end_unstable(instability)
        _log.warning("%s: %s (%s)", record.case, record.message, trouble)


def _warn_of_drift(record: RunRecord) -> None:
    """Note a trend beyond its limit, once for each global mean."""
    health = record.health
    drift = health.drift()
    for name, (limit, unit) in _DRIFT_LIMITS.items():
        trend, words = drift[f"{name}_per_day"], f"global mean {name.replace('_', ' ')} drifts"
        if abs(trend) < limit or any(words in warning for warning in health.warnings):
            continue
        text = f"day {health.daily[-1]['day']:.0f}: {words} by {trend:+.3g} {unit} per day"
        health.warnings.append(text)
        _log.warning("%s: %s", record.case, text)
