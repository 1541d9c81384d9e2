"""The same short record as pairs of step files and as files of samples in Kaggle's layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from climsim.calendar import seconds_of, to_date
from climsim.data.raw.steps import write_grid_info, write_step_pair
from climsim.data.rows.forms import columns_of
from climsim.grid import ColumnGrid
from climsim.variables import KAGGLE_INPUTS, OUTPUTS, PROGNOSTIC
from tests.data.synthetic import make_step
from tests.grids import make_grid

FIRST = seconds_of(1, 2, 1)
SPACING = 8400


@dataclass(frozen=True)
class Record:
    """Steps as rows.

    Attributes:
        folder: with the step files and the grid file.
        grid: the columns and levels.
        inputs: (sample, feature) in the layout of `KAGGLE_INPUTS`.
        targets: (sample, feature) in the layout of `OUTPUTS`.
    """

    folder: Path
    grid: ColumnGrid
    inputs: np.ndarray
    targets: np.ndarray

    @property
    def levels(self) -> int:
        return self.grid.n_levels

    @property
    def grid_file(self) -> Path:
        return self.folder / "ClimSim_low-res_grid-info.nc"

    def table(self, prefix: str = "train") -> pa.Table:
        """Names, inputs and targets as the competition had them."""
        columns = columns_of(KAGGLE_INPUTS, self.levels) + columns_of(OUTPUTS, self.levels)
        values = np.concatenate([self.inputs, self.targets], axis=1)
        ids = [f"{prefix}_{k}" for k in range(len(values))]
        return pa.table([ids, *map(pa.array, values.T)], names=["sample_id", *columns])


def make_record(folder: Path, steps: int = 9, grid: ColumnGrid | None = None) -> Record:
    """Write the step files and the grid file, and give the same values as rows."""
    grid = grid or make_grid()
    inputs, targets = [], []
    for k in range(steps):
        before, after = make_step(grid, np.random.default_rng((5, k)))
        before["cam_in_LANDFRAC"] = np.linspace(0, 1, grid.n_columns) ** 2
        before["cam_in_SNOWHICE"] = np.zeros(grid.n_columns)
        write_step_pair(
            folder, to_date(FIRST + k * SPACING), before, after, grid, source="x", time_step=1200
        )
        changes = {n.replace("state", "ptend"): (after[n] - before[n]) / 1200 for n in PROGNOSTIC}
        inputs.append(_rows(before, KAGGLE_INPUTS.names))
        targets.append(_rows({**after, **changes}, OUTPUTS.names))
    record = Record(folder, grid, np.concatenate(inputs), np.concatenate(targets))
    write_grid_info(record.grid_file, grid, "x")
    return record


def _rows(fields: dict, names: tuple[str, ...]) -> np.ndarray:
    return np.concatenate([np.atleast_2d(fields[name]) for name in names]).T


def write_form(record: Record, folder: Path, form: str) -> tuple[Path, str]:
    """Write a record in one form; gives `raw` and `outputs` of its preparation."""
    path = folder / f"train.{form}"
    table = record.table()
    if form == "npy":
        np.save(path, record.inputs.astype("f4"))
        np.save(folder / "targets.npy", record.targets.astype("f4"))
        return path, str(folder / "targets.npy")
    if form == "h5":
        with netCDF4.Dataset(path, "w") as file:
            for name, values in (("input", record.inputs), ("output", record.targets)):
                for axis, size in enumerate(values.shape):
                    file.createDimension(f"{name}_{axis}", size)
                file.createVariable(name, "f8", (f"{name}_0", f"{name}_1"))[:] = values
    elif form == "parquet":
        parquet.write_table(table, path, row_group_size=13)
    else:
        with (
            pa.CompressedOutputStream(str(path), "gzip")
            if form == "csv.gz"
            else path.open("wb") as stream
        ):
            csv.write_csv(table, stream)
    return path, ""
