"""Forms of files of samples: tables (CSV, Parquet) with named columns, and plain arrays.

A row is a sample. The columns of a table are named as in the Kaggle competition: ``state_t_0`` to
``state_t_59`` for a profile, level 0 at the model top, ``state_ps`` for a scalar, ``sample_id``.
An array (``.npy``, ``.h5``) is (sample, feature) in the order of a variable set, known by its
width. Every form is read in blocks, so memory does not grow with the file.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

from climsim.data.reading.stacked import open_array
from climsim.data.rows.endings import ARRAYS, TABLES
from climsim.errors import ClimSimError, missing_extra, some_of
from climsim.system import refusal
from climsim.variables import VariableSet, variable

if TYPE_CHECKING:
    import pyarrow

SAMPLE_ID = "sample_id"
"""Column of a table that names its rows."""
_PIECE = 16 * 2**20
"""Bytes of a CSV file that are parsed at once."""
_PIECE_ROWS = 1024
"""Rows of a Parquet file that are decoded at once."""
_BUFFER = 8 * 2**10
"""Bytes of a column of a Parquet file that are read at once: a group may hold a million rows."""


@dataclass(frozen=True)
class Rows:
    """Some neighbouring rows of a file.

    Attributes:
        ids: (row,) names of the rows; empty where the file has none.
        values: (row, feature).
    """

    ids: tuple[str, ...]
    values: NDArray[np.float64]


class RowFile(ABC):
    """A file of samples.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of a table, in its order; none of an array."""
        return ()

    @abstractmethod
    def lacks(self, variables: VariableSet, levels: int) -> str:
        """What the file lacks of a set of variables, in words; empty where it holds it."""

    @abstractmethod
    def count(self) -> int:
        """Number of rows."""

    @abstractmethod
    def pieces(self, variables: VariableSet, levels: int) -> Iterator[Rows]:
        """All rows in order, in pieces as the form gives them."""

    def blocks(self, variables: VariableSet, levels: int, size: int) -> Iterator[Rows]:
        """All rows in order, in blocks of ``size`` and a rest.

        Raises:
            ClimSimError: if the file is damaged or holds something else than numbers.
        """
        ids: list[str] = []
        waiting: list[NDArray[np.float64]] = []
        held = 0
        for piece in self.pieces(variables, levels):
            ids += piece.ids
            waiting.append(piece.values)
            held += len(piece.values)
            while held >= size:
                whole = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                yield Rows(tuple(ids[:size]), whole[:size])
                ids, waiting, held = ids[size:], [whole[size:]], held - size
        if held:
            yield Rows(tuple(ids), np.concatenate(waiting))


class _Table(RowFile):
    """A table with named columns, read by pyarrow."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if importlib.util.find_spec("pyarrow") is None:
            raise missing_extra(f"{path}: tables", "pyarrow", "kaggle")
        if not path.is_file():
            raise ClimSimError(f"{path}: no such file")
        with _readable(path):
            self.names = self._read_names()
        double = next((name for name in self.names if self.names.count(name) > 1), None)
        if double is not None:
            raise ClimSimError(f"{path}: two columns are called {double}: remove one of them")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.names)

    @abstractmethod
    def _read_names(self) -> list[str]: ...

    @abstractmethod
    def _batches(self, names: list[str]) -> Iterator[pyarrow.RecordBatch]: ...

    def lacks(self, variables: VariableSet, levels: int) -> str:
        present = set(self.names)
        missing = [name for name in columns_of(variables, levels) if name not in present]
        return f"no column {some_of(missing)}" if missing else ""

    def pieces(self, variables: VariableSet, levels: int) -> Iterator[Rows]:
        columns = columns_of(variables, levels)
        named = [SAMPLE_ID] if SAMPLE_ID in self.names else []
        with _readable(self.path):
            for batch in self._batches([*named, *columns]):
                names = batch.column(0).to_pylist() if named else ()
                ids = tuple("" if name is None else str(name) for name in names)
                values = np.empty((batch.num_rows, len(columns)))
                for k, column in enumerate(columns):
                    values[:, k] = _numbers(batch, column)
                yield Rows(ids, values)


def _numbers(batch: pyarrow.RecordBatch, name: str) -> NDArray[np.float64]:
    """A column of a table as float64; NaN where it holds nothing."""
    import pyarrow

    try:
        return batch.column(name).cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise ValueError(f"column {name} holds no numbers: {_first_line(error)}") from error


