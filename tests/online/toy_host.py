"""A small analytic climate model behind the interface of hosts: five levels, seven columns.

Its physics relaxes temperature and wind and rains out moisture; its dynamics shifts columns by one
share a step. It can be killed at a step, and it counts its calls.
"""

import multiprocessing
import os
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
from cftime import DatetimeNoLeap

from climsim.constants import E3SM
from climsim.grid import ColumnGrid
from climsim.hosts.base import HealthReport, StepResult
from climsim.online.run import run_online
from climsim.physics.columns import layer_mass
from climsim.variables import SCALARS_IN, SCALARS_OUT

LEVELS, COLUMNS = 5, 7
DT = 1200.0
PROFILES = ("t", "q0001", "q0002", "q0003", "u", "v")


def toy_grid():
    hyai = np.array([0.002, 0.02, 0.08, 0.12, 0.05, 0.0])
    hybi = np.array([0.0, 0.0, 0.05, 0.3, 0.7, 1.0])
    return ColumnGrid(
        lat=np.linspace(-75.0, 80.0, COLUMNS),
        lon=np.linspace(0.0, 300.0, COLUMNS),
        area=np.linspace(1.0, 2.5, COLUMNS),
        hyam=(hyai[1:] + hyai[:-1]) / 2,
        hybm=(hybi[1:] + hybi[:-1]) / 2,
        hyai=hyai,
        hybi=hybi,
    )


def start_state():
    generator = np.random.default_rng(3)
    profile = np.array([215.0, 210.0, 235.0, 265.0, 290.0])[:, None]
    humidity = np.array([2e-6, 3e-6, 2e-4, 3e-3, 1.2e-2])[:, None]
    noise = generator.normal(size=(6, LEVELS, COLUMNS))
    cloud = np.array([0.0, 1e-6, 2e-5, 5e-5, 1e-5])[:, None]
    return {
        "t": profile + noise[0],
        "q0001": humidity * np.exp(0.1 * noise[1]),
        "q0002": cloud * np.exp(0.2 * noise[2]),
        "q0003": cloud * np.exp(0.2 * noise[3]),
        "u": 10 + 3 * noise[4],
        "v": 2 * noise[5],
    }


