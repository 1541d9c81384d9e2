"""One step of an online run after another: what is stepped, recorded, and kept in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from climsim.arrays import Fields
from climsim.hosts.base import HealthReport, SteppedHost
from climsim.online.fields import confidence_fields, history_fields
from climsim.online.history import HistoryWriter
from climsim.online.model import CoupledModel
from climsim.online.recorder import Recorder
from climsim.online.restart import FOLDER, RestartState, load_restart, save_restart
from climsim.online.ring import LastDay
from climsim.online.stepper import StepOutcome, Stepper, Unstable
from climsim.runs.config import RunConfig
from climsim.runs.coupling import NO_MIXING
from climsim.runs.record import RunRecord
from climsim.runs.timing import Stopwatch


class Loop:
    """A run of a host, as `climsim.stepping.advance` takes it.

    Args:
        config: of the run.
        host: the climate model.
        model: the exported model, None for the host's own physics.
        record: kept up to date.
    """

    def __init__(
        self, config: RunConfig, host: SteppedHost, model: CoupledModel | None, record: RunRecord
    ) -> None:
        self.config, self.host = config, host
        self._stopwatch = Stopwatch()
        self._stepper = Stepper(host, model, config.coupler, self._stopwatch)
        self._recorder = Recorder(record, host.grid, self._stepper.constants)
        physics = "its own physics" if model is None else "emulated physics"
        self._attributes = {"source": f"{host.source}; {physics}", **record.about.made_by}
        self._history = HistoryWriter(
            config.folder,
            config.case,
            host.grid,
            config.streams,
            hourly_fields=config.hourly_fields,
            attributes=self._attributes,
        )
        self._last_day = LastDay(config.folder / FOLDER / "last_day.bin", host.grid, host.dt)

    @property
    def record(self) -> RunRecord:
        """The record of the run."""
        return self._recorder.record

    @property
    def steps_done(self) -> int:
        """Steps since the start of the run."""
        return self.record.steps

    def step(self) -> bool:
        """Advance one step; False where the state left its bounds, which ends the run."""
        try:
            outcome = self._stepper.step(self.record.steps)
        except Unstable as error:
            self._end_unstable(error.trouble)
            return False
        self._keep(outcome)
        with self._stopwatch.part("host"):
            trouble = self.host.health()
        kind = "physics" if outcome.handed is None else "coupled"
        self._stopwatch.end_step(kind, self.record.timing)
        if trouble is not None:
            self._end_unstable(trouble)
        return trouble is None

    def _keep(self, outcome: StepOutcome) -> None:
        """Add a step to the history, the last day and the record."""
        result, record = outcome.result, self.record
        extra: Fields = {}
        for by_target, suffix in ((outcome.predicted_loss, "CONF"), (outcome.true_loss, "LOSS")):
            extra |= confidence_fields(by_target, suffix) if by_target else {}
        if self.config.coupler.mixing != NO_MIXING:
            handed = outcome.handed
            extra["NNSHARE"] = (
                np.zeros(self.host.grid.n_columns) if handed is None else handed.share
            )
        with self._stopwatch.part("history"):
            fields = history_fields(result, self.host.grid, self._stepper.constants, extra)
            self._history.add(fields, result.date, self.host.dt)
            self._last_day.write(record.steps, result)
        with self._stopwatch.part("coupler"):
            # Of a coupled run only coupled steps count: budgets are those of the network.
            counted = self._stepper.model is None or outcome.handed is not None
            self._recorder.add(outcome, with_budgets=counted)
            record.date = self.host.date.isoformat()

    def _end_unstable(self, trouble: HealthReport) -> None:
        """Close a run that left its bounds: whole files, its record, its last day in full."""
        record, folder = self.record, self.config.folder
        self._recorder.end_unstable(trouble)
        path = folder / f"{self.config.case}.last_day.nc"
        about = {**self._attributes, "title": f"last day of a run that became {record.message}"}
        self._last_day.dump(path, record.steps - 1, about)
        record.files["last_day"] = path.name
        self.write_unfinished()
        record.save(folder)

    def write_unfinished(self) -> None:
        """Write the files of the periods at hand."""
        self._history.write_unfinished()

    def save(self) -> None:
        """Write a restart point of this moment, and the record."""
        with self._stopwatch.part("restart"):
            arrays = self._history.to_arrays()
            state = RestartState(self.record, self._stepper.memory, arrays)
            save_restart(self.config.folder, self.host, state)
        self._stopwatch.end_outside_step(self.record.timing)
        self.record.save(self.config.folder)

    def load_restart(self, point: Path) -> None:
        """Continue from a restart point, under the configuration of now."""
        state = load_restart(point, self.host)
        now, before = self.record.about, state.record.about
        before.config, before.made_by = now.config, now.made_by
        self._recorder.record, self._stepper.memory = state.record, state.memory
        self._history.load_arrays(state.history)

    def close(self) -> None:
        """Let go of the files; the last day is kept only while the run can be continued."""
        self._last_day.close(delete=self.record.finished)
