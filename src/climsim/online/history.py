"""History files in E3SM's form: means over months, days and hours, written whole or not at all.

Names, dimensions (time, lev, ncol), coordinates and attributes are E3SM's, so that one evaluation
serves every host. Each stream holds its sums in memory and in the restart; a file is written when
its period ends, and once more for a period that the run leaves unfinished. A step is added to one
sum of each field, which every stream takes over when the period of one of them ends: so a month
costs no more than a day. Sums and means leave a device for a file or a restart alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import cftime
import numpy as np
from cftime import DatetimeNoLeap as Date

from climsim.arrays import Array, Fields, to_numpy
from climsim.calendar import CALENDAR
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError, unknown_name
from climsim.grid import ColumnGrid
from climsim.hosts.members import of_member, side_by_side
from climsim.netcdf import NetcdfVariable, write_variables
from climsim.online.sums import Sums
from climsim.runs.fields import HISTORY_FIELDS, require_hourly_fields
from climsim.runs.streams import STREAMS

_LATITUDE = {"units": "degrees_north", "standard_name": "latitude", "long_name": "latitude"}
_LONGITUDE = {"units": "degrees_east", "standard_name": "longitude", "long_name": "longitude"}
_DAYS_SINCE = "days since 0001-01-01 00:00:00"
_HPA = 1000.0
_RUNNING = "running"
"""Sums that no stream has taken over yet, among the arrays of a restart."""


@dataclass
class Sample:
    """A mean over one period; its fields stay on the device where they were computed."""

    start: Date
    end: Date
    steps: int
    fields: Fields


class Stream:
    """Running means of one stream and the samples that wait for their file.

    Args:
        name: of the stream, a key of `STREAMS`.
        fields: names to hold; empty means the stream's default.

    Attributes:
        sums: of the period at hand, but for the steps that the streams have not taken over yet.
    """

    def __init__(self, name: str, fields: tuple[str, ...] = ()) -> None:
        if name not in STREAMS:
            raise unknown_name("history stream", name, STREAMS)
        self.name = name
        self.kind = STREAMS[name]
        self.fields = fields or self.kind.fields
        self.sums = Sums()
        self._latest: frozenset[str] = frozenset()
        self._steps = 0
        self._start: Date | None = None
        self._end: Date | None = None
        self._waiting: list[Sample] = []

    def holds(self, name: str) -> bool:
        """Whether a field belongs to the stream."""
        return not self.fields or name in self.fields

    def end_step(self, names: Iterable[str], start: Date, seconds: float) -> bool:
        """Count a step.

        Args:
            names: of all its fields.
            start: beginning of the step.
            seconds: its length.

        Returns:
            Whether the period ends with it.
        """
        if self._start is None:
            self._start = start
        self._end = start + timedelta(seconds=seconds)
        self._steps += 1
        self._latest = frozenset(names)
        return self.kind.period(self._end) != self.kind.period(start)

    def finish_period(self) -> None:
        """Make a sample of the period that ended, whose sums are all here."""
        self._waiting.append(self._mean(Sums()))
        self.sums, self._steps = Sums(), 0
        self._start = self._end = None

    def take_file(self) -> list[Sample] | None:
        """Hand over the samples of a file that is complete, if there is one."""
        if not self._waiting:
            return None
        last = self._waiting[-1]
        if self._start is not None or self.kind.file(last.end) == self.kind.file(last.start):
            return None
        samples, self._waiting = self._waiting, []
        return samples

    def unfinished(self, more: Sums) -> list[Sample]:
        """Samples of the file at hand, the running one included; the stream stays as it is.

        Args:
            more: sums over the steps that the stream has not taken over yet.
        """
        return self._waiting + ([self._mean(more)] if self._start is not None else [])

    def _mean(self, more: Sums) -> Sample:
        assert self._start is not None
        assert self._end is not None
        # A field that ended with the spin-up must not stand for the whole period; one that began
        # after it may: its mean is over the steps that had it.
        there = (self.sums.totals.keys() | more.totals.keys()) & self._latest
        held = [name for name in self.fields or [*self.sums.totals, *more.totals] if name in there]
        means = {name: self.sums.mean(name, more) for name in held}
        return Sample(self._start, self._end, self._steps, means)

    def to_arrays(self) -> dict[str, Array]:
        """Flatten into named arrays, for a restart file."""
        arrays = self.sums.to_arrays()
        if self._start is not None and self._end is not None:
            arrays["running"] = np.array([*_ordinal(self._start), *_ordinal(self._end)])
            arrays["steps"] = np.array(self._steps)
            arrays["latest"] = np.array(sorted(self._latest))
        for index, sample in enumerate(self._waiting):
            prefix = f"waiting/{index}"
            arrays |= {f"{prefix}/{n}": to_numpy(x) for n, x in sample.fields.items()}
            span = [*_ordinal(sample.start), *_ordinal(sample.end), sample.steps]
            arrays[f"{prefix}/"] = np.array(span)
        return arrays

    def load_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Continue from what `to_arrays` flattened."""
        self.sums = Sums.from_arrays(arrays)
        if "running" in arrays:
            self._start, self._end = _dates(arrays["running"])
            self._steps = int(arrays["steps"])
            self._latest = frozenset(str(n) for n in arrays["latest"])
        waiting: dict[int, Fields] = {}
        for key, value in arrays.items():
            part, _, rest = key.partition("/")
            if part == "waiting":
                index, _, name = rest.partition("/")
                waiting.setdefault(int(index), {})[name] = value
        self._waiting = []
        for number in sorted(waiting):
            span = waiting[number].pop("")
            self._waiting.append(Sample(*_dates(span[:4]), int(span[4]), waiting[number]))


