"""Raw step files: one pair of netCDF files per physics step, in E3SM-MMF's layout.

``YYYY-MM/E3SM-MMF.mli.YYYY-MM-DD-SSSSS.nc`` holds the state before physics and the boundary
inputs, ``...mlo...`` the state after physics and the surface outputs. Profiles are ``(lev, ncol)``
with level 0 at the model top, scalars ``(ncol)``, all float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cftime
import netCDF4
import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Fields
from climsim.calendar import CALENDAR, to_date, to_seconds
from climsim.constants import SECONDS_PER_DAY
from climsim.data.raw.classic import HeaderCache
from climsim.data.raw.declared import UNDECLARED, Declared
from climsim.data.raw.step_file import missing_variable, parse_name, read_fields
from climsim.data.raw.units import foreign_unit
from climsim.data.raw.walk import find_step_files
from climsim.errors import ClimSimError
from climsim.files import atomic_path, provenance, same_path
from climsim.grid import GRID_AXES, ColumnGrid
from climsim.integrity import check_size
from climsim.variables import PROGNOSTIC, RAW_PROFILES, SCALARS_IN, SCALARS_OUT, variable

EXPANDED_TAGS = ("mlexpand", "ml2steploc")
"""Tags of input files that also hold the previous-step features."""
INPUT_TAGS = ("mli", *EXPANDED_TAGS)
"""Tags of files with the state before physics."""
OUTPUT_TAG = "mlo"
INPUT_VARIABLES = (*RAW_PROFILES, *SCALARS_IN)
OUTPUT_VARIABLES = (*PROGNOSTIC, *SCALARS_OUT)
GRID_FILE = "ClimSim_low-res_grid-info.nc"
"""Name of the grid file beside generated step files, as in the published data."""

_FORMAT: Literal["NETCDF3_64BIT_DATA"] = "NETCDF3_64BIT_DATA"
_GRID_UNITS = {
    "lat": "degrees_north",
    "lon": "degrees_east",
    "area": "steradian",
    "P0": "Pa",
}


@dataclass(frozen=True, order=True)
class StepFiles:
    """The files of one step.

    Attributes:
        seconds: beginning of the step, seconds from 0001-01-01 (noleap).
        before: file with the state before physics.
        after: file with the state after physics, or None where it is missing.
    """

    seconds: int
    before: Path
    after: Path | None

    @property
    def date(self) -> cftime.DatetimeNoLeap:
        """Beginning of the step."""
        return to_date(self.seconds)

    @property
    def expanded(self) -> bool:
        """Whether the input file holds the previous-step features."""
        return self.before.name.split(".")[1] in EXPANDED_TAGS

    @property
    def month(self) -> str:
        """Month as ``YYYY-MM``."""
        return f"{self.date.year:04d}-{self.date.month:02d}"


@dataclass(frozen=True)
class RawStep:
    """One step as read from its files.

    Attributes:
        date: beginning of the step.
        before: every variable of the input file: profiles (level, column), scalars (column,).
        after: state and surface outputs after physics; empty where the output file is missing.
    """

    date: cftime.DatetimeNoLeap
    before: Fields
    after: Fields

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of levels and columns."""
        levels, columns = self.before["state_t"].shape
        return levels, columns


def step_name(tag: str, date: cftime.DatetimeNoLeap) -> str:
    """Name of a step file, such as ``E3SM-MMF.mli.0001-02-03-01200.nc``."""
    second = date.hour * 3600 + date.minute * 60 + date.second
    return f"E3SM-MMF.{tag}.{date.year:04d}-{date.month:02d}-{date.day:02d}-{second:05d}.nc"


def write_step_pair(
    folder: str | Path,
    date: cftime.DatetimeNoLeap,
    before: Mapping[str, NDArray[np.floating]],
    after: Mapping[str, NDArray[np.floating]],
    grid: ColumnGrid,
    source: str,
    time_step: float | None = None,
    emulated_processes: frozenset[str] = frozenset(),
) -> tuple[Path, Path]:
    """Write the two files of one step into the monthly folder.

    Args:
        folder: folder that holds the monthly folders.
        date: beginning of the step.
        before: `INPUT_VARIABLES`, profiles (level, column), scalars (column,).
        after: `OUTPUT_VARIABLES`, likewise: the prognostic state after physics, and the outputs.
        grid: the columns and levels, for the sizes.
        source: what made the data, such as the model's name.
        time_step: physics time step [s], which the files then declare.
        emulated_processes: in the emulated term (see `climsim.processes`), likewise.

    Returns:
        Paths of the input and of the output file.

    Raises:
        ClimSimError: if a variable is missing, or has another shape, or is not finite.
    """
    month = Path(folder) / f"{date.year:04d}-{date.month:02d}"
    declared = Declared(time_step, emulated_processes).attributes()
    paths = []
    # The input file comes last: listings take a step as begun when they see it.
    for tag, names, fields in (
        (OUTPUT_TAG, OUTPUT_VARIABLES, after),
        ("mli", INPUT_VARIABLES, before),
    ):
        path = month / step_name(tag, date)
        arrays: Fields = {name: _checked(path, name, fields, grid) for name in names}
        _write_fields(path, date, arrays, grid, {"source": source, **declared})
        paths.append(path)
    return paths[1], paths[0]


