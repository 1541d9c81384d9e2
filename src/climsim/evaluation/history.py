"""Reading the history files and the record of an online run, of any host that writes E3SM's form.

Files cut short, missing or not finite are left out and named in ``problems``, so that one bad file
of a long run costs its own period and nothing else.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cftime
import netCDF4
import numpy as np
from numpy.typing import NDArray

from climsim.errors import ClimSimError
from climsim.evaluation.members import Member, member_of
from climsim.files import read_json
from climsim.grid import ColumnGrid

logger = logging.getLogger(__name__)

Array = NDArray[np.floating]
Period = tuple[int, int]
"""Beginning and end of a mean [s since 0001-01-01, noleap]."""

EPOCH = "seconds since 0001-01-01 00:00:00"
CALENDAR = "noleap"
_BOUNDS = ("time_bnds", "time_bounds")
_GRID = ("lat", "lon", "area", "hyam", "hybm", "hyai", "hybi")
_UNREADABLE = (OSError, RuntimeError, KeyError, IndexError)
"""What the netCDF library raises for a file that is cut short or no netCDF at all."""


@dataclass(frozen=True)
class Place:
    """Where a mean lies: file and index along its time axis."""

    path: Path
    index: int


@dataclass
class RunHistory:
    """The history files and the record of one run.

    Attributes:
        folder: of the run.
        record: what ``record.json`` says; empty where it is missing.
        problems: what could not be read, in words.
    """

    folder: Path
    record: dict[str, Any]
    problems: list[str] = field(default_factory=list)
    _streams: dict[str, dict[Period, Place]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, allow_empty: bool = False) -> RunHistory:
        """Open a run folder.

        Args:
            folder: of the run.
            allow_empty: whether a run that has a record but stopped before its first history file
                is taken.

        Raises:
            ClimSimError: if the folder does not exist or holds no history file.
        """
        if not folder.is_dir():
            raise ClimSimError(f"{folder}: no such run folder: run `climsim online run` first")
        record_path = folder / "record.json"
        run = cls(folder, read_json(record_path) if record_path.exists() else {})
        if not record_path.exists():
            run.note(f"{record_path.name}: missing; status and speed are unknown")
        if run.empty and allow_empty and run.record:
            run.note("no history file")
        elif run.empty:
            raise ClimSimError(
                f"{folder}: no readable history file (*.eam.h0.*.nc, h1, h2): run it again"
            )
        return run

    @property
    def empty(self) -> bool:
        """Whether there is no readable history file."""
        return not any(self.periods(stream) for stream in ("h0", "h1", "h2"))

    @cached_property
    def member(self) -> Member:
        """Network, recipe and seed of the model that ran, from its file's or the folder's name."""
        model = self.record.get("model")
        if not model:
            return member_of({}, self.folder.name)
        path = Path(model)
        named = member_of({}, self.folder.name)
        # The study names folders by member; other folders go by what the model file says.
        return named if named.seed >= 0 else member_of(_model_metadata(path), path.stem)

    def note(self, text: str) -> None:
        """Remember and log a problem."""
        logger.warning("%s: %s", self.folder, text)
        self.problems.append(text)

    def periods(self, stream: str) -> dict[Period, Place]:
        """Means of a stream by period, in the order of time."""
        if stream not in self._streams:
            found: dict[Period, Place] = {}
            for path in sorted(self.folder.glob(f"*.eam.{stream}.*.nc")):
                try:
                    found |= {
                        period: Place(path, i) for i, period in enumerate(_read_periods(path))
                    }
                except _UNREADABLE as error:
                    self.note(f"{path.name}: cannot be read ({_first_line(error)}); left out")
            self._streams[stream] = dict(sorted(found.items()))
        return self._streams[stream]

    @cached_property
    def grid(self) -> ColumnGrid:
        """Columns and levels, from the first readable file."""
        for stream in ("h0", "h1", "h2"):
            for place in self.periods(stream).values():
                try:
                    return _read_grid(place.path)
                except _UNREADABLE:
                    continue
        raise ClimSimError(f"{self.folder}: no history file holds {', '.join(_GRID)}: run it again")

    @cached_property
    def start(self) -> int:
        """Beginning of the first mean [s since 0001-01-01]."""
        return min(p[0] for s in ("h0", "h1", "h2") for p in self.periods(s))

    def read(self, stream: str, period: Period, names: Iterable[str]) -> dict[str, Array] | None:
        """Fields of one mean.

        Args:
            stream: ``h0``, ``h1`` or ``h2``.
            period: one of `periods`.
            names: fields that are wanted.

        Returns:
            Those that the file holds, (level, column) or (column,), float64; None where the file
            is damaged or not finite (noted in ``problems``).
        """
        place = self.periods(stream)[period]
        try:
            fields = _read_fields(place, tuple(names))
        except _UNREADABLE as error:
            self.note(f"{place.path.name}: cannot be read ({_first_line(error)}); left out")
            return None
        broken = [name for name, values in fields.items() if not np.isfinite(values).all()]
        if broken:
            self.note(f"{place.path.name}: {', '.join(broken)} not finite; left out")
            return None
        return fields


def _model_metadata(path: Path) -> dict[str, Any]:
    """What an exported model says about itself; nothing where the file is gone or of another kind.

    The file is a zip archive, so its metadata can be read without loading the network.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/extra/metadata.json"))
            return dict(json.loads(archive.read(name)))
    except (OSError, zipfile.BadZipFile, StopIteration, ValueError):
        return {}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read_periods(path: Path) -> list[Period]:
    """Periods of the means in a file; without bounds, from the time before, or 0 length."""
    with netCDF4.Dataset(path) as file:
        time = file.variables["time"]
        bounds = next((file.variables[n] for n in _BOUNDS if n in file.variables), None)
        ends = np.ma.getdata(time[:]).astype(np.float64)
        pairs = np.ma.getdata(bounds[:]) if bounds is not None else np.stack([ends, ends], axis=1)
        dates = cftime.num2date(pairs, time.units, getattr(time, "calendar", CALENDAR))
        seconds = np.rint(cftime.date2num(dates, EPOCH, CALENDAR)).astype(np.int64)
    return [(int(first), int(last)) for first, last in seconds]


def _read_grid(path: Path) -> ColumnGrid:
    with netCDF4.Dataset(path) as file:
        arrays = {name: np.ma.getdata(file.variables[name][:]) for name in _GRID}
        arrays = {name: a[0] if a.ndim == 2 else a for name, a in arrays.items()}
        return ColumnGrid(**arrays, p0=float(np.ma.getdata(file.variables["P0"][...])))


@lru_cache(maxsize=128)
def _read_cached(path: Path, stamp: int, index: int, names: tuple[str, ...]) -> dict[str, Array]:
    with netCDF4.Dataset(path) as file:
        present = [name for name in names if name in file.variables]
        return {
            name: np.ma.filled(file.variables[name][index].astype(np.float64), np.nan)
            for name in present
        }


def _read_fields(place: Place, names: tuple[str, ...]) -> dict[str, Array]:
    # The reference is read once for each run it is compared with: the cache holds five years of
    # months, and its key holds the time of change, so that a rewritten file is read again.
    stamp = place.path.stat().st_mtime_ns
    return dict(_read_cached(place.path, stamp, place.index, names))


def date_of(seconds: int) -> str:
    """Day of a number of seconds since 0001-01-01, as YYYY-MM-DD."""
    date = cftime.num2date(seconds, EPOCH, CALENDAR)
    return f"{date.year:04d}-{date.month:02d}-{date.day:02d}"
