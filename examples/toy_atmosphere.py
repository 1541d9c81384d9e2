"""A climate model in one file, for the tutorial: columns of air that runs step in milliseconds.

Its dynamics sharpens differences between neighbouring layers and stirs the air a little; its
physics draws temperature to that of radiation and smooths the layers faster than dynamics sharpens
them, as turbulence does. An emulator of this physics that has not learned to smooth dies soon.
"""

from datetime import timedelta
from pathlib import Path

import numpy as np
from cftime import DatetimeNoLeap

from climsim.constants import SECONDS_PER_DAY
from climsim.grid import ColumnGrid
from climsim.hosts.base import HealthReport, StepResult
from climsim.variables import OUTPUTS, RAW_PROFILES, SCALARS_IN

LEVELS, COLUMNS = 60, 48
SMOOTHING, SHARPENING = 26.0 / 4, 5.0 / 4
"""Rates, of which a wave of two layers feels four times as much [1/day]."""
RADIATIVE_DAYS = 5.0
BOUNDS = (130.0, 360.0)
STEFAN_BOLTZMANN = 5.67e-8


def curvature(profile):
    """Second difference over levels (level, column); one-sided at top and surface."""
    padded = np.pad(profile, ((1, 1), (0, 0)), mode="edge")
    return padded[2:] - 2 * padded[1:-1] + padded[:-2]


class ToyAtmosphere:
    """A host of `climsim.hosts.base.SteppedHost`."""

    name, source, dt = "toy", "the toy atmosphere of the tutorial", 1200.0

    def __init__(self, stirring):
        """Start in balance; `stirring` is the noise that dynamics adds in a step [K]."""
        edges = np.linspace(0.0, 1.0, LEVELS + 1)
        self.sigma = (edges[1:] + edges[:-1]) / 2
        latitude = np.rad2deg(np.arcsin(np.linspace(-0.97, 0.97, COLUMNS)))
        self.grid = ColumnGrid(
            lat=latitude,
            lon=np.arange(COLUMNS) * 137.5 % 360.0,
            area=np.full(COLUMNS, 4 * np.pi / COLUMNS),
            hyam=np.zeros(LEVELS),
            hybm=self.sigma,
            hyai=np.zeros(LEVELS + 1),
            hybi=edges,
        )
        self.stirring, self.step_number = stirring, 0
        self.temperature = self.balance()
        self.random = np.random.default_rng(1)

    @property
    def date(self):
        return DatetimeNoLeap(1, 1, 1) + timedelta(seconds=self.dt * self.step_number)

    def sun(self):
        """Cosine of the zenith angle at the equinox (column,)."""
        day = self.step_number * self.dt / SECONDS_PER_DAY
        hour_angle = 2 * np.pi * (day + self.grid.lon / 360.0) + np.pi
        return np.clip(np.cos(np.deg2rad(self.grid.lat)) * np.cos(hour_angle), 0.0, None)

    def balance(self):
        """Temperature that radiation alone would lead to (level, column) [K]."""
        surface = 300.0 - 35.0 * np.sin(np.deg2rad(self.grid.lat)) ** 2
        profile = np.maximum(surface * self.sigma[:, None] ** 0.19, 205.0)
        return profile + 20.0 * self.sun() * (0.3 + 0.7 * self.sigma[:, None] ** 4)

    def inputs(self):
        pressure = np.full(COLUMNS, 1.0e5)
        fields = {n: np.zeros((LEVELS, COLUMNS)) for n in RAW_PROFILES}
        fields |= {n: np.zeros(COLUMNS) for n in SCALARS_IN}
        return fields | {
            "state_t": self.temperature,
            "state_q0001": np.tile(1e-2 * self.sigma[:, None] ** 3 + 2e-6, (1, COLUMNS)),
            "state_ps": pressure,
            "state_pmid": self.grid.midpoint_pressure(pressure),
            "pbuf_SOLIN": 1361.0 * self.sun(),
            "pbuf_COSZRS": self.sun(),
            "cam_in_LWUP": STEFAN_BOLTZMANN * self.temperature[-1] ** 4,
        }

    def step_physics(self):
        heating = (self.balance() - self.temperature) / RADIATIVE_DAYS
        heating = heating + SMOOTHING * curvature(self.temperature)
        tendencies = {n: np.zeros((LEVELS, COLUMNS)) for n in OUTPUTS.profiles}
        tendencies["ptend_t"] = heating / SECONDS_PER_DAY
        surface = {n: np.zeros(COLUMNS) for n in OUTPUTS.scalars}
        surface["cam_out_NETSW"] = 900.0 * self.sun()
        surface["cam_out_FLWDS"] = 0.8 * STEFAN_BOLTZMANN * self.temperature[-1] ** 4
        return self.step_emulated(tendencies, surface)

    def step_emulated(self, tendencies, surface):
        result = StepResult(self.date, self.inputs(), tendencies, surface)
        sharpened = -SHARPENING * curvature(self.temperature) / SECONDS_PER_DAY
        noise = self.stirring * self.random.normal(size=(LEVELS, COLUMNS))
        change = self.dt * (sharpened + tendencies["ptend_t"]) + noise
        self.temperature = self.temperature + change
        self.step_number += 1
        return result

    def health(self):
        low, high = BOUNDS
        outside = (self.temperature < low) | (self.temperature > high)
        if not outside.any():
            return None
        level, column = np.argwhere(outside)[0]
        value = float(self.temperature[level, column])
        return HealthReport("T", int(column), int(level), value, BOUNDS)

    def perturb(self, seed, amplitude):
        noise = np.random.default_rng(seed).normal(size=(LEVELS, COLUMNS))
        self.temperature = self.temperature + amplitude * noise

    def save(self, path: Path):
        with path.open("wb") as stream:
            np.savez(stream, step=self.step_number, temperature=self.temperature)

    def restore(self, path: Path):
        with np.load(path) as file:
            self.step_number, self.temperature = int(file["step"]), file["temperature"]
        self.random = np.random.default_rng(self.step_number)


def build_host(options):
    return ToyAtmosphere(float(options.get("stirring", 1e-3)))
