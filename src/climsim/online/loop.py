"""One step of an online run after another: host, model, coupler, history and record."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from climsim.arrays import Fields
from climsim.constants import SECONDS_PER_DAY
from climsim.grid import ColumnGrid
from climsim.hosts.base import HealthReport, Host, StepResult, constants_of
from climsim.online.budget import global_means, step_budgets
from climsim.online.config import RunConfig
from climsim.online.coupler import Coupled, ModelOutput, couple, split_output
from climsim.online.fields import confidence_fields, history_fields
from climsim.online.history import HistoryWriter
from climsim.online.losses import true_losses
from climsim.online.memory import Memory, assemble
from climsim.online.model import Model, compare_time_step, non_finite
from climsim.online.record import RunRecord
from climsim.online.restart import FOLDER, RestartState, load_restart, save_restart
from climsim.online.ring import LastDay

if TYPE_CHECKING:
    from climsim.losses import TrainingLoss

_log = logging.getLogger(__name__)
_DRIFT_DAYS = 5
_DRIFT_LIMITS = {
    "temperature": (0.2, "K"),
    "water": (0.3, "kg m-2"),
    "energy": (2.0e6, "J m-2"),
    "surface_pressure": (20.0, "Pa"),
}
"""Largest trend per day of each global mean that is no reason to warn, and its unit."""


class Unstable(Exception):
    """A bound was violated."""

    def __init__(self, trouble: HealthReport) -> None:
        super().__init__(trouble.variable)
        self.trouble = trouble


class Loop:
    """The moving parts of a run.

    Args:
        config: of the run.
        host: the climate model.
        model: the exported model, None for the host's own physics.
        record: kept up to date.
    """

    def __init__(
        self, config: RunConfig, host: Host, model: Model | None, record: RunRecord
    ) -> None:
        self.config, self.host, self.model, self.record = config, host, model, record
        self.grid: ColumnGrid = host.grid
        self.constants = constants_of(host)
        self.memory = Memory(dt=host.dt)
        physics = "its own physics" if model is None else "emulated physics"
        self.attributes = {"source": f"{host.source}; {physics}", **record.made_by}
        self.history = HistoryWriter(
            config.folder,
            config.case,
            host.grid,
            config.streams,
            config.hourly_fields,
            self.attributes,
        )
        self._ring = LastDay(config.folder / FOLDER / "last_day.bin", host.grid, host.dt)
        self._seconds: dict[str, float] = {}
        self._seen: set[bool] = set()
        self._trouble: HealthReport | None = None
        self._loss = None if model is None else _training_loss(model)
        if model is not None:
            compare_time_step(model, host.dt)

    def step(self) -> bool:
        """Advance one step.

        Returns:
            Whether the state is healthy; if not, `end_unstable` closes the run.
        """
        self._seconds = {}
        self._trouble = None
        record, date = self.record, self.host.date
        coupled = self.model is not None and record.steps >= self.config.coupler.spinup_steps
        try:
            result, losses = self._coupled_step() if coupled else (self._physics_step(), {})
        except Unstable as error:
            self._trouble = error.trouble
            return False
        with self._timed("history"):
            fields = history_fields(result, self.grid, self.constants, losses)
            self.history.add(fields, date, self.host.dt)
            self._ring.write(record.steps, result)
        with self._timed("coupler"):
            self._account(result)
        record.steps += 1
        record.coupled_steps += coupled
        record.date = self.host.date.isoformat()
        self._keep_time(coupled)
        with self._timed("host"):
            self._trouble = self.host.health()
        return self._trouble is None

    def _physics_step(self) -> StepResult:
        with self._timed("host"):
            result = self.host.step_physics()
        with self._timed("coupler"):
            self._remember(result)
        return result

    def _coupled_step(self) -> tuple[StepResult, Fields]:
        assert self.model is not None
        options = self.config.coupler
        with self._timed("host"):
            inputs = self.host.inputs()
            own = self.host.physics() if options.needs_physics else None
        with self._timed("coupler"):
            vector = assemble(self.model.interface, inputs, self.memory, self.grid)
        with self._timed("network"):
            output = self.model(vector)
        with self._timed("coupler"):
            network = self._checked(output)
            physics = None if own is None else ModelOutput(own.tendencies, own.surface)
            handed = self._couple(network, inputs, physics)
            losses = self._losses(network, physics)
        with self._timed("host"):
            result = self.host.step_emulated(handed.tendencies, handed.surface)
        with self._timed("coupler"):
            self._remember(result)
            self._count(handed)
        return result, losses

    def _losses(self, network: ModelOutput, physics: ModelOutput | None) -> Fields:
        """Predicted and true losses of the step for the history; their means for the record."""
        predicted, true = network.confidence, {}
        if physics is not None and self._loss is not None:
            true = true_losses(self._loss, network, physics, self.grid.n_levels)
        self.record.add_losses("predicted", predicted)
        self.record.add_losses("true", true)
        fields: Fields = {}
        for by_target, suffix in ((predicted, "CONF"), (true, "LOSS")):
            fields |= confidence_fields(by_target, suffix) if by_target else {}
        return fields

    def _checked(self, output: np.ndarray) -> ModelOutput:
        trouble = non_finite(output, self.grid)
        if trouble is not None:
            raise Unstable(trouble)
        return split_output(output, self.grid.n_levels)

    def _couple(self, network: ModelOutput, inputs: Fields, physics: ModelOutput | None) -> Coupled:
        options = self.config.coupler
        pressure = np.asarray(inputs["state_ps"], dtype=np.float64)
        interfaces = self.grid.interface_pressure(pressure)
        step = self.record.steps - options.spinup_steps
        return couple(
            network,
            inputs,
            interfaces,
            options,
            step,
            physics=physics,
            dt=self.host.dt,
            constants=self.constants,
        )

    def _remember(self, result: StepResult) -> None:
        if self.model is not None and self.model.interface.steps_of_memory:
            self.memory = self.memory.advance(result.inputs, result.tendencies)

    def _count(self, handed: Coupled) -> None:
        counts, added = self.record.corrections, self.record.added
        for name, count in handed.corrections.counts.items():
            counts[name] = counts.get(name, 0) + count
        weights = self.grid.area_weights()
        for name, value in handed.corrections.added.items():
            added[name] = added.get(name, 0.0) + float(np.mean(weights * value))

    def _account(self, result: StepResult) -> None:
        """Add budgets; at the end of a day also the global means, and look for a drift."""
        record, weights = self.record, self.grid.area_weights()
        if self.model is None or record.steps >= self.config.coupler.spinup_steps:
            record.budgets.add(step_budgets(result, self.grid, self.constants), weights)
        end = result.date + timedelta(seconds=self.host.dt)
        if end.day != result.date.day:
            means = global_means(result.inputs, result.surface, self.grid, self.constants)
            day = (record.steps + 1) * self.host.dt / SECONDS_PER_DAY
            record.daily.append({"day": day, **means})
            self._warn_of_drift()

    def _warn_of_drift(self) -> None:
        """Note a trend beyond its limit, once for each global mean."""
        record = self.record
        if len(record.daily) < _DRIFT_DAYS:
            return
        drift = record.drift()
        for name, (limit, unit) in _DRIFT_LIMITS.items():
            trend, words = drift[f"{name}_per_day"], f"global mean {name.replace('_', ' ')} drifts"
            if abs(trend) < limit or any(words in warning for warning in record.warnings):
                continue
            text = f"day {record.daily[-1]['day']:.0f}: {words} by {trend:+.3g} {unit} per day"
            record.warnings.append(text)
            _log.warning("%s: %s", self.config.case, text)

    def _keep_time(self, coupled: bool) -> None:
        """Add the step's wall time; the first step of each kind compiles and counts apart."""
        timing = self.record.timing
        if coupled not in self._seen:
            self._seen.add(coupled)
            timing.first_steps += sum(self._seconds.values())
            return
        timing.steps += 1
        for part, seconds in self._seconds.items():
            timing.seconds[part] += seconds

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        before = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - before
            self._seconds[part] = self._seconds.get(part, 0.0) + spent

    def end_unstable(self) -> None:
        """Close a run that left its bounds: whole files, its record, its last day in full."""
        assert self._trouble is not None
        record, trouble, folder = self.record, self._trouble, self.config.folder
        where = {
            "step": record.steps,
            "date": record.date,
            "lat": float(self.grid.lat[trouble.column]),
            "lon": float(self.grid.lon[trouble.column]),
        }
        record.end_unstable(trouble, where)
        path = folder / f"{self.config.case}.last_day.nc"
        about = {**self.attributes, "title": f"last day of a run that became {record.message}"}
        self._ring.dump(path, record.steps - 1, about)
        record.files["last_day"] = path.name
        self.history.write_unfinished()
        record.save(folder)
        _log.warning("%s: %s (%s)", self.config.case, record.message, trouble)

    def save_restart(self) -> None:
        """Write a restart point of this moment."""
        before = time.perf_counter()
        state = RestartState(self.record, self.memory, self.history.to_arrays())
        save_restart(self.config.folder, self.host, state)
        self.record.timing.seconds["restart"] += time.perf_counter() - before

    def load_restart(self, point: Path) -> None:
        """Continue from a restart point, under the configuration of now."""
        config, made_by = self.record.config, self.record.made_by
        state = load_restart(point, self.host)
        self.record, self.memory = state.record, state.memory
        self.record.config, self.record.made_by = config, made_by
        self.history.load_arrays(state.history)

    def close(self) -> None:
        """Let go of the files; the last day is kept only while the run can go on."""
        self._ring.close(delete=self.record.finished)


def _training_loss(model: Model) -> TrainingLoss | None:
    # Imported here: a run without a model needs no torch.
    from climsim.losses import TrainingLoss

    return TrainingLoss.of(model)
