"""What the steps of a run add to its record: corrections, losses, budgets, drift and its ending."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

import numpy as np

from climsim.arrays import Array, Constant, is_numpy, like, namespace, to_numpy
from climsim.constants import SECONDS_PER_DAY
from climsim.grid import ColumnGrid
from climsim.hosts.base import HealthReport
from climsim.hosts.members import MemberTable, means_of_members, of_member, sums_of_members
from climsim.online.budget import global_means, network_budgets, step_budgets
from climsim.online.coupler import Coupled
from climsim.online.stepper import StepOutcome
from climsim.runs.health import Instability
from climsim.runs.record import RunRecord

_log = logging.getLogger(__name__)
_LOSSES = ("predicted", "true")
_DRIFT_DAYS = 5
_DRIFT_LIMITS = {
    "temperature": (0.2, "K"),
    "water": (0.3, "kg m-2"),
    "energy": (2.0e6, "J m-2"),
    "surface_pressure": (20.0, "Pa"),
}
"""Largest trend per day of each global mean that is no reason to warn, and its unit."""


@dataclass(frozen=True)
class _StepNumbers:
    """What one step adds to the records, on the device where it was computed.

    Attributes:
        keys: kind and name of each number.
        values: (number, member).
        members: that were under way.
    """

    keys: tuple[tuple[str, str], ...]
    values: Array
    members: tuple[int, ...]

    @classmethod
    def of(
        cls, tables: Mapping[str, MemberTable], members: Collection[int], there: Array
    ) -> _StepNumbers:
        """Join the tables of a step, by kind, in the library and on the device of an array."""
        keys = tuple((kind, name) for kind, table in tables.items() for name in table.names)
        rows = [like(table.values, there) for table in tables.values() if table.values is not None]
        return cls(keys, namespace(there).concat(rows, axis=0), tuple(members))


class Recorder:
    """Keeps the records of the members of a run up to date.

    The sums over steps that were computed on another device stay there until `settle` fetches
    them, all in one transfer; those of NumPy are added at once.

    Args:
        records: of the members.
        grid: the columns of one member.
    """

    def __init__(self, records: Sequence[RunRecord], grid: ColumnGrid) -> None:
        self.records, self.grid = list(records), grid
        self._weights = Constant(grid.area_weights())
        self._waiting: list[_StepNumbers] = []

    def add(self, outcome: StepOutcome, members: Collection[int], *, with_budgets: bool) -> None:
        """Add what a step did.

        Args:
            outcome: of the step after those of the records.
            members: that are still under way.
            with_budgets: whether its budgets count.
        """
        number = len(self.records)
        losses = (outcome.predicted_loss, outcome.true_loss)
        tables = {n: means_of_members(x, number) for n, x in zip(_LOSSES, losses, strict=True)}
        if outcome.handed is not None:
            tables |= self._of_handed(outcome.handed)
        if with_budgets:
            tables |= self._of_budgets(outcome)
        there = outcome.result.inputs["state_ps"]
        if any(table.names for table in tables.values()):
            self._waiting.append(_StepNumbers.of(tables, members, there))
        if is_numpy(there):
            self.settle()
        for index in members:
            self.records[index].steps += 1
        date = outcome.result.date
        if members and (date + timedelta(seconds=self.records[0].about.dt)).day != date.day:
            self._end_day(outcome, members)

    def settle(self) -> None:
        """Add to the records what waits on another device."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        xp = namespace(waiting[0].values)
        together = to_numpy(xp.concat([xp.reshape(step.values, (-1,)) for step in waiting]))
        ends = np.cumsum([step.values.shape[0] * step.values.shape[1] for step in waiting])
        for step, flat in zip(waiting, np.split(together, ends[:-1]), strict=True):
            table = flat.reshape(step.values.shape)
            for index in step.members:
                self._add_step(step, table[:, index].tolist(), index)

    def _add_step(self, step: _StepNumbers, numbers: list[float], index: int) -> None:
        """Add the numbers of one member in one step to its record."""
        kinds: dict[str, dict[str, float]] = {}
        for (kind, name), number in zip(step.keys, numbers, strict=True):
            kinds.setdefault(kind, {})[name] = number
        sums = self.records[index].sums
        for kind in _LOSSES:
            sums.add_losses(kind, kinds.get(kind, {}))
        if "share" in kinds:
            sums.add_handed(
                kinds.get("counts", {}), kinds.get("added", {}), kinds["share"]["share"]
            )
        sums.budgets.add(kinds.get("budgets", {}), kinds.get("squares", {}))

    def _of_handed(self, handed: Coupled) -> dict[str, MemberTable]:
        number, corrections = len(self.records), handed.corrections
        return {
            "counts": sums_of_members(corrections.counts, number),
            "added": means_of_members(corrections.added, number, self._weights),
            "share": means_of_members({"share": handed.share}, number, self._weights),
        }

    def _of_budgets(self, outcome: StepOutcome) -> dict[str, MemberTable]:
        number = len(self.records)
        budgets = step_budgets(outcome.result, outcome.air.columns) | network_budgets(outcome)
        squares = {name: residual**2 for name, residual in budgets.items()}
        return {
            "budgets": means_of_members(budgets, number, self._weights),
            "squares": means_of_members(squares, number, self._weights),
        }

    def _end_day(self, outcome: StepOutcome, members: Collection[int]) -> None:
        """Add the global means of a day's last step, and warn of a drift."""
        result, columns = outcome.result, outcome.air.columns
        inputs, surface, air = (
            {name: to_numpy(values) for name, values in fields.items()}
            for fields in (result.inputs, result.surface, {"mass": columns.mass})
        )
        for index in members:
            record, number = self.records[index], len(self.records)
            means = global_means(
                of_member(inputs, index, number),
                of_member(surface, index, number),
                replace(columns, mass=of_member(air, index, number)["mass"]),
                self._weights.values,
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
        trend, drifting = drift[f"{name}_per_day"], f"global mean {name.replace('_', ' ')} drifts"
        if abs(trend) < limit or any(drifting in warning for warning in health.warnings):
            continue
        text = f"day {health.daily[-1]['day']:.0f}: {drifting} by {trend:+.3g} {unit} per day"
        health.warnings.append(text)
        _log.warning("%s: %s", record.case, text)
