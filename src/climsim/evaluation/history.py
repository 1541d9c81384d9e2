"""The history files and the record of an online run, of any host that writes E3SM's form.

Files that cannot be used, and records that are no mean, are left out and named in ``problems``, so
that one bad file of a long run costs its own period and nothing else.
"""

from __future__ import annotations

import glob
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any

import cftime

from climsim.arrays import Array, Fields
from climsim.calendar import CALENDAR, TIME_UNITS
from climsim.cards import TrainingCard
from climsim.errors import ClimSimError
from climsim.evaluation.history_file import (
    GRID_FIELDS,
    Header,
    Period,
    Size,
    UnreadableError,
    read_fields,
    read_grid_fields,
    read_header,
)
from climsim.evaluation.members import NETWORKS, RECIPES, Member, member_of
from climsim.exported_file import training_of_file
from climsim.files import read_json
from climsim.grid import GRID_AXES, ColumnGrid
from climsim.runs.record import RECORD_NAME
from climsim.runs.streams import STREAMS

__all__ = ["Array", "Period", "RecordLocation", "RunHistory", "date_of"]
logger = logging.getLogger(__name__)
_KNOWN: dict[str, type | UnionType] = {
    "status": str,
    "days": int | float,
    "days_wanted": int | float,
    "dt": int | float,
    "sypd": int | float,
    "model": str,
    "training": dict,
    "case": str,
    "physics": str,
    "message": str,
    "made_by": dict,
    "corrections": dict,
}
"""What a record says and the evaluation reads, with its types."""
ANY_FILE = "*.eam.h[0-9].*.nc"
"""Pattern of the names of history files."""


