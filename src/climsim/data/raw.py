"""Raw step files: one pair of netCDF files per physics step, in E3SM-MMF's layout.

``YYYY-MM/E3SM-MMF.mli.YYYY-MM-DD-SSSSS.nc`` holds the state before physics and the boundary
inputs, ``...mlo...`` the state after physics and the surface outputs. Profiles are ``(lev, ncol)``
with level 0 at the model top, scalars ``(ncol)``, all float64.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cftime
import netCDF4
import numpy as np
from numpy.typing import NDArray

from climsim.constants import FILL_THRESHOLD
from climsim.data import classic
from climsim.data.times import seconds_of, to_date, to_seconds
from climsim.errors import ClimSimError
from climsim.files import atomic_path, provenance
from climsim.grid import ColumnGrid
from climsim.variables import PROGNOSTIC, RAW_PROFILES, SCALARS_IN, SCALARS_OUT, variable

Fields = dict[str, NDArray[np.floating]]
"""Arrays by variable name: profiles (level, column), scalars (column,); level 0 at the top."""

INPUT_TAGS = ("mli", "mlexpand", "ml2steploc")
"""Tags of files with the state before physics; the last two also hold previous-step features."""
OUTPUT_TAG = "mlo"
INPUT_VARIABLES = (*RAW_PROFILES, *SCALARS_IN)
OUTPUT_VARIABLES = (*PROGNOSTIC, *SCALARS_OUT)
FILLED_VARIABLES = ("cam_in_SNOWHICE", "cam_in_SNOWHLAND")
"""Variables that may hold the fill value 1e30 where they have no meaning."""
GRID_FILE = "ClimSim_low-res_grid-info.nc"
"""Name of the grid file beside generated step files, as in the published data."""

_NAME = re.compile(r"E3SM-MMF\.([A-Za-z0-9]+)\.(\d{4})-(\d{2})-(\d{2})-(\d{5})\.nc")
_FORMAT = "NETCDF3_64BIT_DATA"
_GRID_UNITS = {"lat": "degrees_north", "lon": "degrees_east", "area": "steradian"}


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


def parse_name(path: Path) -> tuple[str, int] | None:
    """Tag and time [s] in the name of a step file; None if it is no such name.

    Raises:
        ClimSimError: if the name has a date that the noleap calendar lacks.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        year, month, day, second = (int(match[i]) for i in range(2, 6))
        return match[1], seconds_of(year, month, day, second)
    except ValueError as error:
        raise ClimSimError(f"{path}: {error}: rename or remove the file") from error


def write_step_pair(
    folder: str | Path,
    date: cftime.DatetimeNoLeap,
    before: Mapping[str, NDArray[np.floating]],
    after: Mapping[str, NDArray[np.floating]],
    grid: ColumnGrid,
    source: str,
) -> tuple[Path, Path]:
    """Write the two files of one step into the monthly folder.

    Args:
        folder: folder that holds the monthly folders.
        date: beginning of the step.
        before: `INPUT_VARIABLES`, profiles (level, column), scalars (column,).
        after: `OUTPUT_VARIABLES`, likewise: the prognostic state after physics, and the outputs.
        grid: the columns and levels, for the sizes.
        source: what made the data, such as the model's name.

    Returns:
        Paths of the input and of the output file.

    Raises:
        ClimSimError: if a variable is missing, or has another shape, or is not finite.
    """
    month = Path(folder) / f"{date.year:04d}-{date.month:02d}"
    paths = []
    # The input file comes last: listings take a step as begun when they see it.
    for tag, names, fields in (
        (OUTPUT_TAG, OUTPUT_VARIABLES, after),
        ("mli", INPUT_VARIABLES, before),
    ):
        path = month / step_name(tag, date)
        arrays = {name: _checked(path, name, fields, grid) for name in names}
        _write_fields(path, date, arrays, grid, source)
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
    path: Path, date: cftime.DatetimeNoLeap, fields: Fields, grid: ColumnGrid, source: str
) -> None:
    with atomic_path(path) as temporary, netCDF4.Dataset(temporary, "w", format=_FORMAT) as file:
        file.createDimension("ncol", grid.n_columns)
        file.createDimension("lev", grid.n_levels)
        file.setncatts({"source": source, "calendar": "noleap", **provenance({}, {})})
        arrays = []
        for name, value in fields.items():
            dims = ("lev", "ncol") if value.ndim == 2 else ("ncol",)
            array = file.createVariable(name, "f8", dims)
            array.setncatts({"units": variable(name).unit, "long_name": variable(name).long_name})
            arrays.append((array, value))
        second = to_seconds(date) % 86400
        stamps = {"ymd": date.year * 10000 + date.month * 100 + date.day, "tod": second}
        arrays += [(file.createVariable(name, "i4"), value) for name, value in stamps.items()]
        # Every definition before the first value: a classic file is laid out only once.
        for array, value in arrays:
            array[...] = value


