"""The climate of a host's own physics beside published statistics of E3SM-MMF.

A run of full physics accumulates global and zonal means; the table says where they stand, and
whether they are within the aims of the embedded model.
"""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from climsim.constants import SECONDS_PER_DAY, STEPS_PER_DAY
from climsim.errors import ClimSimError
from climsim.files import atomic_path
from climsim.hosts import build_host
from climsim.hosts.base import StepResult
from climsim.hosts.gcm.host import GcmHost
from climsim.physics.thermodynamics import midpoint_heights, tropopause_level
from climsim.products import Kind, archived, claim

__all__ = ["ClimateConfig", "run_climate"]
_log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
HOST: Final = "gcm"
_MM_PER_DAY: Final = 1000.0 * SECONDS_PER_DAY
_TROPICS: Final = 20.0
"""Latitude that bounds the tropics of the tropopause [degrees]."""
_PROFILES: Final = ("state_t", "state_q0001", "state_q0002", "state_q0003", "state_u", "state_v")
_INPUTS: Final = ("pbuf_LHFLX", "pbuf_SHFLX", "cam_in_LWUP", "pbuf_TAUX", "pbuf_SOLIN")
_SHOWN: Final = (2.0, 95.0, 218.0, 363.0, 532.0, 702.0, 830.0, 921.0, 993.0)
"""Levels of the table [hPa]."""
_HPA: Final = 100.0


@dataclass(frozen=True)
class Aim:
    """How near the climate shall be to the reference.

    Attributes:
        variable: name in the statistics.
        levels: first and last pressure it holds between [hPa], or None for a scalar.
        kind: `difference`, `ratio` (a factor) or `share` (of the reference).
        limit: largest deviation.
    """

    variable: str
    levels: tuple[float, float] | None
    kind: str
    limit: float

    def deviation(self, value: float, reference: float) -> float:
        """How far a mean is from the reference, to be compared with the limit."""
        if self.kind == "ratio":
            return max(value / reference, reference / value)
        gap = abs(value - reference)
        return gap / abs(reference) if self.kind == "share" else gap


AIMS: Final = (
    Aim("state_t", (90.0, 370.0), "difference", 8.0),
    Aim("state_t", (525.0, 1000.0), "difference", 4.0),
    Aim("state_q0001", (210.0, 225.0), "ratio", 3.0),
    Aim("state_q0001", (825.0, 1000.0), "share", 0.12),
    Aim("cam_out_PRECC", None, "share", 0.15),
    Aim("pbuf_LHFLX", None, "share", 0.15),
    Aim("cam_out_FLWDS", None, "difference", 12.0),
    Aim("cam_out_NETSW", None, "difference", 12.0),
)
TROPOPAUSE_AIM: Final = (80.0, 150.0)
"""Range of the tropical tropopause by the coupler's rule [hPa]."""


_MEANS, _STATE = "means.npz", "state.npz"
CLIMATE = Kind(
    "the folder of a measured climate",
    lambda folder: bool(archived(folder / _MEANS, ".npy")),
    is_folder=True,
    scaffold=(_STATE,),
)


@dataclass(frozen=True)
class ClimateConfig:
    """Which climate is measured for how long.

    Attributes:
        out: folder of the table (`climate.md`), the means (`means.npz`) and the figure.
        days: simulated days.
        reference: CSV with `file, variable, level, mean, std` of E3SM-MMF, see
            docs/embedded_model.md; None leaves the comparison out.
        host: name of the host; only the embedded model is measured.
        host_options: settings of the host, by key.
        checkpoint_days: simulated days between states that a killed run continues from.
    """

    out: Path
    days: int = 365
    reference: Path | None = None
    host: str = HOST
    host_options: dict[str, Any] = field(default_factory=dict)
    checkpoint_days: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        if self.reference is not None:
            object.__setattr__(self, "reference", Path(self.reference))
        if self.host != HOST:
            raise ClimSimError(f"host: expected {HOST}, found {self.host}")
        for key in ("days", "checkpoint_days"):
            if getattr(self, key) < 1:
                raise ClimSimError(f"{key}: expected 1 or more, found {getattr(self, key)}")


