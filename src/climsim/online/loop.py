"""One step of an online run after another: what is stepped, recorded, and kept in files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import cftime

from climsim.arrays import Fields, double, is_numpy, namespace
from climsim.constants import SECONDS_PER_DAY
from climsim.hosts.base import HealthReport
from climsim.hosts.members import Members
from climsim.online.fields import confidence_fields, history_fields
from climsim.online.history import Destination, HistoryWriter
from climsim.online.memory import Memory
from climsim.online.model import CoupledModel
from climsim.online.recorder import Recorder
from climsim.online.restart import (
    FOLDER,
    RestartState,
    keep_start,
    load_restart,
    save_restart,
)
from climsim.online.ring import LastDay, LastDays
from climsim.online.stepper import StepOutcome, Stepper, Troubles, Unstable
from climsim.parallel import Background
from climsim.runs.config import RunConfig
from climsim.runs.coupling import NO_MIXING
from climsim.runs.record import RunRecord
from climsim.runs.timing import Stopwatch
from climsim.stepping import steps_of
from climsim.threads import thread_count

_MOST_WAITING = 1
"""Steps that wait to be kept before the next one waits for them."""


class Loop:
    """The run of one member or of several together, as `climsim.stepping.advance` takes it.

    A member that leaves its bounds ends; the others continue without it. Where a process has more
    than one core, what a step did is added to history and records in a second thread, while the
    network of the next step computes: Python's lock is free then.

    Args:
        configs: of the members' runs, alike but for folder, case, model and perturbation.
        members: of the climate model.
        model: the exported model, or the models, None for the host's own physics.
        records: of the members, kept up to date.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        members: Members,
        model: CoupledModel | None,
        records: Sequence[RunRecord],
    ) -> None:
        self.configs, self.members = tuple(configs), members
        self._stopwatch = Stopwatch()
        self._stepper = Stepper(
            members,
            model,
            configs[0].coupler,
            self._stopwatch,
            configs[0].health_steps,
            self._begin_keeping,
        )
        grid, dt = self._stepper.grid, self._stepper.dt
        self._last_step = steps_of(configs[0].days, dt) - 1
        self._recorder = Recorder(records, grid)
        physics = "its own physics" if model is None else "emulated physics"
        source = f"{members.member(0).source}; {physics}"
        self._destinations = [
            Destination(config.folder, config.case, {"source": source, **record.about.made_by})
            for config, record in zip(configs, records, strict=True)
        ]
        self._history = HistoryWriter(
            self._destinations, grid, configs[0].streams, configs[0].hourly_fields
        )
        self._last_days = LastDays(
            [LastDay(config.folder / FOLDER / "last_day.bin", grid, dt) for config in configs]
        )
        self._background = (
            Background("history", _MOST_WAITING) if thread_count(configs[0].threads) > 1 else None
        )
        self._steps_done = self._recorded_steps()

    @property
    def records(self) -> list[RunRecord]:
        """The records of the members."""
        return self._recorder.records

    @property
    def under_way(self) -> list[int]:
        """Members that have not ended."""
        return [i for i, record in enumerate(self.records) if not record.finished]

    @property
    def steps_done(self) -> int:
        """Steps since the start of the run, of the members that have not ended."""
        return self._steps_done

    def _recorded_steps(self) -> int:
        return max(record.steps for record in self.records)

    def step(self) -> bool:
        """Advance one step; False where the last member left its bounds, which ends the run."""
        number, before = self.steps_done, self.under_way
        try:
            outcome = self._stepper.step(number)
        except Unstable as error:
            self._end_unstable(error.troubles)
            return False
        self._end_unstable(outcome.troubles)
        self._keep(number, outcome)
        self._steps_done = number + 1
        troubles: Troubles = ()
        there = outcome.result.inputs["state_ps"]
        if number == self._last_step or self._stepper.looks(number, there):
            with self._stopwatch.part("host"):
                troubles = self.members.health()
        kind = "physics" if outcome.handed is None else "coupled"
        self._stopwatch.end_step(kind, [self.records[index].timing for index in before])
        self._end_unstable(troubles)
        # Before a restart point: a run that is killed in between comes here again.
        self.keep_starts()
        return bool(self.under_way)

    def _keep(self, number: int, outcome: StepOutcome) -> None:
        """Add a step to the history, the last day and the records, here or beside the next step."""
        members, date = tuple(self.under_way), self.members.date
        if self._background is None or not is_numpy(outcome.result.inputs["state_ps"]):
            self._add(number, outcome, members, date, self._stopwatch)
            return
        with self._stopwatch.part("history"):
            self._background.hold(partial(self._add_beside, number, outcome.kept(), members, date))

    def _begin_keeping(self) -> None:
        """Let the second thread add the last step."""
        if self._background is not None:
            with self._stopwatch.part("history"):
                self._background.begin()

    def _add_beside(
        self,
        number: int,
        outcome: StepOutcome,
        members: Sequence[int],
        date: cftime.DatetimeNoLeap,
    ) -> None:
        stopwatch = Stopwatch()
        self._add(number, outcome, members, date, stopwatch)
        for index in members:
            self.records[index].timing.beside += stopwatch.spent()

    def _add(
        self,
        number: int,
        outcome: StepOutcome,
        members: Sequence[int],
        date: cftime.DatetimeNoLeap,
        stopwatch: Stopwatch,
    ) -> None:
        """Add a step, after which it is a date, to the files and records of members."""
        result = outcome.result
        with stopwatch.part("history"):
            fields = history_fields(result, outcome.air, self._extra_fields(outcome))
            self._history.add(fields, result.date, self._stepper.dt, members)
            self._last_days.add(number, result, members)
        with stopwatch.part("coupler"):
            # Of a coupled run only coupled steps count: budgets are those of the network.
            counted = self._stepper.model is None or outcome.handed is not None
            self._recorder.add(outcome, members, with_budgets=counted)
            for index in members:
                self.records[index].date = date.isoformat()

    def _extra_fields(self, outcome: StepOutcome) -> Fields:
        """History fields that follow from the network: losses, and its share."""
        extra: Fields = {}
        for by_target, suffix in ((outcome.predicted_loss, "CONF"), (outcome.true_loss, "LOSS")):
            extra |= confidence_fields(by_target, suffix) if by_target else {}
        if self.configs[0].coupler.mixing != NO_MIXING:
            handed, pressure = outcome.handed, double(outcome.result.inputs["state_ps"])
            nothing = namespace(pressure).zeros_like(pressure)
            extra["NNSHARE"] = nothing if handed is None else handed.share
        return extra

    def _end_unstable(self, troubles: Troubles) -> None:
        """Close the members that left their bounds."""
        under_way = self.under_way
        for index, trouble in enumerate(troubles):
            if trouble is not None and index in under_way:
                self._end_member(index, trouble)

    def _end_member(self, index: int, trouble: HealthReport) -> None:
        """Close a member that left its bounds: whole files, its record, its last day in full."""
        self._settle()
        self._last_days.settle()
        record, destination = self.records[index], self._destinations[index]
        self._recorder.end_unstable(index, trouble)
        path = destination.folder / f"{destination.case}.last_day.nc"
        title = f"last day of a run that became {record.message}"
        self._last_days.files[index].dump(
            path, record.steps - 1, {**destination.attributes, "title": title}
        )
        record.files["last_day"] = path.name
        self._history.write_unfinished([index])
        record.save(destination.folder)

    def _settle(self) -> None:
        """Bring records up to date with what waits in a thread or on a device."""
        if self._background is not None:
            self._background.settle()
        self._recorder.settle()

    def write_unfinished(self) -> None:
        """Write the files of the periods at hand."""
        self._settle()
        self._history.write_unfinished(self.under_way)

    def save(self) -> None:
        """Write a restart point of this moment, and the record, of each member under way."""
        with self._stopwatch.part("restart"):
            self._settle()
            for index in self.under_way:
                state = RestartState(
                    self.records[index],
                    self._stepper.memory.of_member(index, self.members.count),
                    self._history.to_arrays(index),
                )
                folder = self.configs[index].folder
                save_restart(folder, self.members.member(index), state)
        self._stopwatch.end_outside_step([self.records[i].timing for i in self.under_way])
        for index in self.under_way:
            self.records[index].save(self.configs[index].folder)

    def keep_starts(self) -> None:
        """Keep the state of this moment as a start of other runs, where one is due."""
        every, dt = self.configs[0].kept_restart_days, self._stepper.dt
        if not every:
            return
        day = every * round(self.steps_done * dt / SECONDS_PER_DAY / every)
        if self.steps_done == steps_of(day, dt):
            with self._stopwatch.part("restart"):
                for index in self.under_way:
                    keep_start(self.configs[index].folder, self.members.member(index), day)

    def load_restart(self, points: Sequence[Path]) -> None:
        """Continue from restart points of one step, under the configuration of now.

        Args:
            points: of the members, in their order.
        """
        states = []
        for index, point in enumerate(points):
            state = load_restart(point, self.members.member(index))
            now, before = self.records[index].about, state.record.about
            before.config, before.made_by, before.together = now.config, now.made_by, now.together
            self.records[index] = state.record
            states.append(state)
        self._stepper.memory = Memory.joined([state.memory for state in states])
        self._history.load_arrays([state.history for state in states])
        self._steps_done = self._recorded_steps()

    def stop(self) -> None:
        """Let nothing change the records any more; errors of what ran beside the steps are lost."""
        if self._background is not None:
            self._background.close()

    def close(self) -> None:
        """Let go of the files; the last day is kept only while the run can be continued."""
        self.stop()
        if self.under_way:
            # After a failure its steps may lie on a device that answers no more.
            with suppress(Exception):
                self._last_days.settle()
        for record, last_day in zip(self.records, self._last_days.files, strict=True):
            last_day.close(delete=record.finished)
