"""Monthly means of a run as CMIP's tools expect them: one variable a file, named by its table.

Files follow the CF conventions and the naming of CMIP6 (``ta_Amon_<source>_<case>_r1i1p1f1_gn_``
``000101-000112.nc``), on the run's own columns. Profiles lie on the levels of the model or are
interpolated to pressure.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import cftime
import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.arrays import Array, Fields
from climsim.calendar import CALENDAR, TIME_UNITS, to_date, to_seconds
from climsim.constants import E3SM, SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.evaluation.cmor_table import CMOR_VARIABLES, PLEV19, CmorVariable
from climsim.evaluation.config import CmorConfig
from climsim.evaluation.history import Period, RunHistory
from climsim.files import atomic_path, provenance, write_json
from climsim.grid import ColumnGrid
from climsim.names import as_name
from climsim.netcdf import write_netcdf
from climsim.online.fields import PressureInterpolation
from climsim.products import LISTED, Kind, claim, listed
from climsim.stage import Progress

logger = logging.getLogger(__name__)
_NOTE, _VARIANT, _MISSING = "cmor.json", "r1i1p1f1", np.float32(1e20)
_DAYS = "days since 0001-01-01"
_HEIGHT, _TEMPERATURE = "Z3", "T"
_INTERPOLATED = "monthly mean, interpolated linearly in the logarithm of the monthly mean pressure"
_MISSING_OUTSIDE = "missing below the surface and above the highest level"


def _kind_of(folder: Path) -> Kind:
    """Files of other models look just like those that an earlier call wrote."""
    return listed("a folder of monthly means for CMIP's tools", folder, _NOTE, "git_revision")


def write_cmor(config: CmorConfig, progress: Progress | None = None) -> Path:
    """Write the whole months of a run, one file for each variable, in place of an older folder.

    Args:
        config: run and variables.
        progress: called with (variables done, variables in all).

    Returns:
        The folder.

    Raises:
        ClimSimError: if the run holds no whole month or lacks a variable that was asked for.
    """
    claim(config.out, _kind_of(config.out), {"run": config.run})
    run = RunHistory.open(config.run)
    months = [period for period in run.periods("h0") if _is_month(period)]
    if not months:
        raise ClimSimError(
            f"{config.run}: no whole month among its monthly means (*.eam.h0.*.nc): expected one "
            "at least: run for a month or longer"
        )
    wanted = _held(run, config)
    note = provenance(asdict(config), {})
    first, last = (to_date(m) for m in (months[0][0], months[-1][0]))
    span = f"{first.year:04d}{first.month:02d}-{last.year:04d}{last.month:02d}"
    end = f"Amon_{as_name(config.source)}_{_case(run)}_{_VARIANT}_gn_{span}.nc"
    # A folder whole, or none: files of another call would not be those that its note describes.
    with atomic_path(config.out) as folder:
        folder.mkdir()
        write_json(folder / _NOTE, {**note, LISTED: [f"{v.name}_{end}" for v in wanted]})
        for done, variable in enumerate(wanted, start=1):
            dataset = cmor_dataset(run, months, variable, config.levels == "plev19")
            dataset.attrs |= _attributes(config, run, variable, note)
            write_netcdf(dataset, folder / f"{variable.name}_{end}", unlimited_dims=["time"])
            if progress is not None:
                progress(done, len(wanted))
    return config.out


def _is_month(period: Period) -> bool:
    """Whether a mean is over one whole month."""
    start, end = (to_date(seconds) for seconds in period)
    whole = all(to_seconds(d) % SECONDS_PER_DAY == 0 and d.day == 1 for d in (start, end))
    return whole and (end - timedelta(days=1)).month == start.month and (end - start).days < 32


def _held(run: RunHistory, config: CmorConfig) -> list[CmorVariable]:
    """The variables to write."""
    held, asked = [], config.variables or tuple(CMOR_VARIABLES)
    for variable in (CMOR_VARIABLES[name] for name in asked):
        needed = (*variable.fields, *(("PS",) if variable.profile else ()))
        missing = [name for name in needed if not run.holds("h0", name)]
        if not missing:
            held.append(variable)
        elif config.variables:
            raise ClimSimError(
                f"variables={variable.name}: made of {', '.join(needed)}, but the monthly means in "
                f"{config.run} hold no {', '.join(missing)}: leave it out"
            )
    if not held:
        raise ClimSimError(f"{config.run}: its monthly means hold no variable of the table Amon")
    return held


def _case(run: RunHistory) -> str:
    return as_name(str(run.record.get("case", run.folder.name)))


def _attributes(
    config: CmorConfig, run: RunHistory, variable: CmorVariable, note: Mapping[str, str]
) -> dict[str, str]:
    case = _case(run)
    return {
        "Conventions": "CF-1.11",
        "title": f"{variable.long_name} of the run {case}",
        "source": config.source,
        "source_id": as_name(config.source),
        "experiment_id": case,
        "variant_label": _VARIANT,
        "frequency": "mon",
        "realm": "atmos",
        "table_id": "Amon",
        "variable_id": variable.name,
        "grid_label": "gn",
        "grid": f"columns of the model, {run.grid.n_columns}",
        "history": f"monthly means of {run.folder.name}",
        **note,
    }


def cmor_dataset(
    run: RunHistory, months: list[Period], variable: CmorVariable, on_pressure: bool
) -> xarray.Dataset:
    """All months of one variable.

    Args:
        run: the run.
        months: whole months.
        variable: row of the table.
        on_pressure: whether profiles are interpolated to `PLEV19`; layer properties never are.

    Returns:
        The variable (time, plev or lev, ncol) or (time, ncol), with its coordinates and bounds.

    Raises:
        ClimSimError: if a month cannot be read.
    """
    grid = run.grid
    interpolated = variable.profile and on_pressure and not variable.layer
    levels = (len(PLEV19),) if interpolated else (grid.n_levels,) if variable.profile else ()
    values = np.empty((len(months), *levels, grid.n_columns), np.float32)
    pressures = np.empty((len(months), grid.n_columns))
    for row, period in enumerate(months):
        field, fields = _month(run, period, variable)
        values[row] = _on_pressure(field, fields, variable, grid) if interpolated else field
        pressures[row] = fields.get("PS", np.zeros(grid.n_columns))
    vertical = () if not levels else ("plev",) if interpolated else ("lev",)
    arrays = _coordinates(months, grid)
    if interpolated:
        arrays["plev"] = ("plev", np.array(PLEV19), _PLEV)
    elif variable.profile:
        arrays |= _hybrid_levels(grid, pressures)
    about = {
        "standard_name": variable.standard_name,
        "long_name": variable.long_name,
        "units": variable.unit,
        "cell_methods": "time: mean",
        "coordinates": "lat lon",
    }
    if interpolated:
        about["comment"] = _comment(run, months, variable)
    arrays[variable.name] = (("time", *vertical, "ncol"), values, about)
    dataset = xarray.Dataset(arrays)
    for name in dataset.variables:
        dataset[name].encoding["_FillValue"] = _MISSING if name == variable.name else None
    dataset[variable.name].encoding["missing_value"] = _MISSING
    return dataset


def _month(run: RunHistory, period: Period, variable: CmorVariable) -> tuple[Array, Fields]:
    """One month of a variable, (level, column) or (column,), and the fields that it needs."""
    names = (*variable.fields, *(("PS",) if variable.profile else ()))
    useful = (_TEMPERATURE,) if _HEIGHT in variable.fields else ()
    fields = run.read("h0", period, dict.fromkeys((*names, *useful)))
    if fields is None or any(name not in fields for name in names):
        month = to_date(period[0])
        raise ClimSimError(
            f"{run.folder}: the month {month.year:04d}-{month.month:02d} cannot be read or lacks "
            f"{', '.join(names)}: run it again, or take the file away"
        )
    total = np.sum([fields[name] for name in variable.fields], axis=0) * variable.factor
    return total, fields


def _comment(run: RunHistory, months: list[Period], variable: CmorVariable) -> str:
    """How a variable came to pressure levels, and where it is missing."""
    without = [m for m in months if _TEMPERATURE not in run.periods("h0")[m].names]
    if not (without and _HEIGHT in variable.fields):
        return f"{_INTERPOLATED}; {_MISSING_OUTSIDE}"
    missing = f"{_MISSING_OUTSIDE}, and below the lowest level where the history holds no T"
    run.note(f"{variable.name}: {missing} ({len(without)} of {len(months)} months)")
    return f"{_INTERPOLATED}; {missing}"


def _on_pressure(profile: Array, fields: Fields, variable: CmorVariable, grid: ColumnGrid) -> Array:
    """A month of a variable on `PLEV19`, given the fields that it needs."""
    surface = fields["PS"]
    midpoints = grid.midpoint_pressure(surface)
    if _HEIGHT not in variable.fields:
        return to_pressure(profile, midpoints, surface)
    if _TEMPERATURE not in fields:
        return to_pressure(profile, midpoints, midpoints[-1])
    return to_pressure(profile, midpoints, surface, fields[_TEMPERATURE])


def to_pressure(
    profile: Array, midpoints: Array, lowest: Array, temperature: Array | None = None
) -> Array:
    """Interpolate a profile to `PLEV19`.

    Args:
        profile: (level, column), level 0 at the model top.
        midpoints: (level, column) pressure [Pa].
        lowest: (column,) largest pressure at which there are values, that of the surface [Pa].
        temperature: (level, column) where the profile is one of heights [K]; None for any other,
            which keeps its lowest value below the lowest midpoint.

    Returns:
        (plev, column); NaN at larger pressures and above the highest midpoint.
    """
    result = np.empty((len(PLEV19), profile.shape[1]))
    for row, pressure in enumerate(PLEV19):
        inside = (pressure <= lowest) & (pressure >= midpoints[0])
        interpolate = PressureInterpolation.to(pressure, midpoints)
        if temperature is None:
            found = interpolate(profile)
        else:
            found = interpolate.heights(profile, temperature, E3SM)
        result[row] = np.where(inside, found, np.nan)
    return result


Arrays = dict[str, tuple[str | tuple[str, ...], NDArray, dict[str, str]]]
_PLEV = {
    "standard_name": "air_pressure",
    "long_name": "pressure",
    "units": "Pa",
    "axis": "Z",
    "positive": "down",
}


def _coordinates(months: list[Period], grid: ColumnGrid) -> Arrays:
    edges = np.array([_days(period) for period in months])
    time = {"standard_name": "time", "long_name": "time", "units": _DAYS, "calendar": CALENDAR}
    about = {**time, "axis": "T", "bounds": "time_bnds"}
    return {
        "time": ("time", edges.mean(axis=1), about),
        "time_bnds": (("time", "bnds"), edges, {}),
        "lat": (
            "ncol",
            grid.lat,
            {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"},
        ),
        "lon": (
            "ncol",
            grid.lon,
            {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"},
        ),
    }


def _days(period: Period) -> list[float]:
    dates = [cftime.num2date(seconds, TIME_UNITS, CALENDAR) for seconds in period]
    return [float(cftime.date2num(date, _DAYS, CALENDAR)) for date in dates]


def _hybrid_levels(grid: ColumnGrid, surface: Array) -> Arrays:
    """The levels of the model as CF describes them, ``p = ap + b*ps``, with what that needs."""
    about = {
        "standard_name": "atmosphere_hybrid_sigma_pressure_coordinate",
        "long_name": "hybrid sigma pressure coordinate",
        "units": "1",
        "axis": "Z",
        "positive": "down",
        "formula": "p = ap + b*ps",
        "formula_terms": "ap: ap b: b ps: ps",
    }
    of_bounds = {name: about[name] for name in ("standard_name", "units", "formula")}
    ap, b = grid.hyai * grid.p0, grid.hybi
    terms: Arrays = {
        "ap": ("lev", grid.hyam * grid.p0, _term("ap(k)", "Pa")),
        "b": ("lev", grid.hybm, _term("b(k)", "1")),
        "ap_bnds": (("lev", "bnds"), _between(ap), _term("ap(k+1/2)", "Pa")),
        "b_bnds": (("lev", "bnds"), _between(b), _term("b(k+1/2)", "1")),
    }
    surface_pressure = {
        "standard_name": "surface_air_pressure",
        "long_name": "Surface Air Pressure",
        "units": "Pa",
        "cell_methods": "time: mean",
        "coordinates": "lat lon",
    }
    return {
        **terms,
        "lev": ("lev", grid.hyam + grid.hybm, {**about, "bounds": "lev_bnds"}),
        "lev_bnds": (
            ("lev", "bnds"),
            _between(grid.hyai + grid.hybi),
            {**of_bounds, "formula_terms": "ap: ap_bnds b: b_bnds ps: ps"},
        ),
        "ps": (("time", "ncol"), surface.astype(np.float32), surface_pressure),
    }


def _term(what: str, unit: str) -> dict[str, str]:
    return {"long_name": f"vertical coordinate formula term: {what}", "units": unit}


def _between(interfaces: Array) -> Array:
    """(level, 2) values at the upper and the lower interface of each level."""
    return np.stack([interfaces[:-1], interfaces[1:]], axis=1)
