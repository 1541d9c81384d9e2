"""Metrics as they were saved: opened in one place, never without their checksum."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray

from climsim.integrity import check_netcdf

_FORMER = {"height": "layer"}
"""Axes of older files: CF keeps the name of the former one for a coordinate in metres."""


@contextmanager
def open_metrics(path: str | Path) -> Iterator[xarray.Dataset]:
    """Open a file of metrics for as long as a block lasts, its content checked.

    Times and intervals stay the numbers that they are in the file.

    Raises:
        ClimSimError: if it cannot be read, or was changed since it was written.
    """
    check_netcdf(path)
    with xarray.open_dataset(
        path, engine="netcdf4", decode_times=False, decode_timedelta=False
    ) as dataset:
        yield dataset.rename({old: new for old, new in _FORMER.items() if old in dataset.dims})