@dataclass
class ToyHost:
    kill_at_step: int | None = None
    bad_at_step: int | None = None
    interrupt_at_step: int | None = None
    name: str = "toy"
    source: str = "analytic toy"
    dt: float = DT
    grid: ColumnGrid = field(default_factory=toy_grid)
    start_date: DatetimeNoLeap = field(default_factory=lambda: DatetimeNoLeap(1, 1, 30))

    def __post_init__(self):
        self.state = start_state()
        self.fluxes = np.full(COLUMNS, 50.0)
        self.step_number = 0
        self.calls = {"physics": 0, "step_physics": 0, "step_emulated": 0}

    @property
    def date(self):
        return self.start_date + timedelta(seconds=self.dt * self.step_number)

    def inputs(self):
        column = np.arange(COLUMNS)
        surface_pressure = 1.0e5 - 900.0 * column
        cosine = np.cos(2 * np.pi * (self.step_number * self.dt / 86400 + column / COLUMNS))
        fields = {f"state_{k}": x.copy() for k, x in self.state.items()}
        fields["state_ps"] = surface_pressure
        fields["state_pmid"] = self.grid.midpoint_pressure(surface_pressure)
        for gas, amount in (("ozone", 1e-6), ("CH4", 1.8e-6), ("N2O", 3e-7)):
            fields[f"pbuf_{gas}"] = np.full((LEVELS, COLUMNS), amount)
        fields["pbuf_COSZRS"] = np.maximum(cosine, 0.0)
        fields["pbuf_SOLIN"] = 1361.0 * fields["pbuf_COSZRS"]
        fields["pbuf_LHFLX"] = self.fluxes
        land = (column % 3 == 0).astype(float)
        fields["cam_in_LANDFRAC"], fields["cam_in_ICEFRAC"] = land, 0.0 * land
        fields["cam_in_OCNFRAC"] = 1.0 - land
        fields["cam_in_LWUP"] = 5.67e-8 * self.state["t"][-1] ** 4
        for name in SCALARS_IN:
            fields.setdefault(name, np.full(COLUMNS, 0.1))
        return fields

    def _physics(self, inputs):
        target = np.array([215.0, 212.0, 236.0, 266.0, 288.0])[:, None]
        hours = 3600.0
        tendencies = {
            "ptend_t": (target - inputs["state_t"]) / (30 * hours),
            "ptend_q0001": -inputs["state_q0001"] / (200 * hours),
            "ptend_q0002": -inputs["state_q0002"] / (300 * hours),
            "ptend_q0003": -inputs["state_q0003"] / (250 * hours),
            "ptend_u": -inputs["state_u"] / (80 * hours),
            "ptend_v": -inputs["state_v"] / (90 * hours),
        }
        mass = layer_mass(self.grid.interface_pressure(inputs["state_ps"]), E3SM)
        rain = -sum(tendencies[f"ptend_q000{i}"] * mass for i in (1, 2, 3)).sum(axis=0) / 1000.0
        sun = 0.7 * inputs["pbuf_SOLIN"]
        surface = {"cam_out_NETSW": sun, "cam_out_FLWDS": 0.8 * inputs["cam_in_LWUP"]}
        surface |= {"cam_out_PRECC": rain, "cam_out_PRECSC": 0.1 * rain}
        for name in SCALARS_OUT:
            surface.setdefault(name, 0.2 * sun)
        return tendencies, surface

    def physics(self):
        self.calls["physics"] += 1
        inputs = self.inputs()
        return StepResult(self.date, inputs, *self._physics(inputs))

    def step_physics(self):
        self.calls["step_physics"] += 1
        tendencies, surface = self._physics(self.inputs())
        diagnostics = {"FLUT": np.full(COLUMNS, 240.0), "PHIS": np.arange(COLUMNS) * 500.0}
        return self._advance(tendencies, surface, diagnostics)

    def step_emulated(self, tendencies, surface):
        self.calls["step_emulated"] += 1
        return self._advance(tendencies, surface, {"PHIS": np.arange(COLUMNS) * 500.0})

    def _advance(self, tendencies, surface, diagnostics):
        if self.step_number == self.kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.step_number == self.interrupt_at_step:
            os.kill(os.getpid(), signal.SIGINT)
        result = StepResult(self.date, self.inputs(), tendencies, surface, diagnostics)
        for key in PROFILES:
            after = self.state[key] + self.dt * tendencies[f"ptend_{key}"]
            self.state[key] = 0.98 * after + 0.02 * np.roll(after, 1, axis=1)
        self.fluxes = 40.0 + 1.0e6 * surface["cam_out_PRECC"]
        if self.step_number == self.bad_at_step:
            self.state["t"][3, 2] = 511.5
        self.step_number += 1
        return result

    def health(self):
        bad = np.argwhere(~((self.state["t"] > 130) & (self.state["t"] < 360)))
        if not bad.size:
            return None
        level, column = (int(i) for i in bad[0])
        value = float(self.state["t"][level, column])
        return HealthReport("T", column, level, value, (130.0, 360.0))

    def perturb(self, seed, amplitude, *, humidity=0.0, wind=0.0, cloud=0.0):
        noise = np.random.default_rng(seed).normal(size=(5, LEVELS, COLUMNS))
        self.state["t"] = self.state["t"] + amplitude * noise[0]
        self.state["q0001"] = self.state["q0001"] * (1 + humidity * noise[1])
        self.state["u"] = self.state["u"] + wind * noise[2]
        self.state["v"] = self.state["v"] + wind * noise[3]
        for name in ("q0002", "q0003"):
            self.state[name] = self.state[name] * np.exp(cloud * noise[4])

    def set_date(self, date):
        self.start_date += date - self.date

    def save(self, path: Path):
        begun = self.start_date.timetuple()[:6]
        with path.open("wb") as stream:
            np.savez(stream, step=self.step_number, begun=begun, fluxes=self.fluxes, **self.state)

    def restore(self, path: Path):
        with np.load(path) as file:
            self.step_number, self.fluxes = int(file["step"]), file["fluxes"]
            self.start_date = DatetimeNoLeap(*(int(part) for part in file["begun"]))
            self.state = {k: file[k] for k in PROFILES}


def kill_a_run(config, step):
    """Run the toy host in a process of its own that kill -9 ends at a step."""
    # Spawned, not forked: a fork of a process that holds JAX's threads may hang.
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(config, step))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _run(config, step):
    run_online(config, host=ToyHost(kill_at_step=step))