def run_climate(
    config: ClimateConfig, progress: Progress | None = None, host: GcmHost | None = None
) -> Path:
    """Run full physics, store its means, and write the table and the figure.

    Args:
        config: of the run.
        progress: called with (steps done, steps in all).
        host: one built before; None builds it.

    Returns:
        The table.

    Raises:
        ClimSimError: if the reference is missing, or the model became unstable.
    """
    claim(config.out, CLIMATE, {"reference": config.reference})
    if config.reference is not None and not config.reference.is_file():
        raise ClimSimError(f"reference: {config.reference}: no such file")
    if host is None:
        host = build_host(HOST, config.host_options)  # type: ignore[assignment]
    assert host is not None
    config.out.mkdir(parents=True, exist_ok=True)
    means, state = config.out / _MEANS, config.out / _STATE
    sums = _Sums(host)
    if means.exists() and state.exists():
        host.restore(state)
        sums.read(means)
    total, begun, first = config.days * STEPS_PER_DAY, time.perf_counter(), sums.count
    while sums.count < total:
        sums.add(host.step_physics())
        if sums.count % (config.checkpoint_days * STEPS_PER_DAY) == 0 or sums.count == total:
            _refuse_unhealthy(host, sums.count)
            host.save(state)
            sums.write(means)
        if progress is not None:
            progress(sums.count, total)
    taken = (time.perf_counter() - begun) / max(sums.count - first, 1)
    reference = read_statistics(config.reference) if config.reference else {}
    table = config.out / "climate.md"
    with atomic_path(table) as temporary:
        temporary.write_text(_document(sums, reference, host, taken))
    draw_sections(sums, reference, config.out / "climate.png")
    return table


def _refuse_unhealthy(host: GcmHost, steps: int) -> None:
    trouble = host.health()
    if trouble is not None:
        raise ClimSimError(
            f"climate: unstable on day {steps // STEPS_PER_DAY}: {trouble.variable} is "
            f"{trouble.value:g} in column {trouble.column}, expected {trouble.bounds}"
        )


class _Sums:
    """Sums over steps: level means and squares, scalars, zonal sections, the tropopause."""

    def __init__(self, host: GcmHost) -> None:
        self.grid, self.constants = host.grid, host.constants
        self.latitudes, self._row = np.unique(np.round(host.grid.lat, 6), return_inverse=True)
        self.sums: dict[str, np.ndarray] = {}
        self.count = 0

    def add(self, result: StepResult) -> None:
        """Count one step."""
        inputs, weights = result.inputs, self.grid.area_weights()
        now: dict[str, Any] = {}
        for name in _PROFILES:
            values = np.asarray(inputs[name], np.float64)
            now[f"mean/{name}"] = (weights * values).mean(axis=-1)
            now[f"square/{name}"] = (weights * values**2).mean(axis=-1)
            now[f"zonal/{name}"] = self._zonal(values)
        scalars = {name: inputs[name] for name in _INPUTS} | result.surface
        scalars |= {name: result.diagnostics[name] for name in ("FLUT", "FSNT", "CLDTOT")}
        for name, given in scalars.items():
            values = np.asarray(given, np.float64)
            now[f"mean/{name}"] = (weights * values).mean()
            now[f"square/{name}"] = (weights * values**2).mean()
        now["tropopause"] = np.asarray(self._tropopause(inputs))
        for name, value in now.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else np.asarray(value)
        self.count += 1

    def _zonal(self, values: np.ndarray) -> np.ndarray:
        """Mean over longitude, (level, latitude)."""
        return np.stack(
            [values[:, self._row == row].mean(axis=1) for row in range(len(self.latitudes))], axis=1
        )

    def _tropopause(self, inputs: dict[str, Any]) -> float:
        """Mean pressure of the coupler's tropopause in the tropics [hPa]."""
        chosen = np.abs(self.grid.lat) <= _TROPICS
        state = {name: np.asarray(inputs[name], np.float64) for name in _PROFILES[:2]}
        interfaces = self.grid.interface_pressure(np.asarray(inputs["state_ps"], np.float64))
        heights = midpoint_heights(
            state["state_t"], state["state_q0001"], interfaces, self.constants
        )
        pressure = np.asarray(inputs["state_pmid"], np.float64)
        level = tropopause_level(state["state_t"], heights, pressure, self.constants)
        found = pressure[level, np.arange(pressure.shape[1])][chosen]
        return float(found.mean() / _HPA)

    def mean(self, name: str) -> np.ndarray:
        """Time mean of an accumulated quantity."""
        return self.sums[name] / self.count

    def deviation(self, name: str) -> np.ndarray:
        """Standard deviation over columns and steps."""
        variance = self.mean(f"square/{name}") - self.mean(f"mean/{name}") ** 2
        return np.sqrt(np.maximum(variance, 0.0))

    def pressure(self) -> np.ndarray:
        """Pressure of the levels over a surface at 1000 hPa, (level,) [hPa]."""
        return np.asarray(self.grid.hyam + self.grid.hybm) * 1000.0

    def write(self, path: Path) -> None:
        """Store what has been summed."""
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            stored: dict[str, Any] = {"count": self.count, "latitudes": self.latitudes, **self.sums}
            np.savez(stream, **stored)

    def read(self, path: Path) -> None:
        """Continue from a stored file."""
        with np.load(path) as stored:
            self.count = int(stored["count"])
            names = [name for name in stored.files if name not in ("count", "latitudes")]
            self.sums = {name: stored[name] for name in names}


