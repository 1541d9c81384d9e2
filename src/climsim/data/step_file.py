"""One step file: its name, and reading variables from it with every check on the way.

A classic file (as E3SM writes) is read with one system call after its header told that it is
whole; netCDF-4 files go through the netCDF library, which tells by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

from climsim.constants import FILL_THRESHOLD
from climsim.data import classic
from climsim.data.times import seconds_of, to_date
from climsim.errors import ClimSimError
from climsim.variables import variable

Fields = dict[str, NDArray[np.floating]]
"""Arrays by variable name: profiles (level, column), scalars (column,); level 0 at the top."""

FILLED_VARIABLES = ("cam_in_SNOWHICE", "cam_in_SNOWHLAND")
"""Variables that may hold the fill value 1e30 where they have no meaning."""


class StepFileError(ClimSimError):
    """A step file that is not as it should be.

    Attributes:
        problem: kind of the problem, one of `PROBLEMS`.
    """

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.problem, str(self))


PROBLEMS = ("unreadable", "truncated", "variable", "shape", "nan", "fill", "date")
"""Kinds of problems of a file that reading finds."""

_CALENDARS = ("noleap", "365_day")
_NAME = re.compile(r"E3SM-MMF\.([A-Za-z0-9]+)\.(\d{4})-(\d{2})-(\d{2})-(\d{5})\.nc")


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


def read_fields(
    path: str | Path, names: tuple[str, ...], headers: classic.HeaderCache | None = None
) -> Fields:
    """Read variables of one step file and check their shapes and values.

    Args:
        path: a step file.
        names: the variables to read.
        headers: parser to share between files, which spares parsing equal headers again.

    Returns:
        Profiles (level, column), scalars (column,), in the native byte order.

    Raises:
        ClimSimError: as for `read_step`.
    """
    path = Path(path)
    try:
        data = path.read_bytes() if _is_classic(path) else None
    except FileNotFoundError as error:
        raise StepFileError(
            "unreadable", f"{path}: no such file: the step is incomplete"
        ) from error
    except OSError as error:
        raise StepFileError("unreadable", f"{path}: cannot be read ({error.strerror})") from error
    if data is None:
        fields = _read_netcdf4(path, names)
    else:
        fields = _read_classic(path, data, names, headers or classic.HeaderCache())
    _check_fields(path, fields)
    return fields


def _is_classic(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in classic.MAGIC


def _read_classic(
    path: Path, data: bytes, names: tuple[str, ...], headers: classic.HeaderCache
) -> Fields:
    try:
        header = headers.parse(data)
    except classic.HeaderError as error:
        raise StepFileError(
            "unreadable",
            f"{path}: damaged netCDF header ({error}): copy or download the file again",
        ) from error
    if header.size > len(data):
        raise StepFileError(
            "truncated",
            f"{path}: truncated: {len(data)} bytes, expected {header.size}: "
            "copy or download the file again",
        )
    _check_calendar(path, header.attributes.get("calendar"))
    _check_stamp(path, _classic_stamp(header, data))
    fields = {}
    for name in names:
        if name not in header.variables:
            raise missing_variable(path, name, header.variables)
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
            _check_calendar(path, getattr(file, "calendar", None))
            stamp: dict[str, int] = {
                n: int(file[n][...]) for n in ("ymd", "tod") if n in file.variables
            }
            _check_stamp(path, stamp)
            fields = {}
            for name in names:
                if name not in file.variables:
                    raise missing_variable(path, name, file.variables)
                array = file.variables[name]
                _check_layout(path, name, array.dimensions, np.dtype(array.dtype))
                fields[name] = array[...]
            return fields
    except (OSError, RuntimeError, ValueError, TypeError, UnicodeError) as error:
        raise StepFileError(
            "unreadable",
            f"{path}: not a whole netCDF file ({error}): copy or download the file again",
        ) from error


def missing_variable(path: Path, name: str, found: Mapping[str, object]) -> StepFileError:
    """Build the error for a variable that a file lacks."""
    listing = ", ".join(list(found)[:6]) or "no variable"
    return StepFileError(
        "variable",
        f"{path}: variable {name} is missing (found {listing}, ...): "
        "is it a step file of E3SM-MMF, and the right one of the pair?",
    )


def _check_layout(path: Path, name: str, dimensions: tuple[str, ...], dtype: np.dtype) -> None:
    expected = ("lev", "ncol") if variable(name).profile else ("ncol",)
    if tuple(dimensions) != expected:
        raise StepFileError(
            "shape",
            f"{path}: {name} has dimensions ({', '.join(dimensions)}), "
            f"expected ({', '.join(expected)})",
        )
    if dtype.kind != "f":
        raise StepFileError(
            "variable", f"{path}: {name} has type {dtype}, expected floating point numbers"
        )


def _check_calendar(path: Path, calendar: object) -> None:
    """Refuse a file that says it has another calendar; the published ones do not say."""
    if calendar is not None and calendar not in _CALENDARS:
        raise StepFileError(
            "date", f"{path}: calendar is {calendar!r}, expected {' or '.join(_CALENDARS)}"
        )


def _check_stamp(path: Path, stamp: Mapping[str, int]) -> None:
    """Compare the date inside a file, if it has one, with the date in its name."""
    parsed = parse_name(path)
    if parsed is None or set(stamp) != {"ymd", "tod"}:
        return
    date = to_date(parsed[1])
    expected = date.year * 10000 + date.month * 100 + date.day, parsed[1] % 86400
    if (stamp["ymd"], stamp["tod"]) != expected:
        raise StepFileError(
            "date",
            f"{path}: the file says ymd={stamp['ymd']} tod={stamp['tod']}, its name says "
            f"ymd={expected[0]} tod={expected[1]}: was it renamed?",
        )


def _check_fields(path: Path, fields: Fields) -> None:
    shape = next((f.shape for f in fields.values() if f.ndim == 2), None)
    for name, value in fields.items():
        expected = shape if value.ndim == 2 else (shape or value.shape)[-1:]
        if value.shape != expected:
            raise StepFileError(
                "shape", f"{path}: {name} has shape {value.shape}, expected {expected}"
            )
        # One pass, and no array of flags: float64 fields of weather do not overflow in a sum.
        if not np.isfinite(value.sum()):
            bad = int(np.sum(~np.isfinite(value)))
            raise StepFileError(
                "nan",
                f"{path}: {name} has {bad} values that are not finite: "
                "replace the file or remove the step",
            )
        if name not in FILLED_VARIABLES and (np.abs(value) > FILL_THRESHOLD).any():
            raise StepFileError(
                "fill",
                f"{path}: {name} holds fill values, which only {', '.join(FILLED_VARIABLES)} may",
            )