def _checked(
    path: Path, name: str, fields: Mapping[str, NDArray[np.floating]], grid: ColumnGrid
) -> NDArray[np.float64]:
    if name not in fields:
        raise ClimSimError(f"{path}: variable {name} was not given; given: {', '.join(fields)}")
    value = np.asarray(fields[name], dtype=np.float64)
    levels = (grid.n_levels,) if variable(name).profile else ()
    expected = (*levels, grid.n_columns)
    if value.shape != expected:
        raise ClimSimError(f"{path}: {name} has shape {value.shape}, expected {expected}")
    if not np.isfinite(value).all():
        raise ClimSimError(f"{path}: {name} has {np.sum(~np.isfinite(value))} non-finite values")
    return value


def _write_fields(
    path: Path,
    date: cftime.DatetimeNoLeap,
    fields: Fields,
    grid: ColumnGrid,
    about: Mapping[str, str | np.float64],
) -> None:
    with atomic_path(path) as temporary, netCDF4.Dataset(temporary, "w", format=_FORMAT) as file:
        file.createDimension("ncol", grid.n_columns)
        file.createDimension("lev", grid.n_levels)
        file.set_fill_off()
        file.setncatts({**about, "calendar": CALENDAR, **provenance({}, {})})
        arrays = []
        for name, value in fields.items():
            dims = ("lev", "ncol") if value.ndim == 2 else ("ncol",)
            array = file.createVariable(name, "f8", dims)
            array.setncatts({"units": variable(name).unit, "long_name": variable(name).long_name})
            arrays.append((array, value))
        second = to_seconds(date) % SECONDS_PER_DAY
        stamps = {"ymd": date.year * 10000 + date.month * 100 + date.day, "tod": second}
        arrays += [(file.createVariable(name, "i4"), value) for name, value in stamps.items()]
        # Every definition before the first value: a classic file is laid out only once.
        for array, value in arrays:
            array[...] = value


def list_steps(
    folder: str | Path, outputs: str | Path = "", also: Sequence[str | Path] = ()
) -> list[StepFiles]:
    """List the steps of a folder of monthly folders, in the order of time.

    Args:
        folder: raw data; step files may lie in it or anywhere below, in linked folders too.
        outputs: another folder with the output files, as for the published expanded inputs, whose
            outputs are those of the plain data set; empty where they lie in ``folder``.
        also: further folders whose steps belong to the same record.

    Returns:
        One entry per input file; its ``after`` is None where the output file is missing.

    Raises:
        ClimSimError: if the folder is missing, holds no step, or holds a step twice.
    """
    found = _found(folder, "raw", "the folder that holds YYYY-MM/")
    further = [path for more in also for path in _found(more, "also", "one with step pairs")]
    written = _found(outputs, "outputs", "the one with the mlo files") if outputs else found
    inputs = _by_time([*found, *further], INPUT_TAGS)
    after = _by_time([*written, *further], (OUTPUT_TAG,))
    if not inputs:
        raise ClimSimError(
            f"{folder}: no step files: expected YYYY-MM/E3SM-MMF.mli.YYYY-MM-DD-SSSSS.nc"
        )
    return [StepFiles(s, inputs[s], after.get(s)) for s in sorted(inputs)]


def _found(folder: str | Path, key: str, wanted: str) -> list[Path]:
    """Step files of a folder that the user names by a key."""
    if not Path(folder).is_dir():
        raise ClimSimError(f"{key}={folder}: no such folder: give {wanted}")
    found = find_step_files(Path(folder))
    found.warn()
    return list(found.paths)


def _by_time(paths: Iterable[Path], tags: tuple[str, ...]) -> dict[int, Path]:
    """Files with one of the tags, by the time in their names."""
    found: dict[int, Path] = {}
    for path in paths:
        parsed = parse_name(path)
        if parsed is None or parsed[0] not in tags:
            continue
        if parsed[1] in found:
            raise _twice(path, found[parsed[1]])
        found[parsed[1]] = path
    return found


def _twice(path: Path, first: Path) -> ClimSimError:
    """The error about two files of one step, to be raised."""
    if same_path(path, first):
        return ClimSimError(
            f"{path}: the same file as {first}: name its folder once, in raw, outputs or also, and "
            "link to it from none of the others"
        )
    return ClimSimError(f"{path}: the same step as {first}: remove one of the two")


def output_path(path: Path) -> Path:
    """Path of the output file that belongs to an input file."""
    tag = path.name.split(".")[1]
    return path.with_name(path.name.replace(f".{tag}.", f".{OUTPUT_TAG}.", 1))


