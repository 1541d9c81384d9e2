"""The climate of a host's own physics beside published statistics of E3SM-MMF.

A run of full physics accumulates global and zonal means; the table says where they stand, and
whether they are within the aims of the embedded model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from climsim.constants import DAYS_PER_YEAR, SECONDS_PER_DAY, STEPS_PER_DAY
from climsim.errors import ClimSimError
from climsim.figures.climate_aims import (
    Checked,
    Statistics,
    check_aims,
    read_statistics,
    shown_levels,
)
from climsim.figures.climate_sums import Sums
from climsim.figures.config import ClimateConfig
from climsim.files import atomic_path
from climsim.hosts.gcm import build_host
from climsim.hosts.gcm.host import GcmHost
from climsim.locks import LOCK_NAME, only_process
from climsim.products import Kind, archived, claim
from climsim.stage import Progress
from climsim.stepping import advance

__all__ = ["ClimateConfig", "run_climate"]
_MEANS, _TABLE = "means.npz", "climate.md"
_STATES: Final = ("state_0.npz", "state_1.npz")
"""Written in turn, so that the means always find the state that they belong to."""
_MONTHLY: Final = (
    "cam_out_PRECC",
    "pbuf_LHFLX",
    "pbuf_SHFLX",
    "cam_out_FLWDS",
    "cam_out_NETSW",
    "FSNT",
    "FLUT",
    "CLDTOT",
)
CLIMATE = Kind(
    "the folder of a measured climate",
    lambda folder: bool(archived(folder / _MEANS, ".npy")),
    is_folder=True,
    scaffold=_STATES,
)


def run_climate(
    config: ClimateConfig, progress: Progress | None = None, host: GcmHost | None = None
) -> Path:
    """Run full physics, store its means, and write the table and the figure.

    A run that was stopped continues; one that is complete writes its table and figure anew.

    Args:
        config: of the run.
        progress: called with (steps done, steps in all).
        host: one built before; None builds it.

    Returns:
        The table.

    Raises:
        ClimSimError: if the reference is missing, the model became unstable, the folder holds
            means of other settings or, with `gate`, an aim is missed.
    """
    claim(config.out, CLIMATE, {"reference": config.reference})
    if config.reference is not None and not config.reference.is_file():
        raise ClimSimError(f"reference: {config.reference}: no such file")
    lock = config.out / LOCK_NAME
    with only_process(lock, f"{config.out}: another process measures this climate"):
        return _run_climate(config, progress, host)


def _run_climate(config: ClimateConfig, progress: Progress | None, host: GcmHost | None) -> Path:
    """Measure a climate that no other process measures; its table."""
    host = build_host(config.host_options) if host is None else host
    config.out.mkdir(parents=True, exist_ok=True)
    sums, speed = Sums(host), None
    if (config.out / _MEANS).exists():
        sums.read(config.out / _MEANS)
    if sums.count < config.days * STEPS_PER_DAY:
        speed = _advance(config, host, sums, progress)
    reference = read_statistics(config.reference) if config.reference else {}
    checked = check_aims(sums, reference)
    table = config.out / _TABLE
    with atomic_path(table) as temporary:
        temporary.write_text("\n".join(_document(sums, reference, checked, speed)) + "\n")
    draw_sections(sums, reference, config.out / "climate.png")
    if config.gate:
        _require_all_met(checked, table)
    return table


def _require_all_met(checked: Sequence[Checked], table: Path) -> None:
    missed = [f"{row.aim} {row.found:.3g} (limit {row.limit})" for row in checked if not row.met]
    if missed:
        raise ClimSimError(
            f"{table}: {len(missed)} of {len(checked)} aims missed: " + "; ".join(missed)
        )


def _advance(config: ClimateConfig, host: GcmHost, sums: Sums, progress: Progress | None) -> float:
    """Run to the end, and give the seconds of a step."""
    interval, total = config.checkpoint_days * STEPS_PER_DAY, config.days * STEPS_PER_DAY
    if sums.count:
        host.restore(config.out / _STATES[sums.checkpoints % 2])
    begun, first = time.perf_counter(), sums.count
    advance(_Measurement(config.out, host, sums), total, interval, progress)
    return (time.perf_counter() - begun) / (total - first)


@dataclass(frozen=True)
class _Measurement:
    """Full physics whose steps are summed.

    Attributes:
        folder: of the means and the states.
        host: at the state after the steps summed.
        sums: over steps.
    """

    folder: Path
    host: GcmHost
    sums: Sums

    @property
    def steps_done(self) -> int:
        """Steps summed."""
        return self.sums.count

    def step(self) -> bool:
        """Sum one step."""
        self.sums.add(self.host.step_physics())
        return True

    def save(self) -> None:
        """Write the state, then the means that belong to it."""
        _refuse_unhealthy(self.host, self.sums.count)
        self.sums.checkpoints += 1
        self.host.save(self.folder / _STATES[self.sums.checkpoints % 2])
        self.sums.write(self.folder / _MEANS)


def _refuse_unhealthy(host: GcmHost, steps: int) -> None:
    trouble = host.health()
    if trouble is not None:
        raise ClimSimError(
            f"climate: unstable on day {steps // STEPS_PER_DAY}: {trouble.variable} is "
            f"{trouble.value:g} in column {trouble.column}, expected {trouble.bounds}"
        )


def _document(
    sums: Sums,
    reference: dict[str, Statistics],
    checked: list[Checked],
    seconds: float | None,
) -> Iterator[str]:
    """Lines of the table: speed, means beside the reference, months, aims."""
    yield f"Mean of {sums.count / STEPS_PER_DAY:g} days: {sums.source}."
    if seconds:
        years = SECONDS_PER_DAY / (seconds * STEPS_PER_DAY * DAYS_PER_YEAR)
        yield f"{seconds:.3f} s a step, {years:.1f} simulated years a day."
    yield from (
        "",
        "| variable | level | here | std | E3SM-MMF | std |",
        "|---|---|---|---|---|---|",
    )
    for name in sorted(key[5:] for key in sums.sums if key.startswith("mean/")):
        yield from _rows_of(name, sums, reference.get(name))
    months = {name: sums.months(name) for name in _MONTHLY}
    run = list(months[_MONTHLY[0]])
    yield from ("", f"| month | {' | '.join(map(str, run))} |", "|---" * (len(run) + 1) + "|")
    for name, values in months.items():
        yield f"| {name} | {' | '.join(f'{float(value):.3g}' for value in values.values())} |"
    yield from ("", "| aim | limit | here | met |", "|---|---|---|---|")
    for row in checked:
        yield f"| {row.aim} | {row.limit} | {row.found:.3g} | {'yes' if row.met else 'no'} |"


def _rows_of(name: str, sums: Sums, there: Statistics | None) -> Iterator[str]:
    pressure = sums.pressure()
    here, spread = np.atleast_1d(sums.mean(f"mean/{name}")), np.atleast_1d(sums.deviation(name))
    scalar = len(here) == 1
    for k in [0] if scalar else shown_levels(pressure):
        level = "" if scalar else f"{pressure[k]:.0f} hPa"
        beside = () if there is None else (there.mean[k], there.std[k])
        numbers = [f"{float(value):.3g}" for value in (here[k], spread[k], *beside)]
        yield f"| {name} | {level} | {' | '.join(numbers + [''] * (4 - len(numbers)))} |"


def draw_sections(sums: Sums, reference: dict[str, Statistics], path: Path) -> None:
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
            axis.plot(scale * reference[name].mean, pressure, "--", label="E3SM-MMF")
        axis.set(xlabel=title, yscale="log", ylim=(1000.0, 1.0))
        axis.legend()
    for axis in axes[:, 0]:
        axis.set_ylabel("pressure [hPa]")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
