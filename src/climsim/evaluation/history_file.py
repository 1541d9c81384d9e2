"""Reading one history file in E3SM's form: its means, its size, its grid, its fields.

Whatever is wrong with a file becomes an `UnreadableError` of one line, so that the run that it
belongs to loses this file and nothing else.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cftime
import netCDF4
import numpy as np

from climsim.arrays import Array, Fields
from climsim.calendar import CALENDAR, TIME_UNITS
from climsim.grid import GRID_AXES
from climsim.integrity import check_size
from climsim.runs.fields import HISTORY_FIELDS

Period = tuple[int, int]
"""Beginning and end of a mean [s since 0001-01-01, noleap]."""
Size = tuple[int | None, int]
"""Number of levels, None where no field has any, and of columns."""
GRID_FIELDS = (*GRID_AXES, "P0")
"""What describes columns and levels."""

_DATED = ("noleap", "365_day", "standard", "gregorian", "proleptic_gregorian", "julian")
"""Calendars whose dates are those of `CALENDAR`, but for 29 February."""
_BOUNDS = ("time_bnds", "time_bounds")
_LIBRARY_ERRORS = (
    OSError,
    RuntimeError,
    LookupError,
    AttributeError,
    ValueError,
    TypeError,
    ArithmeticError,
)
"""What netCDF4 and cftime raise for a file that is cut short, no netCDF, or of another form."""


_KEPT_BYTES = 512 * 2**20
"""Means kept in memory [bytes]: on 384 columns five years of months of a run and its reference."""


class UnreadableError(Exception):
    """A file, or a part of it, that cannot be used; the text says why."""


@dataclass(frozen=True)
class Header:
    """What a file holds.

    Attributes:
        means: index along the time axis and period of every usable mean.
        left_out: what of the file cannot be used, in words.
        size: number of levels and columns.
        names: variables on the columns.
        instantaneous: those of them that are samples at one time, not means.
    """

    means: tuple[tuple[int, Period], ...]
    left_out: tuple[str, ...]
    size: Size
    names: frozenset[str]
    instantaneous: frozenset[str]


def read_header(path: Path) -> Header:
    """Read which means a file holds, of which size and fields.

    Raises:
        UnreadableError: if it holds none that can be placed in time and space.
    """
    with _opened(path) as file:
        if "ncol" not in file.dimensions:
            raise UnreadableError("no dimension ncol")
        levels = file.dimensions["lev"].size if "lev" in file.dimensions else None
        size = (levels, file.dimensions["ncol"].size)
        names = frozenset(n for n, v in file.variables.items() if "ncol" in v.dimensions)
        instantaneous = frozenset(
            n for n in names if "mean" not in getattr(file.variables[n], "cell_methods", "")
        )
        means, left_out = [], Counter[str]()
        for index, period in enumerate(_periods(file)):
            if isinstance(period, str):
                left_out[period] += 1
            else:
                means.append((index, period))
    reasons = tuple(f"{n} record{'s' * (n > 1)} {reason}" for reason, n in left_out.items())
    return Header(tuple(means), reasons, size, names, instantaneous)


def _periods(file: netCDF4.Dataset) -> list[Period | str]:
    """Period of every record, or why it is no mean over one."""
    if "time" not in file.variables:
        raise UnreadableError("no variable time")
    time = file.variables["time"]
    units, calendar = getattr(time, "units", None), getattr(time, "calendar", CALENDAR)
    if units is None:
        raise UnreadableError("time has no units")
    if calendar not in _DATED:
        raise UnreadableError(f"calendar {calendar}, expected {CALENDAR}")
    if not time.size:
        raise UnreadableError("no record")
    bounds = next((file.variables[n] for n in _BOUNDS if n in file.variables), None)
    if bounds is None:
        raise UnreadableError(f"no {' or '.join(_BOUNDS)}: which time its means cover is unknown")
    pairs = np.ma.filled(bounds[:].astype(np.float64), np.nan)
    if pairs.shape != (time.size, 2):
        raise UnreadableError(f"{bounds.name} of shape {pairs.shape}, expected {(time.size, 2)}")
    return [_period(pair, units, calendar) for pair in pairs]


def _period(pair: Array, units: str, calendar: str) -> Period | str:
    if not np.isfinite(pair).all():
        return "without a time"
    dates = cftime.num2date(pair, units, calendar)
    try:
        first, last = (round(n) for n in cftime.date2num(dates, TIME_UNITS, CALENDAR))
    except ValueError:
        return f"at a date that the calendar {CALENDAR} lacks"
    # CAM writes the state at the start to its averaged streams: one sample, and no mean.
    return (first, last) if last > first else "of zero length"


def read_grid_fields(path: Path) -> Fields:
    """Those of `GRID_FIELDS` that a file holds.

    Raises:
        UnreadableError: if it cannot be read.
    """
    with _opened(path) as file:
        held = {name: file.variables[name] for name in GRID_FIELDS if name in file.variables}
        # What joins files repeats for every time what does not change.
        return {
            name: np.ma.getdata(variable[0 if "time" in variable.dimensions else ...])
            for name, variable in held.items()
        }


def read_fields(path: Path, index: int, names: tuple[str, ...], size: Size) -> dict[str, Array]:
    """Fields of one mean.

    Args:
        path: of the file.
        index: of the mean along its time axis.
        names: fields that are wanted; those that the file lacks are left out.
        size: number of levels and columns.

    Returns:
        (level, column) or (column,), float64.

    Raises:
        UnreadableError: if a field cannot be read, has another shape or holds no numbers.
    """
    try:
        # A mean is read for several scores, and one of the reference for each run it is compared
        # with. The key holds the time of change, so that a rewritten file is read again.
        key = (path, path.stat().st_mtime_ns, index, names)
        fields = dict(_RECENT.get(key, lambda: _read(path, index, names)))
    except OSError as error:
        raise UnreadableError(f"cannot be read ({_first_line(error)})") from error
    for name, values in fields.items():
        known = HISTORY_FIELDS.get(name)
        profile = known.profile if known else values.ndim == 2
        expected = size if profile else size[1:]
        if values.shape != expected:
            raise UnreadableError(f"{name} of shape {values.shape}, expected {expected}")
    broken = [name for name, values in fields.items() if not np.isfinite(values).all()]
    if broken:
        raise UnreadableError(f"{', '.join(broken)} not finite")
    return fields


class RecentMeans:
    """Means that were read last, up to a size: the one asked for longest ago goes first."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._kept: OrderedDict[tuple[object, ...], Fields] = OrderedDict()

    def get(self, key: tuple[object, ...], read: Callable[[], Fields]) -> Fields:
        """The fields under a key, read where they are not there (any more)."""
        if key not in self._kept:
            self._kept[key] = read()
            self._size += _bytes_of(self._kept[key])
        self._kept.move_to_end(key)
        found = self._kept[key]
        while self._size > self._limit:
            self._size -= _bytes_of(self._kept.popitem(last=False)[1])
        return found


def _bytes_of(fields: Fields) -> int:
    return sum(values.nbytes for values in fields.values())


_RECENT = RecentMeans(_KEPT_BYTES)


def _read(path: Path, index: int, names: tuple[str, ...]) -> Fields:
    with _opened(path) as file:
        present = [name for name in names if name in file.variables]
        return {
            name: np.ma.filled(file.variables[name][index].astype(np.float64), np.nan)
            for name in present
        }


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with netCDF4.Dataset(path) as file:
            check_size(path, file)
            yield file
    except _LIBRARY_ERRORS as error:
        raise UnreadableError(f"cannot be read ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