def read_statistics(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Mean and standard deviation by variable: (level,) of profiles, (1,) of scalars.

    A variable of both files of a step counts as it is before the physics, which comes first.
    """
    rows: dict[str, dict[int, tuple[float, float]]] = {}
    with path.open() as stream:
        for row in csv.DictReader(stream):
            mean, std = (float(row[key] or "nan") for key in ("mean", "std"))
            rows.setdefault(row["variable"], {}).setdefault(int(row["level"] or 0), (mean, std))
    return {
        name: {
            "mean": np.array([mean for _, (mean, _) in sorted(values.items())]),
            "std": np.array([std for _, (_, std) in sorted(values.items())]),
        }
        for name, values in rows.items()
    }


def check_aims(sums: Any, reference: dict[str, dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Each aim with its largest deviation and whether it is met."""
    pressure, checked = sums.pressure(), []
    for aim in AIMS:
        here = np.atleast_1d(sums.mean(f"mean/{aim.variable}"))
        there = reference[aim.variable]["mean"]
        chosen = np.arange(len(here))
        if aim.levels is not None:
            shown = [int(np.abs(pressure - level).argmin()) for level in _SHOWN]
            low, high = aim.levels
            chosen = np.array([k for k in shown if low <= pressure[k] <= high])
        gaps = [aim.deviation(float(here[k]), float(there[k])) for k in chosen]
        name = aim.variable if aim.levels is None else f"{aim.variable} {aim.levels} hPa"
        worst = max(gaps)
        checked.append({"aim": name, "kind": aim.kind, "limit": aim.limit, "worst": worst,
                        "met": bool(worst <= aim.limit)})  # fmt: skip
    height = float(sums.mean("tropopause"))
    low, high = TROPOPAUSE_AIM
    checked.append({"aim": "tropical tropopause [hPa]", "kind": "range", "limit": high,
                    "worst": height, "met": low <= height <= high})  # fmt: skip
    return checked


def _document(
    sums: _Sums, reference: dict[str, dict[str, np.ndarray]], host: GcmHost, seconds: float
) -> str:
    days = sums.count / STEPS_PER_DAY
    years = SECONDS_PER_DAY / (seconds * STEPS_PER_DAY * 365.0) if seconds else float("nan")
    lines = [
        f"Mean of {days:g} days until {host.date}: {host.source}.",
        f"{seconds:.3f} s a step, {years:.1f} simulated years a day.",
        "",
        "| variable | level | here | std | E3SM-MMF | std |",
        "|---|---|---|---|---|---|",
    ]
    pressure = sums.pressure()
    for name in sorted(key[5:] for key in sums.sums if key.startswith("mean/")):
        here, spread = np.atleast_1d(sums.mean(f"mean/{name}")), sums.deviation(name)
        there = reference.get(name)
        shown = [0] if len(here) == 1 else [int(np.abs(pressure - p).argmin()) for p in _SHOWN]
        for k in shown:
            level = "" if len(here) == 1 else f"{pressure[k]:.0f} hPa"
            beside = ("", "") if there is None else (there["mean"][k], there["std"][k])
            cells = (here[k], np.atleast_1d(spread)[k], *beside)
            numbers = (value if value == "" else f"{float(value):.3g}" for value in cells)
            lines.append(f"| {name} | {level} | " + " | ".join(numbers) + " |")
    if reference:
        lines += ["", "| aim | kind | limit | here | met |", "|---|---|---|---|---|"]
        for row in check_aims(sums, reference):
            lines.append(
                f"| {row['aim']} | {row['kind']} | {row['limit']:g} | {row['worst']:.3g} | "
                f"{'yes' if row['met'] else 'no'} |"
            )
        lines += ["", f"<!-- {json.dumps(check_aims(sums, reference))} -->"]
    return "\n".join(lines) + "\n"


def draw_sections(sums: _Sums, reference: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Zonal sections of temperature, wind and humidity, and profiles beside the reference."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    pressure = sums.pressure()
    panels = (
        ("state_t", "temperature [K]", 1.0),
        ("state_u", "eastward wind [m/s]", 1.0),
        ("state_q0001", "humidity [g/kg]", 1000.0),
    )
    for column, (name, title, scale) in enumerate(panels):
        axis = axes[0, column]
        filled = axis.contourf(
            sums.latitudes, pressure, scale * sums.mean(f"zonal/{name}"), levels=15
        )
        figure.colorbar(filled, ax=axis)
        axis.set(title=title, xlabel="latitude", yscale="log", ylim=(1000.0, 1.0))
        axis = axes[1, column]
        axis.plot(scale * sums.mean(f"mean/{name}"), pressure, label="here")
        if name in reference:
            axis.plot(scale * reference[name]["mean"], pressure, "--", label="E3SM-MMF")
        axis.set(xlabel=title, yscale="log", ylim=(1000.0, 1.0))
        axis.legend()
    for axis in axes[:, 0]:
        axis.set_ylabel("pressure [hPa]")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