def _ordinal(date: Date) -> tuple[int, int]:
    """Days since the epoch and second of the day, both exact."""
    days = cftime.date2num(Date(date.year, date.month, date.day), _DAYS_SINCE, CALENDAR)
    return int(days), date.hour * 3600 + date.minute * 60 + date.second


def _dates(span: Array) -> tuple[Date, Date]:
    """Two dates from two pairs of `_ordinal`."""
    numbers = [int(n) for n in span]
    epoch = Date(1, 1, 1)
    start = epoch + timedelta(days=numbers[0], seconds=numbers[1])
    return start, epoch + timedelta(days=numbers[2], seconds=numbers[3])


@dataclass(frozen=True)
class Destination:
    """Where the files of one member go.

    Attributes:
        folder: of the run.
        case: name of the run, the first part of every file name.
        attributes: global attributes of every file.
    """

    folder: Path
    case: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    def path(self, stream: str, date: Date) -> Path:
        """Path of the file of a stream that a date belongs to."""
        return self.folder / f"{self.case}.eam.{stream}.{STREAMS[stream].file(date)}.nc"


class HistoryWriter:
    """All streams of the members of a run and their files.

    Args:
        destinations: of the members, whose columns lie side by side in the fields.
        grid: the columns of one member.
        streams: names of the streams.
        hourly_fields: fields of the hourly stream; empty means its default.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        grid: ColumnGrid,
        streams: tuple[str, ...],
        hourly_fields: tuple[str, ...] = (),
    ) -> None:
        require_hourly_fields(hourly_fields)
        self.destinations, self.grid = tuple(destinations), grid
        self.streams = [Stream(n, hourly_fields if n == "h2" else ()) for n in streams]
        self._running = Sums()

    def add(
        self, fields: Fields, start: Date, seconds: float, members: Collection[int] = (0,)
    ) -> None:
        """Add one step to every stream and write the files that it completes.

        Args:
            fields: of all members, by name.
            start: beginning of the step.
            seconds: its length.
            members: whose files are written.
        """
        for name, values in fields.items():
            if any(stream.holds(name) for stream in self.streams):
                self._running.add(name, values)
        ending = [s for s in self.streams if s.end_step(fields, start, seconds)]
        self._hand_over([n for n in self._running.totals if any(s.holds(n) for s in ending)])
        for stream in ending:
            stream.finish_period()
            samples = stream.take_file()
            if samples is not None:
                self._write(stream, samples, members)

    def _hand_over(self, names: Iterable[str]) -> None:
        """Add the running sums of fields to those of every stream."""
        for name in names:
            total, steps = self._running.pop(name)
            for stream in self.streams:
                if stream.holds(name):
                    stream.sums.add(name, total, steps)

    def write_unfinished(self, members: Collection[int] = (0,)) -> None:
        """Write members' files of the periods at hand, so that nothing that was run is lost."""
        for stream in self.streams:
            samples = stream.unfinished(self._running)
            if samples:
                self._write(stream, samples, members)

    def _write(self, stream: Stream, samples: list[Sample], members: Collection[int]) -> None:
        here = [replace(s, fields={n: to_numpy(x) for n, x in s.fields.items()}) for s in samples]
        for index in members:
            destination, count = self.destinations[index], len(self.destinations)
            of_one = [replace(s, fields=of_member(s.fields, index, count)) for s in here]
            about = {"Conventions": "CF-1.8", "case": destination.case, **destination.attributes}
            # Uncompressed: single-precision fields shrink by a sixth, at ten times the writing
            # time.
            path = destination.path(stream.name, samples[0].start)
            write_variables(path, history_variables(of_one, self.grid), about, unlimited="time")

    def to_arrays(self, index: int = 0) -> dict[str, Array]:
        """Flatten every stream into named arrays, for the restart file of a member."""
        count = len(self.destinations)
        parts_of_all = {s.name: s.to_arrays() for s in self.streams}
        parts_of_all[_RUNNING] = self._running.to_arrays()
        arrays = {f"{n}|{k}": x for n, of_one in parts_of_all.items() for k, x in of_one.items()}
        parts = {k: x for k, x in arrays.items() if _holds_columns(k)}
        return {**arrays, **of_member(parts, index, count)}

    def load_arrays(self, members: Sequence[Mapping[str, Array]]) -> None:
        """Continue from what `to_arrays` flattened for each member."""
        parts = [{k: x for k, x in m.items() if _holds_columns(k)} for m in members]
        arrays = {**members[0], **(side_by_side(parts) if parts[0] else {})}
        for stream in self.streams:
            stream.load_arrays(_below(arrays, stream.name))
        self._running = Sums.from_arrays(_below(arrays, _RUNNING))