@dataclass(frozen=True)
class RecordLocation:
    """Where a mean lies.

    Attributes:
        path: of the file.
        index: along its time axis.
        names: variables on the columns that the file holds.
    """

    path: Path
    index: int
    names: frozenset[str]


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
            found = "expected the folder of a run, found a file"
            what = found if folder.exists() else "no such run folder"
            raise ClimSimError(f"{folder}: {what}: give the folder that `climsim online run` wrote")
        run = cls(folder, {})
        run.record = run._read_record()
        if run.empty and allow_empty and run.record:
            run.note("no history file")
        elif run.empty:
            raise ClimSimError(
                f"{folder}: no readable history file (*.eam.h0.*.nc, h1, h2): run it again"
                + "".join(f"; {problem}" for problem in run.problems)
            )
        return run

    def _read_record(self) -> dict[str, Any]:
        """What the record says, as far as it can be understood."""
        path = self.folder / RECORD_NAME
        if not path.exists():
            self.note(f"{path.name}: missing; status and speed are unknown")
            return {}
        try:
            values = read_json(path)
        except (ClimSimError, OSError) as error:
            self.note(f"{path.name}: damaged ({error}); status and speed are unknown")
            return {}
        if not isinstance(values, dict):
            self.note(f"{path.name}: expected the record of a run; status and speed are unknown")
            return {}
        return {k: value for k, value in values.items() if self._understood(k, value)}

    def _understood(self, key: str, value: object) -> bool:
        if value is None or isinstance(value, _KNOWN.get(key, object)):
            return True
        self.note(f"{RECORD_NAME}: {key} is {value!r}; left out")
        return False

    @property
    def empty(self) -> bool:
        """Whether there is no readable history file."""
        return not any(self._streams.values())

    @cached_property
    def member(self) -> Member:
        """Network, recipe and seed of the model that ran.

        As its file says or said when the run started, else by the name of the file. The folder, of
        which a user may make anything, names it only where nothing says which model ran, or where
        neither file nor record knows its training and the name is one of the published study.
        """
        named, model = member_of(self.folder.name), self.record.get("model")
        if not model:
            return named
        said = self.record.get("training")
        training = TrainingCard.from_json(said) if said else training_of_file(Path(model))
        published = named.network in NETWORKS and named.recipe in RECIPES
        if published and not training.network and not training.recipe:
            return named
        return member_of(Path(model).stem, training)

    def note(self, text: str) -> None:
        """Remember and log a problem."""
        logger.warning("%s: %s", self.folder, text)
        self.problems.append(text)

    def periods(self, stream: str) -> dict[Period, RecordLocation]:
        """Means of a stream by period, in the order of time."""
        return self._streams[stream]

    @cached_property
    def _headers(self) -> dict[str, dict[Path, Header]]:
        """Headers of the files of each stream that can be read."""
        found: dict[str, dict[Path, Header]] = {stream: {} for stream in STREAMS}
        for stream, headers in found.items():
            for path in self._files(stream):
                try:
                    headers[path] = read_header(path)
                except UnreadableError as error:
                    self.note(f"{path.name}: {error}; left out")
                    continue
                for reason in headers[path].left_out:
                    self.note(f"{path.name}: {reason}; left out")
        return found

    @cached_property
    def _case(self) -> str:
        """The case whose files are read: that of the record, of the folder, or the only one.

        Raises:
            ClimSimError: if there are files of several, and none of them is meant.
        """
        found = {path.name.partition(".eam.")[0] for path in self.folder.glob(ANY_FILE)}
        named = [self.record.get("case"), self.folder.name, *(found if len(found) == 1 else ())]
        case = next((name for name in named if name in found), None)
        if case is None and found:
            raise ClimSimError(
                f"{self.folder}: expected history files of one run, found those of "
                f"{', '.join(sorted(found))}: keep each run in a folder of its own"
            )
        for other in sorted(found - {case}):
            self.note(f"{other}.eam.*.nc: files of another run than {case}; left out")
        return str(case)

    def _files(self, stream: str) -> list[Path]:
        """Files of a stream, of the one case."""
        return sorted(self.folder.glob(f"{glob.escape(self._case)}.eam.{stream}.*.nc"))

    @cached_property
    def size(self) -> Size:
        """Number of levels and columns of most of its files."""
        sizes = Counter(h.size for hs in self._headers.values() for h in hs.values() if h.means)
        # A file of surface fields alone says nothing about levels.
        whole = {size: n for size, n in sizes.items() if size[0] is not None} or sizes
        return max(whole, key=lambda size: whole[size])

    @cached_property
    def _streams(self) -> dict[str, dict[Period, RecordLocation]]:
        return {stream: self._placed(headers) for stream, headers in self._headers.items()}

    def _placed(self, headers: Mapping[Path, Header]) -> dict[Period, RecordLocation]:
        """Place of every mean, in the order of time."""
        found: dict[Period, RecordLocation] = {}
        for path, header in headers.items():
            if header.means and not self._fits(header.size):
                expected = _size_text(self.size)
                self.note(f"{path.name}: {_size_text(header.size)}, expected {expected}; left out")
                continue
            for index, period in header.means:
                if period not in found:
                    found[period] = RecordLocation(path, index, header.names)
                else:
                    first = found[period].path.name
                    span = f"{date_of(period[0])} to {date_of(period[1])}"
                    self.note(f"{path.name}: {span} is in {first} too; left out")
        return dict(sorted(found.items()))

    def _fits(self, size: Size) -> bool:
        return size == self.size or (size[0] is None and size[1] == self.size[1])

    @cached_property
    def grid_fields(self) -> Fields:
        """Those of `GRID_FIELDS` that its files hold, each from the first file that does."""
        found: Fields = {}
        for location in (place for s in STREAMS for place in self.periods(s).values()):
            if found.keys() == set(GRID_FIELDS):
                break
            try:
                found = read_grid_fields(location.path) | found
            except UnreadableError as error:
                self.note(f"{location.path.name}: {error}; left out")
        return found

    @cached_property
    def grid(self) -> ColumnGrid:
        """Columns and levels.

        Raises:
            ClimSimError: if its files do not describe them.
        """
        missing = [name for name in GRID_FIELDS if name not in self.grid_fields]
        if missing:
            raise ClimSimError(
                f"{self.folder}: expected history files that hold the grid, found no "
                f"{', '.join(missing)}: run it again"
            )
        arrays = {name: self.grid_fields[name] for name in GRID_AXES}
        return ColumnGrid(**arrays, p0=float(self.grid_fields["P0"]))

    @cached_property
    def start(self) -> int:
        """Beginning of the first mean [s since 0001-01-01]."""
        return min(p[0] for s in STREAMS for p in self.periods(s))

    @property
    def length(self) -> int:
        """From there to the end of the last mean [s]."""
        return max(p[1] for s in STREAMS for p in self.periods(s)) - self.start

    def holds(self, stream: str, name: str) -> bool:
        """Whether any file of a stream holds a field."""
        return any(name in location.names for location in self.periods(stream).values())

    def instantaneous(self, stream: str, name: str) -> bool:
        """Whether the files of a stream hold samples of a field at one time, not means."""
        headers = self._headers[stream].values()
        return any(name in header.instantaneous for header in headers)

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
        location = self.periods(stream)[period]
        try:
            return read_fields(location.path, location.index, tuple(names), self.size)
        except UnreadableError as error:
            problem = f"{location.path.name}: {error}; left out"
            if problem not in self.problems:
                self.note(problem)
            return None


def _size_text(size: Size) -> str:
    levels = "" if size[0] is None else f"{size[0]} levels, "
    return f"{levels}{size[1]} columns"


def date_of(seconds: int) -> str:
    """Day of a number of seconds since 0001-01-01, as YYYY-MM-DD."""
    date = cftime.num2date(seconds, TIME_UNITS, CALENDAR)
    return f"{date.year:04d}-{date.month:02d}-{date.day:02d}"
