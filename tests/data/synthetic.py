"""Small raw data with known, physically plausible values and all axes of different length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from climsim.calendar import seconds_of, to_date
from climsim.data.raw.steps import INPUT_VARIABLES, write_grid_info, write_step_pair
from climsim.data.store.splits import SplitConfig
from climsim.grid import ColumnGrid
from climsim.variables import PROGNOSTIC, SCALARS_OUT
from tests.grids import make_grid

START = seconds_of(1, 2, 27)
STEP = 1200
GAP = 17
"""Step that is missing in the record of the fixtures."""
OFFSETS = [i for i in range(48) if i != GAP]


def split_config(**changes) -> SplitConfig:
    """Three splits of a short record."""
    return SplitConfig(
        **{"train": 0.6, "validation": 0.2, "test": 0.2, "gap_days": 0.05, **changes}
    )


def make_step(grid: ColumnGrid, rng: np.random.Generator) -> tuple[dict, dict]:
    """One random step: ``before`` and ``after`` for `write_step_pair`."""
    shape = (grid.n_levels, grid.n_columns)
    ps = rng.uniform(9.5e4, 1.02e5, grid.n_columns)
    p = grid.midpoint_pressure(ps)
    before = {
        "state_t": 200 + 95 * (p / ps) ** 0.6 + rng.normal(0, 4, shape),
        "state_q0001": 1.5e-2 * (p / ps) ** 3 * rng.uniform(0.1, 1.0, shape) + 1e-6,
        "state_q0002": np.where(rng.random(shape) < 0.5, rng.uniform(0, 2e-4, shape), 0.0),
        "state_q0003": np.where(rng.random(shape) < 0.4, rng.uniform(0, 1e-4, shape), 0.0),
        "state_u": rng.normal(8, 12, shape),
        "state_v": rng.normal(0, 6, shape),
        "state_pmid": p,
        "pbuf_ozone": rng.uniform(2e-8, 8e-6, shape),
        "pbuf_CH4": rng.uniform(2e-7, 9e-7, shape),
        "pbuf_N2O": rng.uniform(1e-8, 5e-7, shape),
        "state_ps": ps,
    }
    ranges = {
        "pbuf_SOLIN": (0, 1300),
        "pbuf_LHFLX": (-20, 300),
        "pbuf_SHFLX": (-50, 100),
        "pbuf_TAUX": (-0.3, 0.3),
        "pbuf_TAUY": (-0.3, 0.3),
        "pbuf_COSZRS": (-0.9, 0.9),
        "cam_in_LWUP": (150, 500),
        "cam_in_SNOWHLAND": (0, 0.5),
        "cam_in_SNOWHICE": (0, 0.3),
        "cam_out_PRECSC": (0, 1e-8),
        "cam_out_PRECC": (0, 1e-7),
    }
    for name in INPUT_VARIABLES:
        if name not in before:
            before[name] = rng.uniform(*ranges.get(name, (0, 1)), grid.n_columns)
    before["cam_in_SNOWHICE"][::3] = 1e30
    scale = {"state_t": 0.5, "state_u": 0.5, "state_v": 0.5}
    after = {
        name: before[name] + rng.normal(0, scale[name], shape)
        if name in scale
        else before[name] * rng.uniform(0.8, 1.2, shape)
        for name in PROGNOSTIC
    }
    for name in SCALARS_OUT:
        after[name] = rng.uniform(*ranges.get(name, (0, 400)), grid.n_columns)
    return before, after


def write_record(
    folder: Path,
    steps: int | list[int],
    grid: ColumnGrid | None = None,
    seed: int = 0,
    start: int = START,
    time_step: float | None = STEP,
    emulated_processes: frozenset[str] = frozenset(),
) -> list[tuple[dict, dict]]:
    """Write steps (given as multiples of 20 minutes after the start) and the grid file."""
    grid = grid or make_grid()
    offsets = list(range(steps)) if isinstance(steps, int) else steps
    result = []
    for offset in offsets:
        before, after = make_step(grid, np.random.default_rng((seed, offset)))
        date = to_date(start + offset * STEP)
        about = {"source": "synthetic", "time_step": time_step}
        write_step_pair(
            folder, date, before, after, grid, **about, emulated_processes=emulated_processes
        )
        result.append((before, after))
    write_grid_info(folder / "ClimSim_low-res_grid-info.nc", grid, "synthetic")
    return result