def read_step(
    path: str | Path,
    headers: HeaderCache | None = None,
    output: Path | None = None,
    expected: Declared = UNDECLARED,
) -> RawStep:
    """Read the pair of files of one step.

    Args:
        path: input file (``mli``, or the expanded ``mlexpand``); its ``mlo`` lies beside it.
        headers: parser to share between files, which spares parsing equal headers again.
        output: output file, where it lies elsewhere.
        expected: of the record, what the files must not contradict.

    Returns:
        Date, state before physics with boundary inputs, state after physics with outputs.

    Raises:
        ClimSimError: if a file is missing, truncated, of another kind, lacks a variable, or has
            another shape or values that are not finite.
    """
    path = Path(path)
    parsed = parse_name(path)
    if parsed is None or parsed[0] not in INPUT_TAGS:
        raise ClimSimError(
            f"{path}: expected a name such as E3SM-MMF.mli.0001-02-03-01200.nc: "
            "give the input file of a step"
        )
    before = read_fields(path, INPUT_VARIABLES, headers, expected)
    output = output or output_path(path)
    after = read_fields(output, OUTPUT_VARIABLES, headers, expected)
    shapes = before["state_t"].shape, after["state_t"].shape
    if shapes[0] != shapes[1]:
        raise ClimSimError(
            f"{output}: (level, column) is {shapes[1]}, but {shapes[0]} in {path.name}"
        )
    return RawStep(to_date(parsed[1]), before, after)


def write_grid_info(path: str | Path, grid: ColumnGrid, source: str) -> None:
    """Write the grid file beside raw steps: lat, lon, area, hybrid coefficients, P0.

    Args:
        path: where; generated data use the name `GRID_FILE`.
        grid: the columns and levels.
        source: what made the data.
    """
    with atomic_path(path) as temporary, netCDF4.Dataset(temporary, "w", format=_FORMAT) as file:
        file.createDimension("ncol", grid.n_columns)
        file.createDimension("lev", grid.n_levels)
        file.createDimension("ilev", grid.n_levels + 1)
        file.setncatts({"source": source, **provenance({}, {})})
        arrays = [(file.createVariable("P0", "f8"), grid.p0)]
        arrays[0][0].setncatts({"units": "Pa", "long_name": "reference pressure"})
        for dim, names in (
            ("ncol", ("lat", "lon", "area")),
            ("lev", ("hyam", "hybm")),
            ("ilev", ("hyai", "hybi")),
        ):
            for name in names:
                array = file.createVariable(name, "f8", (dim,))
                array.units = _GRID_UNITS.get(name, "1")
                arrays.append((array, getattr(grid, name)))
        for array, value in arrays:
            array[...] = value


def read_grid_info(path: str | Path) -> ColumnGrid:
    """Read a grid file.

    Raises:
        ClimSimError: if the file is missing, no netCDF, lacks a variable, or holds values or units
            that no such grid has.
    """
    path = Path(path)
    if not path.is_file():
        what = "expected a grid file, found a folder" if path.is_dir() else "no such grid file"
        raise ClimSimError(f"{path}: {what}: give grid=... (published as {GRID_FILE})")
    try:
        with netCDF4.Dataset(path) as file:
            file.set_auto_maskandscale(False)
            check_size(path, file)
            values = {}
            for name in GRID_AXES:
                if name not in file.variables:
                    raise missing_variable(path, name, file.variables)
                values[name] = np.asarray(file[name][...], dtype=np.float64)
            p0 = float(np.ravel(file["P0"][...])[0]) if "P0" in file.variables else 1.0e5
            units = {n: str(getattr(file[n], "units", "")) for n in file.variables}
    except (OSError, RuntimeError) as error:
        raise ClimSimError(f"{path}: not a whole netCDF file ({error})") from error
    for name, expected in _GRID_UNITS.items():
        if foreign_unit(expected, units.get(name, "")):
            raise ClimSimError(
                f"{path}: {name} is in {units[name]!r}, expected {expected!r}: convert the values, "
                "or correct the attribute where it is wrong"
            )
    try:
        grid = ColumnGrid(**values, p0=p0)
    except ClimSimError as error:
        raise ClimSimError(f"{path}: {error}") from error
    _check_degrees(path, grid)
    return grid


def _check_degrees(path: Path, grid: ColumnGrid) -> None:
    """Refuse a grid of the whole Earth whose columns all lie near the equator."""
    covers_earth = np.isclose(grid.area.sum(), 4 * np.pi, rtol=0.05)
    furthest = float(np.abs(grid.lat).max())
    if covers_earth and grid.n_columns > 2 and furthest <= np.pi / 2:
        raise ClimSimError(
            f"{path}: the columns cover the Earth, but lat reaches {furthest:.3g} degrees only: "
            "is it in radians? expected degrees north"
        )