class _Csv(_Table):
    def _read_names(self) -> list[str]:
        return self._open([]).schema.names

    def _batches(self, names: list[str]) -> Iterator[pyarrow.RecordBatch]:
        yield from self._open(names)

    def _open(self, names: list[str]) -> Any:
        import pyarrow
        from pyarrow import csv

        # Types are given, not guessed from the first rows: a whole number there may not stay one.
        types = {n: pyarrow.string() if n == SAMPLE_ID else pyarrow.float64() for n in names}
        return csv.open_csv(
            self.path,
            read_options=csv.ReadOptions(block_size=_PIECE),
            convert_options=csv.ConvertOptions(column_types=types, include_columns=names),
        )

    def count(self) -> int:
        import pyarrow

        lines, last = 0, b"\n"
        with _readable(self.path), pyarrow.input_stream(str(self.path)) as stream:
            while piece := stream.read(_PIECE):
                lines += piece.count(b"\n")
                last = piece[-1:]
        return lines + (last != b"\n") - 1


class _Parquet(_Table):
    def _file(self) -> Any:
        from pyarrow import parquet

        # Read ahead, as is the default, it would hold a whole group of rows.
        return parquet.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False)

    def _read_names(self) -> list[str]:
        return self._file().schema_arrow.names

    def _batches(self, names: list[str]) -> Iterator[pyarrow.RecordBatch]:
        yield from self._file().iter_batches(batch_size=_PIECE_ROWS, columns=names)

    def count(self) -> int:
        with _readable(self.path):
            return int(self._file().metadata.num_rows)


class _Arrays(RowFile):
    """One array, or several of different width."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._arrays = {"": open_array(path)} if path.suffix == ".npy" else self._of_hdf()

    def _of_hdf(self) -> dict[str, netCDF4.Variable]:
        try:
            self._file = netCDF4.Dataset(self.path)
        except OSError as error:
            raise refusal(error, self.path) or ClimSimError(
                f"{self.path}: not a whole HDF5 file ({error}): download or write it again"
            ) from error
        self._file.set_auto_mask(False)
        found = self._file.variables.items()
        return {n: a for n, a in found if a.ndim == 2 and getattr(a.dtype, "kind", "") == "f"}

    def _of_width(self, width: int) -> list[str]:
        return [name for name, array in self._arrays.items() if array.shape[1] == width]

    def lacks(self, variables: VariableSet, levels: int) -> str:
        width = variables.size(levels)
        fitting = self._of_width(width)
        if len(fitting) == 1:
            return ""
        if fitting:
            return f"{len(fitting)} arrays of {width} features ({', '.join(fitting)})"
        shapes = ", ".join(f"{n} {a.shape}".strip() for n, a in self._arrays.items())
        return f"no array of {width} features, but {shapes or 'none of two axes and floats'}"

    def count(self) -> int:
        counts = {array.shape[0] for array in self._arrays.values()}
        if len(counts) != 1:
            raise ClimSimError(
                f"{self.path}: arrays of {', '.join(map(str, sorted(counts)))} samples: expected "
                "equally many"
            )
        return int(counts.pop())

    def pieces(self, variables: VariableSet, levels: int) -> Iterator[Rows]:
        (name,) = self._of_width(variables.size(levels))
        array = self._arrays[name]
        for start in range(0, array.shape[0], _PIECE_ROWS):
            with _readable(self.path):
                values = np.asarray(array[start : start + _PIECE_ROWS], np.float64)
            yield Rows((), values)


def open_rows(path: str | Path) -> RowFile:
    """Open a file of samples; nothing but its header is read.

    Raises:
        ClimSimError: if it is missing, damaged or of another form, or pyarrow is not installed.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        return _Parquet(path)
    if str(path).endswith(TABLES):
        return _Csv(path)
    if path.suffix in ARRAYS:
        return _Arrays(path)
    raise ClimSimError(
        f"{path}: expected a file of samples, ending in one of {', '.join((*TABLES, *ARRAYS))}"
    )


def columns_of(variables: VariableSet, levels: int) -> list[str]:
    """Names of the columns of a table that hold a set of variables, in its order."""
    names: list[str] = []
    for name in variables.names:
        profile = variable(name).profile
        names += [f"{name}_{level}" for level in range(levels)] if profile else [name]
    return names


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what pyarrow and the operating system say of a file into one line."""
    try:
        yield
    except ClimSimError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise refusal(error, path) or ClimSimError(
            f"{path}: cannot be read ({_first_line(error)}): download or write it again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def one_of_sets(
    file: RowFile, candidates: Sequence[VariableSet], levels: int, what: str, remedy: str = ""
) -> VariableSet:
    """The first of some sets of variables that a file holds.

    Args:
        file: of samples.
        candidates: sets, the likeliest first.
        levels: of a profile.
        what: the sets are of, for the message.
        remedy: what to do where it holds none.

    Raises:
        ClimSimError: if it holds none of them.
    """
    for variables in candidates:
        if not file.lacks(variables, levels):
            return variables
    sizes = " or ".join(str(variables.size(levels)) for variables in candidates)
    raise ClimSimError(
        f"{file.path}: expected the {sizes} {what} of {levels} levels, found "
        f"{file.lacks(candidates[0], levels)}" + (remedy and f": {remedy}")
    )
