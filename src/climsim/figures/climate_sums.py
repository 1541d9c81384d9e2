"""What a run of full physics adds up: means, zonal sections, months, and what went in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from climsim.arrays import Array, Fields
from climsim.constants import DAYS_PER_YEAR, SECONDS_PER_DAY, TIME_STEP
from climsim.errors import ClimSimError
from climsim.files import atomic_path
from climsim.hosts.base import StepResult
from climsim.hosts.gcm.host import GcmHost
from climsim.physics.budgets import moist_energy, surface_radiation
from climsim.physics.columns import Columns
from climsim.physics.condensate import total_water
from climsim.physics.thermodynamics import midpoint_heights, tropopause_level

PROFILES: Final = (
    "state_t",
    "state_q0001",
    "state_q0002",
    "state_q0003",
    "state_u",
    "state_v",
)
_INPUTS: Final = ("pbuf_LHFLX", "pbuf_SHFLX", "cam_in_LWUP", "pbuf_TAUX", "pbuf_SOLIN")
_DIAGNOSTICS: Final = ("FLUT", "FSNT", "CLDTOT", "CLDLOW", "CLDHGH")
_TROPICS: Final = 20.0
"""Latitude that bounds the tropics of the tropopause [degrees]."""
_HPA: Final = 100.0
_MONTHS: Final = 12
_COUNT, _CHECKPOINTS, _SOURCE, _FLUX = "count", "checkpoints", "source", "pending"


@dataclass(frozen=True)
class Budget:
    """Whether the atmosphere gains what flows in, and how far a run drifted.

    Attributes:
        water: gain of water less evaporation plus precipitation [mm/day].
        energy: gain of energy less the fluxes through the top and the surface [W/m2].
        drift: gain of energy as warming of the whole column [K/year].
    """

    water: float
    energy: float
    drift: float


class Sums:
    """Sums over steps: level means and squares, scalars, zonal sections, the tropopause."""

    def __init__(self, host: GcmHost) -> None:
        """Begin with nothing.

        Args:
            host: gives grid and constants, and says what made the sums.
        """
        self.grid, self.constants, self.source = host.grid, host.constants, host.source
        self.latitudes, self._row = np.unique(np.round(host.grid.lat, 6), return_inverse=True)
        self.sums: dict[str, Array] = {}
        self.count = self.checkpoints = 0

    def add(self, result: StepResult) -> None:
        """Count one step."""
        inputs, now = result.inputs, {}
        for name in PROFILES:
            values = np.asarray(inputs[name], np.float64)
            now[f"mean/{name}"] = self._global(values)
            now[f"square/{name}"] = self._global(values**2)
            now[f"zonal/{name}"] = self._zonal(values)
        scalars = {name: inputs[name] for name in _INPUTS} | result.surface
        scalars |= {name: result.diagnostics[name] for name in _DIAGNOSTICS}
        for name, given in scalars.items():
            values = np.asarray(given, np.float64)
            now[f"mean/{name}"] = self._global(values)
            now[f"square/{name}"] = self._global(values**2)
        now["tropopause"] = np.asarray(self._tropopause(inputs))
        now |= self._month(now, result.date.month)
        for name, value in now.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self._balance(result)
        self.count += 1

    def _global(self, values: Array) -> Array:
        """Area mean over the columns, which are last."""
        return np.asarray((self.grid.area_weights() * values).mean(axis=-1))

    def _zonal(self, values: Array) -> Array:
        """Mean over longitude, (level, latitude)."""
        return np.stack(
            [values[:, self._row == row].mean(axis=1) for row in range(len(self.latitudes))], axis=1
        )

    @staticmethod
    def _month(now: Mapping[str, Array], month: int) -> dict[str, Array]:
        """The same means counted for their month alone, (month, ...)."""
        here = np.zeros(_MONTHS)
        here[month - 1] = 1.0
        means = {f"month/{k[5:]}": v for k, v in now.items() if k.startswith("mean/")}
        spread = {name: np.multiply.outer(here, value) for name, value in means.items()}
        return {**spread, "month/steps": here}

    def _tropopause(self, inputs: Fields) -> float:
        """Mean pressure of the coupler's tropopause in the tropics [hPa], where there is one."""
        state = {name: np.asarray(inputs[name], np.float64) for name in PROFILES[:2]}
        interfaces = self.grid.interface_pressure(np.asarray(inputs["state_ps"], np.float64))
        heights = midpoint_heights(
            state["state_t"], state["state_q0001"], interfaces, self.constants
        )
        pressure = np.asarray(inputs["state_pmid"], np.float64)
        level = tropopause_level(state["state_t"], heights, pressure, self.constants)
        chosen = (np.abs(self.grid.lat) <= _TROPICS) & (level >= 0)
        found = pressure[level, np.arange(pressure.shape[1])][chosen]
        return float(found.mean() / _HPA) if found.size else float("nan")

    def _balance(self, result: StepResult) -> None:
        """Keep what the atmosphere holds, first and last, and what flowed in between."""
        stock = self._stock(result)
        self.sums.setdefault("stock/first", stock)
        flowed = self.sums.get("stock/inflow", np.zeros_like(stock))
        self.sums["stock/inflow"] = flowed + self.sums.get(_FLUX, np.zeros_like(stock))
        self.sums["stock/last"] = stock
        self.sums[_FLUX] = TIME_STEP * self._inflow(result)

    def _stock(self, result: StepResult) -> Array:
        """Water [kg/m2], energy [J/m2] and heat capacity [J/m2/K] of the mean column.

        Energy is `sum((cp T + Lv q - Lf qi + (u2 + v2) / 2) dp/g) + phi_s ps/g`, potential energy
        included.
        """
        inputs = {name: np.asarray(v, np.float64) for name, v in result.inputs.items()}
        columns = Columns.between(self.grid.interface_pressure(inputs["state_ps"]), self.constants)
        energy = moist_energy(inputs, "state_", self.constants)
        energy += 0.5 * (inputs["state_u"] ** 2 + inputs["state_v"] ** 2)
        mass = columns.integral(np.ones_like(energy))
        ground = np.asarray(result.diagnostics["PHIS"], np.float64)
        lifted = ground * inputs["state_ps"] / self.constants.gravity
        stocks = (
            columns.integral(total_water(inputs, "state_")),
            columns.integral(energy) + lifted,
            self.constants.dry_air_heat_capacity * mass,
        )
        return np.stack([self._global(value) for value in stocks])

    def _inflow(self, result: StepResult) -> Array:
        """Flow of water [kg/m2/s] and energy [W/m2] into the mean column, and no capacity."""
        top = {n: np.asarray(v, np.float64) for n, v in result.diagnostics.items() if v.ndim == 1}
        surface = {name: np.asarray(v, np.float64) for name, v in result.surface.items()}
        constants, longwave_up = self.constants, np.asarray(result.inputs["cam_in_LWUP"])
        snow = constants.fusion_heat * constants.water_density * surface["cam_out_PRECSC"]
        energy = top["FSNT"] - top["FLUT"] - surface_radiation(surface, longwave_up)
        energy = energy + top["SHFLX"] + constants.vaporization_heat * top["QFLX"] + snow
        water = top["QFLX"] - constants.water_density * surface["cam_out_PRECC"]
        return np.stack([self._global(water), self._global(energy), np.asarray(0.0)])

    def mean(self, name: str) -> Array:
        """Time mean of an accumulated quantity."""
        return self.sums[name] / self.count

    def deviation(self, name: str) -> Array:
        """Standard deviation over columns and steps."""
        variance = self.mean(f"square/{name}") - self.mean(f"mean/{name}") ** 2
        return np.sqrt(np.maximum(variance, 0.0))

    def months(self, name: str) -> dict[int, Array]:
        """Mean of each month that was run, by its number."""
        steps, sums = self.sums["month/steps"], self.sums[f"month/{name}"]
        return {int(k) + 1: sums[k] / steps[k] for k in np.flatnonzero(steps)}

    def budget(self) -> Budget:
        """Residuals and drift between the first and the last step."""
        seconds = max(self.count - 1, 1) * TIME_STEP
        gained = self.sums["stock/last"] - self.sums["stock/first"]
        missing = (gained - self.sums["stock/inflow"]) / seconds
        warming = gained[1] / self.sums["stock/first"][2]
        return Budget(
            water=float(missing[0] * SECONDS_PER_DAY),
            energy=float(missing[1]),
            drift=float(warming * DAYS_PER_YEAR * SECONDS_PER_DAY / seconds),
        )

    def pressure(self) -> Array:
        """Pressure of the levels over a surface at 1000 hPa, (level,) [hPa]."""
        return np.asarray(self.grid.hyam + self.grid.hybm) * 1000.0

    def write(self, path: Path) -> None:
        """Store what has been summed."""
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            stored: dict[str, Any] = {
                "latitudes": self.latitudes,
                **self.sums,
                _COUNT: self.count,
                _CHECKPOINTS: self.checkpoints,
                _SOURCE: self.source,
            }
            np.savez(stream, **stored)

    def read(self, path: Path) -> None:
        """Continue from a stored file.

        Raises:
            ClimSimError: if other settings made it.
        """
        with np.load(path) as stored:
            source = str(stored[_SOURCE]) if _SOURCE in stored.files else "an older version"
            if source != self.source:
                raise ClimSimError(
                    f"{path}: expected means of {self.source}, found those of {source}: choose "
                    "the same host options, or another folder"
                )
            self.count, self.checkpoints = int(stored[_COUNT]), int(stored[_CHECKPOINTS])
            kept = set(stored.files) - {_COUNT, _CHECKPOINTS, _SOURCE, "latitudes"}
            self.sums = {name: stored[name] for name in kept}
