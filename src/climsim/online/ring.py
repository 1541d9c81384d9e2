"""The last day of a run, step by step and in full, kept for the case that it ends badly.

Its steps stay in memory, and go to a file of one slot per step of a day when a run stops or becomes
unstable: most runs never need them, and to write them all would be 40 GB a year at T10. A run that
resumes finds those before it in the file; after a kill -9 it has those since its restart point.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from climsim.arrays import Array, namespace, to_numpy
from climsim.constants import SECONDS_PER_DAY
from climsim.files import readable_error
from climsim.grid import ColumnGrid
from climsim.hosts.base import StepResult
from climsim.hosts.members import columns_of
from climsim.netcdf import write_netcdf
from climsim.online.history import grid_variables
from climsim.variables import OUTPUTS, PROGNOSTIC, SCALARS_IN, variable

CONTENT = (*PROGNOSTIC, *OUTPUTS.profiles, *SCALARS_IN, *OUTPUTS.scalars)
"""What is kept of each step: state before physics, tendencies and scalars as applied."""

_BYTES = 4
_MOST_WAITING = 2**31
"""Memory that the steps of the last day may take up, of the process or of its device [bytes]."""


def kept_rows(result: StepResult) -> list[Array]:
    """What is kept of a step, (row, column) float32 each, where its fields are.

    They are the fields of `CONTENT`, one after another, profiles from the top.
    """
    fields = {**result.inputs, **result.tendencies, **result.surface}
    rows = [x if x.ndim == 2 else x[None, :] for x in (fields[name] for name in CONTENT)]
    xp = namespace(*rows)
    return [xp.astype(x, xp.float32, copy=False) for x in rows]


class LastDay:
    """A circular file of the steps of one day.

    Args:
        path: of the file; created if missing.
        grid: the host's columns.
        dt: time step [s].

    Raises:
        ClimSimError: if the disk has no room for it.
    """

    def __init__(self, path: Path, grid: ColumnGrid, dt: float) -> None:
        self.path, self.grid, self.dt = path, grid, dt
        self.slots = max(1, round(SECONDS_PER_DAY / dt))
        levels = grid.n_levels
        sizes = [levels if variable(n).profile else 1 for n in CONTENT]
        self._shape = (sum(sizes), grid.n_columns)
        ends = np.cumsum(sizes)
        self._rows = {
            name: slice(int(end) - size, int(end))
            for name, size, end in zip(CONTENT, sizes, ends, strict=True)
        }
        self._slot_bytes = 8 + 4 * self._shape[0] * self._shape[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # All of it now, so that a disk too small is found before the run, not in its midst.
            os.posix_fallocate(self._file, 0, self.slots * self._slot_bytes)
        except OSError as error:
            os.close(self._file)
            raise readable_error(error, path) from error

    def write(self, step: int, rows: Array) -> None:
        """Keep one step; the step a day earlier gives way.

        Args:
            step: its number, 0 for the first of the run.
            rows: what it saw and did, (row, column), see `kept_rows`.
        """
        # The number is stored plus one: an empty slot reads 0.
        number = np.int64(step + 1).tobytes()
        values = np.ascontiguousarray(rows, dtype=np.float32).data.cast("B")
        os.pwritev(self._file, [number, values], (step % self.slots) * self._slot_bytes)

    def read(self, last: int) -> tuple[list[int], Array]:
        """Read the steps of the day that ends with a step.

        Returns:
            Numbers of the steps, ascending, and (step, row, column) float32.
        """
        found = {}
        for slot in range(self.slots):
            data = os.pread(self._file, self._slot_bytes, slot * self._slot_bytes)
            if len(data) < self._slot_bytes:
                continue
            step = int(np.frombuffer(data[:8], dtype=np.int64)[0]) - 1
            if max(-1, last - self.slots) < step <= last:
                found[step] = np.frombuffer(data[8:], dtype=np.float32).reshape(self._shape)
        steps = sorted(found)
        blocks = [found[s] for s in steps]
        return steps, np.stack(blocks) if blocks else np.empty((0, *self._shape), np.float32)

    def dump(self, path: Path, last: int, attributes: Mapping[str, str]) -> Path:
        """Write the day that ends with a step as netCDF.

        Args:
            path: of the file.
            last: number of the last step.
            attributes: global attributes.

        Returns:
            The path.
        """
        steps, blocks = self.read(last)
        variables = grid_variables(self.grid)
        variables["step"] = ("time", steps, {"long_name": "steps since the start of the run"})
        for name, rows in self._rows.items():
            about = {"units": variable(name).unit, "long_name": variable(name).long_name}
            block = blocks[:, rows]
            if variable(name).profile:
                variables[name] = (("time", "lev", "ncol"), block, about)
            else:
                variables[name] = (("time", "ncol"), block[:, 0], about)
        write_netcdf(xr.Dataset(variables, attrs=dict(attributes)), path)
        return path

    def close(self, delete: bool = False) -> None:
        """Close the file, and remove it if it is no longer needed."""
        os.close(self._file)
        if delete:
            self.path.unlink(missing_ok=True)


class LastDays:
    """The last days of the members of a run, whose columns lie side by side.

    Steps stay where they were computed, in memory or on a device, until `settle` writes them; a day
    at most, as later steps take the place of earlier ones.

    Args:
        files: of the members.
    """

    def __init__(self, files: Sequence[LastDay]) -> None:
        self.files = tuple(files)
        self._waiting: list[tuple[int, Array, tuple[int, ...]]] = []

    def add(self, step: int, result: StepResult, members: Collection[int]) -> None:
        """Keep one step.

        Args:
            step: its number, 0 for the first of the run.
            result: what it saw and did.
            members: that are still under way.
        """
        rows = kept_rows(result)
        block = namespace(*rows).concat(rows, axis=0)
        self._waiting.append((step, block, tuple(members)))
        del self._waiting[: -self.files[0].slots]
        if len(self._waiting) * _BYTES * math.prod(block.shape) > _MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        for step, block, members in waiting:
            values = to_numpy(block)
            for index in members:
                columns = columns_of(index, len(self.files), values.shape[1])
                self.files[index].write(step, values[:, columns])