def list_steps(folder: str | Path) -> list[StepFiles]:
    """List the steps of a folder of monthly folders, in the order of time.

    Args:
        folder: raw data; step files may lie in it or anywhere below.

    Returns:
        One entry per input file; its ``after`` is None where the output file is missing.

    Raises:
        ClimSimError: if the folder is missing, holds no step, or holds a step twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ClimSimError(f"{folder}: no such folder: give the folder that holds YYYY-MM/")
    inputs: dict[int, Path] = {}
    outputs: dict[int, Path] = {}
    for path in sorted(folder.rglob("E3SM-MMF.*.nc")):
        parsed = parse_name(path)
        if parsed is None:
            continue
        tag, seconds = parsed
        found = inputs if tag in INPUT_TAGS else outputs if tag == OUTPUT_TAG else {}
        if seconds in found:
            raise ClimSimError(f"{path}: the same step as {found[seconds]}: remove one of the two")
        found[seconds] = path
    if not inputs:
        raise ClimSimError(
            f"{folder}: no step files: expected YYYY-MM/E3SM-MMF.mli.YYYY-MM-DD-SSSSS.nc"
        )
    return [StepFiles(s, inputs[s], outputs.get(s)) for s in sorted(inputs)]


def output_path(path: Path) -> Path:
    """Path of the output file that belongs to an input file."""
    tag = path.name.split(".")[1]
    return path.with_name(path.name.replace(f".{tag}.", f".{OUTPUT_TAG}.", 1))


def read_step(path: str | Path) -> RawStep:
    """Read the pair of files of one step.

    Args:
        path: input file (``mli``, or the expanded ``mlexpand``); its ``mlo`` lies beside it.

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
    before = read_fields(path, INPUT_VARIABLES)
    after = read_fields(output_path(path), OUTPUT_VARIABLES)
    shapes = before["state_t"].shape, after["state_t"].shape
    if shapes[0] != shapes[1]:
        raise ClimSimError(
            f"{output_path(path)}: (level, column) is {shapes[1]}, but {shapes[0]} in {path.name}"
        )
    return RawStep(to_date(parsed[1]), before, after)


def read_fields(path: str | Path, names: tuple[str, ...]) -> Fields:
    """Read variables of one step file and check their shapes and values.

    Args:
        path: a step file.
        names: the variables to read.

    Returns:
        Profiles (level, column), scalars (column,), in the native byte order.

    Raises:
        ClimSimError: as for `read_step`.
    """
    path = Path(path)
    try:
        data = path.read_bytes() if _is_classic(path) else None
    except FileNotFoundError as error:
        raise ClimSimError(f"{path}: no such file: the step is incomplete") from error
    except OSError as error:
        raise ClimSimError(f"{path}: cannot be read ({error.strerror})") from error
    fields = _read_netcdf4(path, names) if data is None else _read_classic(path, data, names)
    _check_fields(path, fields)
    return fields


