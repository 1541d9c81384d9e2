"""Spin the embedded model up from its analytic start state and store a restart file.

Usage: `python -m climsim.online.hosts.gcm.spinup days=275 out=spinup.npz start=0001-04-01`.
The run stores its whole state every ten days beside the result and continues from there.
"""

from __future__ import annotations

import datetime
import logging
import sys
import time
from pathlib import Path
from typing import Any

import cftime
import numpy as np

from climsim.constants import STEPS_PER_DAY, TIME_STEP
from climsim.errors import ClimSimError
from climsim.online.hosts.gcm import dynamics
from climsim.online.hosts.gcm.compilation import cache_root, enable_compilation_cache
from climsim.online.hosts.gcm.grid import model_coordinates
from climsim.online.hosts.gcm.physics import full_physics
from climsim.online.hosts.gcm.restart import (
    Restart,
    essential,
    named_leaves,
    parse_date,
    read_restart,
    with_leaves,
    write_restart,
)

logger = logging.getLogger(__name__)

CHECKPOINT_DAYS = 10


def spin_up(
    days: int,
    out: Path,
    *,
    start: cftime.DatetimeNoLeap,
    resolution: str = "T10",
    advection: str = "eulerian",
    radiation: str = "grey",
    cache_folder: Path,
) -> None:
    """Run the full model for some days from the analytic start and write a restart file.

    Args:
        days: length of the run.
        out: the restart file; `<out>.checkpoint` holds the state reached so far.
        start: date of the analytic state.
        resolution: key of `RESOLUTIONS`.
        advection: transport scheme.
        radiation: radiation scheme.
        cache_folder: compiled programs and regridded boundary data.
    """
    import jax

    configuration = {"resolution": resolution, "advection": advection, "radiation": radiation}
    enable_compilation_cache(cache_folder / "jax")
    coordinates = model_coordinates(resolution)
    physics = full_physics(coordinates, radiation)
    core = dynamics.build_core(resolution, physics, advection, cache_folder, coordinates)
    state, carry = dynamics.initial_state(core)
    date, step_number = start, 0

    checkpoint = out.with_name(out.name + ".checkpoint")
    if checkpoint.exists():
        stored = read_restart(checkpoint)
        if stored.configuration != configuration:
            raise ClimSimError(
                f"{checkpoint}: expected {configuration}, found {stored.configuration}; "
                "delete it to start anew"
            )
        state = dynamics.strong_types(with_leaves(state, "state", stored.arrays, True))
        carry = dynamics.strong_types(with_leaves(carry, "carry", stored.arrays, False))
        date, step_number = stored.date, stored.step_number
        logger.info("continue from day %d", step_number // STEPS_PER_DAY)

    def step(state: Any, carry: Any, forcing: Any, day: Any, second: Any) -> tuple[Any, Any, Any]:
        now = forcing.select(dynamics.date_data(day, second))
        done = dynamics.run_physics(core, state, carry, now)
        state, between = dynamics.advance(core, state, done)
        carry = physics.record_post_physics_state(done.carry, between)
        return state, carry, done.state

    compiled = jax.jit(step)
    last = days * STEPS_PER_DAY
    began = time.monotonic()
    while step_number < last:
        state, carry, grid_state = compiled(state, carry, core.forcing, *dynamics.clock(date))
        date += datetime.timedelta(seconds=TIME_STEP)
        step_number += 1
        if step_number % STEPS_PER_DAY == 0:
            day = step_number // STEPS_PER_DAY
            log_day(day, grid_state, carry, core, time.monotonic() - began)
            if day % CHECKPOINT_DAYS == 0 or step_number == last:
                arrays = {
                    name: np.asarray(leaf)
                    for name, leaf in (
                        named_leaves(state, "state") | named_leaves(carry, "carry")
                    ).items()
                }
                restart = Restart(arrays, date, step_number, configuration)
                write_restart(checkpoint, restart)
    write_restart(out, essential(read_restart(checkpoint)), compress=True)


def log_day(day: int, grid_state: Any, carry: Any, core: Any, elapsed: float) -> None:
    """Log global means of the last step of a day; refuse a state that is not physical."""
    weights = np.asarray(core.coordinates.horizontal.quadrature_weights, dtype=np.float64)
    weights = np.broadcast_to(weights, core.coordinates.horizontal.nodal_shape).ravel()
    weights = weights / weights.sum()
    mass = np.asarray(carry["pressure_thickness"], dtype=np.float64) / 9.80665

    def columns(values: Any) -> np.ndarray:
        return np.asarray(values, dtype=np.float64).reshape(-1, weights.size)

    water = (columns(grid_state.specific_humidity) * mass).sum(0) @ weights
    cloud = sum((columns(grid_state.tracers[k]) * mass).sum(0) @ weights for k in ("qc", "qi"))
    radiation = carry["radiation"]
    temperature = columns(grid_state.temperature)
    logger.info(
        "day %d PW %.2f CWP %.4f T %.1f..%.1f Tlow %.2f u %.1f OLR %.1f ASR %.1f (%.0f s)",
        day,
        water,
        cloud,
        temperature.min(),
        temperature.max(),
        temperature[-1] @ weights,
        np.abs(columns(grid_state.u_wind)).max(),
        np.asarray(radiation.toa_lw_up) @ weights,
        (np.asarray(radiation.toa_sw_down) - np.asarray(radiation.toa_sw_up)) @ weights,
        elapsed,
    )
    if not np.isfinite(temperature).all() or temperature.min() < 130 or temperature.max() > 360:
        raise ClimSimError(f"spin-up: unstable on day {day}")


def main(arguments: list[str]) -> None:
    """Parse `key=value` arguments and run."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("jax").setLevel(logging.WARNING)
    options = dict(argument.split("=", 1) for argument in arguments)
    spin_up(
        days=int(options.pop("days")),
        out=Path(options.pop("out")),
        start=parse_date(options.pop("start", "0001-04-01") + " 00:00:00"),
        cache_folder=Path(options.pop("cache_folder", cache_root())),
        **options,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