def _below(arrays: Mapping[str, Array], part: str) -> dict[str, Array]:
    """The arrays of a stream, or of the running sums."""
    prefix = f"{part}|"
    return {k.removeprefix(prefix): x for k, x in arrays.items() if k.startswith(prefix)}


def _holds_columns(key: str) -> bool:
    """Whether a flattened array holds a field, and not a date or a number."""
    part, _, name = key.partition("|")[2].partition("/")
    return part == "sum" or (part == "waiting" and not name.endswith("/"))


def grid_variables(grid: ColumnGrid) -> dict[str, NetcdfVariable]:
    """Coordinates and hybrid coefficients of every file, as E3SM names them."""
    pressure = "hybrid level at {} (1000*(A+B))"
    return {
        "lat": ("ncol", grid.lat, _LATITUDE),
        "lon": ("ncol", grid.lon, _LONGITUDE),
        "area": ("ncol", grid.area, {"units": "steradian", "long_name": "area of grid box"}),
        "lev": (
            "lev",
            _HPA * (grid.hyam + grid.hybm),
            {"units": "hPa", "long_name": pressure.format("midpoints"), "positive": "down"},
        ),
        "ilev": (
            "ilev",
            _HPA * (grid.hyai + grid.hybi),
            {"units": "hPa", "long_name": pressure.format("interfaces"), "positive": "down"},
        ),
        "hyam": ("lev", grid.hyam, _hybrid("A", "midpoints")),
        "hybm": ("lev", grid.hybm, _hybrid("B", "midpoints")),
        "hyai": ("ilev", grid.hyai, _hybrid("A", "interfaces")),
        "hybi": ("ilev", grid.hybi, _hybrid("B", "interfaces")),
        "P0": ((), grid.p0, {"units": "Pa", "long_name": "reference pressure"}),
    }


def _hybrid(letter: str, where: str) -> dict[str, str]:
    return {"units": "1", "long_name": f"hybrid {letter} coefficient at layer {where}"}


def history_variables(samples: list[Sample], grid: ColumnGrid) -> dict[str, NetcdfVariable]:
    """Variables of a file of E3SM's form, from samples; the time is the end of each mean."""
    names = samples[0].fields
    if any(s.fields.keys() != names.keys() for s in samples):
        names = {n: x for n, x in names.items() if all(n in s.fields for s in samples)}
    variables = grid_variables(grid)
    for name, first in names.items():
        table = HISTORY_FIELDS[name]
        _check_shape(name, first, grid, table.profile)
        dims = ("time", "lev", "ncol") if table.profile else ("time", "ncol")
        stack = np.stack([s.fields[name] for s in samples]).astype(np.float32)
        about = {
            "units": table.unit,
            "long_name": table.long_name,
            "cell_methods": "time: mean",
            "coordinates": "lat lon",
        }
        if table.standard_name:
            about["standard_name"] = table.standard_name
        variables[name] = (dims, stack, about)
    bounds = np.array([[_days(s.start), _days(s.end)] for s in samples])
    calendar = {"units": _DAYS_SINCE, "calendar": CALENDAR, "standard_name": "time", "axis": "T"}
    variables["time"] = ("time", bounds[:, 1], {**calendar, "bounds": "time_bnds"})
    variables["time_bnds"] = (("time", "nbnd"), bounds, {"long_name": "time interval endpoints"})
    steps = np.array([s.steps for s in samples], dtype=np.int32)
    variables["nsteps"] = ("time", steps, {"units": "1", "long_name": "model steps in the mean"})
    return variables


def _days(date: Date) -> float:
    days, seconds = _ordinal(date)
    return days + seconds / SECONDS_PER_DAY


def _check_shape(name: str, value: Array, grid: ColumnGrid, profile: bool) -> None:
    expected = (grid.n_levels, grid.n_columns) if profile else (grid.n_columns,)
    if value.shape != expected:
        raise ClimSimError(f"history field {name}: expected shape {expected}, found {value.shape}")