def _is_classic(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in classic.MAGIC


def _read_classic(path: Path, data: bytes, names: tuple[str, ...]) -> Fields:
    try:
        header = classic.parse_header(data)
    except classic.HeaderError as error:
        raise ClimSimError(
            f"{path}: damaged netCDF header ({error}): copy or download the file again"
        ) from error
    if header.size > len(data):
        raise ClimSimError(
            f"{path}: truncated: {len(data)} bytes, expected {header.size}: "
            "copy or download the file again"
        )
    _check_stamp(path, _classic_stamp(header, data))
    fields = {}
    for name in names:
        if name not in header.variables:
            raise _missing(path, name, header.variables)
        place = header.variables[name]
        _check_layout(path, name, place.dimensions, place.dtype)
        count = int(np.prod(place.shape))
        value = np.frombuffer(data, place.dtype, count, place.offset).reshape(place.shape)
        fields[name] = value.astype(place.dtype.newbyteorder("="))
    return fields


def _classic_stamp(header: classic.ClassicHeader, data: bytes) -> dict[str, int]:
    stamp = {}
    for name in ("ymd", "tod"):
        place = header.variables.get(name)
        if place is not None and np.prod(place.shape) == 1:
            stamp[name] = int(np.frombuffer(data, place.dtype, 1, place.offset)[0])
    return stamp


def _read_netcdf4(path: Path, names: tuple[str, ...]) -> Fields:
    try:
        with netCDF4.Dataset(path) as file:
            file.set_auto_maskandscale(False)
            stamp = {n: int(file[n][...]) for n in ("ymd", "tod") if n in file.variables}
            _check_stamp(path, stamp)
            fields = {}
            for name in names:
                if name not in file.variables:
                    raise _missing(path, name, file.variables)
                array = file.variables[name]
                _check_layout(path, name, array.dimensions, np.dtype(array.dtype))
                fields[name] = array[...]
            return fields
    except (OSError, RuntimeError, ValueError, TypeError, UnicodeError) as error:
        raise ClimSimError(
            f"{path}: not a whole netCDF file ({error}): copy or download the file again"
        ) from error


def _missing(path: Path, name: str, found: Mapping[str, object]) -> ClimSimError:
    listing = ", ".join(list(found)[:6]) or "no variable"
    return ClimSimError(
        f"{path}: variable {name} is missing (found {listing}, ...): "
        "is it a step file of E3SM-MMF, and the right one of the pair?"
    )


def _check_layout(path: Path, name: str, dimensions: tuple[str, ...], dtype: np.dtype) -> None:
    expected = ("lev", "ncol") if variable(name).profile else ("ncol",)
    if tuple(dimensions) != expected:
        raise ClimSimError(
            f"{path}: {name} has dimensions ({', '.join(dimensions)}), "
            f"expected ({', '.join(expected)})"
        )
    if dtype.kind != "f":
        raise ClimSimError(f"{path}: {name} has type {dtype}, expected floating point numbers")


def _check_stamp(path: Path, stamp: Mapping[str, int]) -> None:
    """Compare the date inside a file, if it has one, with the date in its name."""
    parsed = parse_name(path)
    if parsed is None or set(stamp) != {"ymd", "tod"}:
        return
    date = to_date(parsed[1])
    expected = date.year * 10000 + date.month * 100 + date.day, parsed[1] % 86400
    if (stamp["ymd"], stamp["tod"]) != expected:
        raise ClimSimError(
            f"{path}: the file says ymd={stamp['ymd']} tod={stamp['tod']}, its name says "
            f"ymd={expected[0]} tod={expected[1]}: was it renamed?"
        )


def _check_fields(path: Path, fields: Fields) -> None:
    shape = next((f.shape for f in fields.values() if f.ndim == 2), None)
    for name, value in fields.items():
        expected = shape if value.ndim == 2 else (shape or value.shape)[-1:]
        if value.shape != expected:
            raise ClimSimError(f"{path}: {name} has shape {value.shape}, expected {expected}")
        # The sum is finite if every value is, except for sums of fill values, which are finite too.
        if not np.isfinite(value.sum()):
            bad = int(np.sum(~np.isfinite(value)))
            raise ClimSimError(
                f"{path}: {name} has {bad} values that are not finite: "
                "replace the file or remove the step"
            )
        if name not in FILLED_VARIABLES and (np.abs(value) > FILL_THRESHOLD).any():
            raise ClimSimError(
                f"{path}: {name} holds fill values, which only {', '.join(FILLED_VARIABLES)} may"
            )


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
        ClimSimError: if the file is missing, no netCDF, or lacks a variable.
    """
    path = Path(path)
    if not path.is_file():
        raise ClimSimError(f"{path}: no such grid file: give grid=... (published as {GRID_FILE})")
    try:
        with netCDF4.Dataset(path) as file:
            file.set_auto_maskandscale(False)
            values = {}
            for name in ("lat", "lon", "area", "hyam", "hybm", "hyai", "hybi"):
                if name not in file.variables:
                    raise _missing(path, name, file.variables)
                values[name] = np.asarray(file[name][...], dtype=np.float64)
            p0 = float(file["P0"][...]) if "P0" in file.variables else 1.0e5
    except (OSError, RuntimeError) as error:
        raise ClimSimError(f"{path}: not a whole netCDF file ({error})") from error
    return ColumnGrid(**values, p0=p0)
