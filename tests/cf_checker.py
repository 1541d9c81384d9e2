"""The IOOS compliance checker, asked for the CF conventions."""

from __future__ import annotations

from pathlib import Path

import xarray
from compliance_checker.base import BaseCheck
from compliance_checker.suite import CheckSuite

from climsim.netcdf import write_netcdf

VERSION = "cf:1.11"


def violations(path: Path) -> list[str]:
    """What a netCDF file violates of the CF conventions: requirements, not recommendations."""
    if VERSION not in CheckSuite.checkers:
        CheckSuite.load_all_available_checkers()
    suite = CheckSuite()
    groups, errors = suite.run_all(suite.load_dataset(str(path)), [VERSION])[VERSION]
    found = [f"{name}: {error}" for name, error in errors.items()]
    for group in groups:
        if group.weight >= BaseCheck.HIGH and group.value[0] < group.value[1]:
            found += [f"{group.name}: {message}" for message in group.msgs]
    return found


def violations_of_metrics(path: Path, folder: Path) -> list[str]:
    """The same of a file of metrics, by a variable of every shape and one of every unit.

    Axes of labels (runs, outputs, surfaces) are left out: xarray selects by coordinates of strings,
    where CF knows numbers alone.
    """
    with xarray.open_dataset(path, decode_times=False) as metrics:
        shapes = {v.dims: name for name, v in metrics.data_vars.items()}
        units = {v.attrs.get("units"): name for name, v in metrics.data_vars.items()}
        labels = [n for n in metrics.dims if n in metrics.coords and metrics[n].dtype.kind in "OU"]
        few = (
            metrics[sorted({*shapes.values(), *units.values()})]
            .drop_vars(labels, errors="ignore")
            .load()
        )
    write_netcdf(few, folder / "few.nc")
    return violations(folder / "few.nc")
