"""One step file: its name, and reading variables from it with every check on the way.

A classic file (as E3SM writes) is read with one system call after its header showed that it is
whole; netCDF-4 files go through the netCDF library, which tells by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import netCDF4
import numpy as np

from climsim.arrays import Fields
from climsim.calendar import seconds_of, to_date
from climsim.constants import FILL_THRESHOLD, SECONDS_PER_DAY
from climsim.data.raw import classic
from climsim.data.raw.declared import UNDECLARED, Declared
from climsim.data.raw.units import foreign_unit
from climsim.errors import ClimSimError
from climsim.integrity import check_size
from climsim.variables import variable

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


PROBLEMS = (
    "unreadable",
    "truncated",
    "variable",
    "shape",
    "units",
    "nan",
    "fill",
    "date",
    "step",
    "processes",
)
"""Kinds of problems of a file that reading finds."""

_HEADER_BYTES = 2**18
"""Enough for the header of a classic step file."""
_CALENDARS = ("noleap", "365_day")
_NAME = re.compile(r"E3SM-MMF\.([A-Za-z0-9]+)\.(\d.*)\.nc")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})-(\d{5})")


def parse_name(path: Path) -> tuple[str, int] | None:
    """Tag and time [s] in the name of a step file; None if it is no such name.

    Raises:
        StepFileError: if it has a date of another form, or one that the noleap calendar lacks.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    tag, text = match.groups()
    try:
        date = _DATE.fullmatch(text)
        if date is None:
            raise ValueError(f"expected a date YYYY-MM-DD-SSSSS in the name, found {text}")
        year, month, day, second = map(int, date.groups())
        return tag, seconds_of(year, month, day, second)
    except ValueError as error:
        raise StepFileError("date", f"{path}: {error}: rename or remove the file") from error


def declared_in(path: Path) -> Declared:
    """What a step file declares; only its header is read.

    Raises:
        StepFileError: if the file cannot be read, or declares a process that is unknown.
    """
    try:
        if _is_classic(path):
            attributes = _classic_attributes(path)
        else:
            with netCDF4.Dataset(path) as file:
                attributes = file.__dict__
    except (OSError, RuntimeError, ValueError) as error:
        raise StepFileError(
            "unreadable", f"{path}: cannot be read ({error}): copy or download the file again"
        ) from error
    try:
        return Declared.of(attributes, str(path))
    except ClimSimError as error:
        raise StepFileError("processes", str(error)) from error


def _classic_attributes(path: Path) -> Mapping[str, object]:
    with path.open("rb") as stream:
        beginning = stream.read(_HEADER_BYTES)
        try:
            return classic.parse_header(beginning).attributes
        except classic.HeaderError:
            return classic.parse_header(beginning + stream.read()).attributes


def read_fields(
    path: str | Path,
    names: tuple[str, ...],
    headers: classic.HeaderCache | None = None,
    expected: Declared = UNDECLARED,
) -> Fields:
    """Read variables of one step file and check their shapes and values.

    Args:
        path: a step file.
        names: the variables to read.
        headers: parser to share between files, which spares parsing equal headers again.
        expected: of the record, what the file must not contradict.

    Returns:
        Profiles (level, column), scalars (column,), in the native byte order.

    Raises:
        ClimSimError: as for `read_step`.
    """
    fields, problems = inspect_fields(path, names, headers, expected)
    for problem in problems:
        raise problem
    return fields


def inspect_fields(
    path: str | Path,
    names: tuple[str, ...],
    headers: classic.HeaderCache | None = None,
    expected: Declared = UNDECLARED,
) -> tuple[Fields, list[StepFileError]]:
    """Read what can be read of variables of one step file, and list all that is wrong with it.

    Args:
        path: a step file.
        names: the variables to read.
        headers: parser to share between files, which spares parsing equal headers again.
        expected: of the record, what the file must not contradict.

    Returns:
        The variables that are whole and of the right layout, as for `read_fields`, and the
        problems, the gravest first.
    """
    path = Path(path)
    problems: list[StepFileError] = []
    attributes: Mapping[str, object]
    try:
        data = path.read_bytes() if _is_classic(path) else None
        if data is None:
            attributes, fields = _read_netcdf4(path, names, problems)
        else:
            header = _parsed(path, data, headers or classic.HeaderCache())
            attributes = header.attributes
            fields = _read_classic(path, data, header, names, problems)
    except StepFileError as error:
        return {}, [error]
    except FileNotFoundError:
        return {}, [StepFileError("unreadable", f"{path}: no such file: the step is incomplete")]
    except OSError as error:
        return {}, [StepFileError("unreadable", f"{path}: cannot be read ({error.strerror})")]
    problems += _calendar_problems(path, attributes.get("calendar"))
    problems += [StepFileError(*found) for found in expected.contradictions(path, attributes)]
    problems += _value_problems(path, fields)
    return fields, problems


