"""A climate model in one file: a room that warms by day, with everything that a host needs."""

from datetime import timedelta
from pathlib import Path

import numpy as np
from cftime import DatetimeNoLeap

from climsim.grid import ColumnGrid
from climsim.hosts.base import HealthReport, StepResult
from climsim.variables import OUTPUTS, RAW_PROFILES, SCALARS_IN

LEVELS, COLUMNS = 60, 4


class Room:
    name, source, dt = "room", "a room of four corners", 1200.0

    def __init__(self, warmth):
        edges = np.linspace(0.0, 1.0, LEVELS + 1)
        middle = (edges[1:] + edges[:-1]) / 2
        zero = np.zeros(LEVELS)
        self.grid = ColumnGrid(
            lat=np.array([-60.0, -10.0, 10.0, 60.0]),
            lon=np.arange(4) * 90.0,
            area=np.array([1.0, 2.0, 2.0, 1.0]),
            hyam=zero,
            hybm=middle,
            hyai=np.zeros(LEVELS + 1),
            hybi=edges,
        )
        self.warmth, self.step_number = warmth, 0
        self.temperature = np.full((LEVELS, COLUMNS), 280.0)

    @property
    def date(self):
        return DatetimeNoLeap(1, 1, 1) + timedelta(seconds=self.dt * self.step_number)

    def inputs(self):
        pressure = np.full(COLUMNS, 1.0e5)
        fields = {n: np.full((LEVELS, COLUMNS), 1e-6) for n in RAW_PROFILES}
        fields |= {n: np.full(COLUMNS, 0.5) for n in SCALARS_IN}
        middle = self.grid.midpoint_pressure(pressure)
        return fields | {"state_t": self.temperature, "state_ps": pressure, "state_pmid": middle}

    def physics(self):
        tendencies = {n: np.zeros((LEVELS, COLUMNS)) for n in OUTPUTS.profiles}
        tendencies["ptend_t"] = tendencies["ptend_t"] + self.warmth
        surface = {n: np.ones(COLUMNS) for n in OUTPUTS.scalars}
        return StepResult(self.date, self.inputs(), tendencies, surface)

    def step_physics(self):
        own = self.physics()
        return self.step_emulated(own.tendencies, own.surface)

    def step_emulated(self, tendencies, surface):
        result = StepResult(self.date, self.inputs(), tendencies, surface)
        self.temperature = self.temperature + self.dt * tendencies["ptend_t"]
        self.step_number += 1
        return result

    def health(self):
        if self.temperature.max() < 360.0:
            return None
        return HealthReport("T", 0, 0, float(self.temperature.max()), (130.0, 360.0))

    def perturb(self, seed, amplitude):
        noise = np.random.default_rng(seed).normal(size=(LEVELS, COLUMNS))
        self.temperature = self.temperature + amplitude * noise

    def save(self, path: Path):
        with path.open("wb") as stream:
            np.savez(stream, step=self.step_number, temperature=self.temperature)

    def restore(self, path: Path):
        with np.load(path) as file:
            self.step_number, self.temperature = int(file["step"]), file["temperature"]


def build_host(options):
    return Room(options.get("warmth", 1e-6))
