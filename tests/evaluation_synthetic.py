"""Synthetic stores, run folders and metrics with known properties and unequal axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from climsim.data.store import Layout, Store, create_arrays, open_store
from climsim.grid import ColumnGrid
from climsim.variables import DOOR_OUTPUTS, DOOR_V2, SCALARS_OUT, variable


def make_grid(columns: int = 11, levels: int = 6) -> ColumnGrid:
    """Columns from pole to pole with unequal areas; levels from 2 hPa to the surface."""
    sigma = np.linspace(0, 1, levels + 1) ** 1.5
    hybi = np.maximum(0.0, sigma - 0.1) / 0.9 * sigma
    hyai = np.maximum(sigma - hybi, 0.002 * (1 - sigma))
    lat = np.linspace(-88, 86, columns)
    area = np.cos(np.deg2rad(lat)) + 0.05 * np.random.default_rng(3).uniform(1, 2, columns)
    return ColumnGrid(
        lat=lat,
        lon=np.mod(np.arange(columns) * 137.5, 360.0),
        area=area / area.sum() * 4 * np.pi,
        hyam=0.5 * (hyai[1:] + hyai[:-1]),
        hybm=0.5 * (hybi[1:] + hybi[:-1]),
        hyai=hyai,
        hybi=hybi,
    )


SCALES = {
    "ptend_t": 5e-5, "ptend_q0001": 3e-8, "ptend_q0002": 1e-9, "ptend_q0003": 1e-9,
    "ptend_u": 1e-5, "ptend_v": 1e-5, "cam_out_PRECC": 3e-8, "cam_out_PRECSC": 2e-9,
}  # fmt: skip


def write_store(path: Path, steps: int = 10, columns: int = 7, levels: int = 6) -> Store:
    """A store whose last steps are the test split; cloud tendencies vanish on the top two levels.

    Steps 0 and 1 lack memory.
    """
    grid = make_grid(columns, levels)
    rng = np.random.default_rng(5)
    split = np.where(np.arange(steps) < steps // 3, 0, 2).astype(np.int8)
    memory = np.minimum(np.arange(steps), 2).astype(np.int8)
    names = (*DOOR_V2.names, *(n for n in DOOR_OUTPUTS.names if n not in DOOR_V2.names))
    times = np.arange(steps) * 1200
    create_arrays(path, grid, times, split, memory, Layout(block_steps=4), names)
    group = zarr.open_group(path, mode="r+")
    for name in names:
        shape = (steps, columns, *((levels,) if variable(name).profile else ()))
        values = rng.normal(0, SCALES.get(name, 1.0), shape)
        if name == "state_ps":
            values = rng.uniform(9e4, 1.02e5, shape)
        elif name in SCALARS_OUT:
            values = np.abs(values)
        elif name in ("ptend_q0002", "ptend_q0003"):
            values[..., :2] = 0.0
        group[name][...] = values.astype(np.float32)
    group.attrs["fingerprint"] = f"synthetic-{steps}-{columns}-{levels}"
    return open_store(path)


@dataclass(frozen=True)
class LinearModel:
    """A model with known errors: outputs are a fixed random linear map of scaled inputs."""

    n_levels: int
    door: str = "v2"

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        size = DOOR_OUTPUTS.size(self.n_levels)
        rng = np.random.default_rng(11)
        matrix = rng.normal(0, 1, (inputs.shape[1], size)) / 1e5
        scale = np.empty(size)
        for name, where in DOOR_OUTPUTS.slices(self.n_levels).items():
            scale[where] = SCALES.get(name, 1.0)
        return (np.tanh(inputs @ matrix) * scale).astype(np.float32)