def _is_classic(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in classic.MAGIC


def _parsed(path: Path, data: bytes, headers: classic.HeaderCache) -> classic.ClassicHeader:
    try:
        return headers.parse(data)
    except classic.HeaderError as error:
        raise StepFileError(
            "unreadable",
            f"{path}: damaged netCDF header ({error}): copy or download the file again",
        ) from error


def _read_classic(
    path: Path,
    data: bytes,
    header: classic.ClassicHeader,
    names: tuple[str, ...],
    problems: list[StepFileError],
) -> Fields:
    if header.size > len(data):
        problems.append(
            StepFileError(
                "truncated",
                f"{path}: truncated: {len(data)} bytes, expected {header.size}: "
                "copy or download the file again",
            )
        )
    problems += _stamp_problems(path, _classic_stamp(header, data))
    fields = {}
    for name in names:
        found = header.variables.get(name)
        if name in header.record_variables:
            problems.append(_several_times(path, name, header.records))
            continue
        if found is None:
            problems.append(missing_variable(path, name, header.variables))
            continue
        problems += _unit_problems(path, name, found.units)
        wrong = _layout_problems(path, name, found.dimensions, found.shape, found.dtype)
        problems += wrong
        if wrong or found.end > len(data):
            continue
        shape = _shape_at_a_time(name, found.shape)
        count = int(np.prod(shape))
        value = np.frombuffer(data, found.dtype, count, found.offset).reshape(shape)
        fields[name] = value.astype(found.dtype.newbyteorder("="))
    return fields


def _classic_stamp(header: classic.ClassicHeader, data: bytes) -> dict[str, int]:
    stamp = {}
    for name in ("ymd", "tod"):
        found = header.variables.get(name)
        if found is not None and np.prod(found.shape) == 1 and found.end <= len(data):
            stamp[name] = int(np.frombuffer(data, found.dtype, 1, found.offset)[0])
    return stamp


def _read_netcdf4(
    path: Path, names: tuple[str, ...], problems: list[StepFileError]
) -> tuple[dict[str, object], Fields]:
    try:
        with netCDF4.Dataset(path) as file:
            file.set_auto_maskandscale(False)
            check_size(path, file)
            attributes = {name: file.getncattr(name) for name in file.ncattrs()}
            stamp: dict[str, int] = {
                n: int(np.ravel(file[n][...])[0])
                for n in ("ymd", "tod")
                if n in file.variables and file[n].size == 1
            }
            problems += _stamp_problems(path, stamp)
            fields = {}
            for name in names:
                array = file.variables.get(name)
                if array is None:
                    problems.append(missing_variable(path, name, file.variables))
                    continue
                problems += _unit_problems(path, name, getattr(array, "units", ""))
                wrong = _layout_problems(
                    path, name, array.dimensions, array.shape, np.dtype(array.dtype)
                )
                problems += wrong
                if not wrong:
                    fields[name] = array[...].reshape(_shape_at_a_time(name, array.shape))
            return attributes, fields
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


def _layout_problems(
    path: Path, name: str, dimensions: tuple[str, ...], shape: tuple[int, ...], dtype: np.dtype
) -> list[StepFileError]:
    expected = ("lev", "ncol") if variable(name).profile else ("ncol",)
    if tuple(dimensions) == ("time", *expected):
        if shape[0] != 1:
            return [_several_times(path, name, shape[0])]
    elif tuple(dimensions) != expected:
        text = (
            f"{path}: {name} has dimensions ({', '.join(dimensions)}), "
            f"expected ({', '.join(expected)})"
        )
        return [StepFileError("shape", text)]
    if dtype.kind != "f":
        text = f"{path}: {name} has type {dtype}, expected floating point numbers"
        return [StepFileError("variable", text)]
    return []


def _shape_at_a_time(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the time dimension of length 1 that some writers add."""
    return shape[-2:] if variable(name).profile else shape[-1:]


def _several_times(path: Path, name: str, times: int) -> StepFileError:
    return StepFileError(
        "shape",
        f"{path}: {name} holds {times} times, expected one step in a file: "
        "write one pair of files for each step",
    )


def _unit_problems(path: Path, name: str, units: str) -> list[StepFileError]:
    expected = variable(name).unit
    if not foreign_unit(expected, units):
        return []
    return [
        StepFileError(
            "units",
            f"{path}: {name} is in {units!r}, expected {expected!r}: convert the values, or "
            "correct the attribute where it is wrong",
        )
    ]


def _calendar_problems(path: Path, calendar: object) -> list[StepFileError]:
    """Refuse a file that says it has another calendar; the published ones do not say."""
    if calendar is None or calendar in _CALENDARS:
        return []
    text = f"{path}: calendar is {calendar!r}, expected {' or '.join(_CALENDARS)}"
    return [StepFileError("date", text)]


def _stamp_problems(path: Path, stamp: Mapping[str, int]) -> list[StepFileError]:
    """Compare the date inside a file, if it has one, with the date in its name."""
    parsed = parse_name(path)
    if parsed is None or set(stamp) != {"ymd", "tod"}:
        return []
    date = to_date(parsed[1])
    day = date.year * 10000 + date.month * 100 + date.day
    expected = day, parsed[1] % SECONDS_PER_DAY
    if (stamp["ymd"], stamp["tod"]) == expected:
        return []
    text = (
        f"{path}: the file says ymd={stamp['ymd']} tod={stamp['tod']}, its name says "
        f"ymd={expected[0]} tod={expected[1]}: was it renamed?"
    )
    return [StepFileError("date", text)]


def _value_problems(path: Path, fields: Fields) -> Iterator[StepFileError]:
    shape = next((f.shape for f in fields.values() if f.ndim == 2), None)
    for name, value in fields.items():
        expected = shape if value.ndim == 2 else (shape or value.shape)[-1:]
        if value.shape != expected:
            yield StepFileError(
                "shape", f"{path}: {name} has shape {value.shape}, expected {expected}"
            )
        # One pass, and no array of flags: float64 fields of weather do not overflow in a sum.
        if not np.isfinite(value.sum()):
            bad = int(np.sum(~np.isfinite(value)))
            yield StepFileError(
                "nan",
                f"{path}: {name} has {bad} values that are not finite: "
                "replace the file or remove the step",
            )
        if name not in FILLED_VARIABLES and (np.abs(value) > FILL_THRESHOLD).any():
            yield StepFileError(
                "fill",
                f"{path}: {name} holds fill values, which only {', '.join(FILLED_VARIABLES)} may",
            )
