"""By which endings files of samples are recognized."""

from __future__ import annotations

from pathlib import Path

TABLES = (".csv", ".csv.gz", ".parquet")
ARRAYS = (".npy", ".h5", ".hdf5")


def is_row_file(path: str | Path) -> bool:
    """Whether a path names a file of samples, by its ending."""
    return str(path).endswith((*TABLES, *ARRAYS))


def is_table(path: str | Path) -> bool:
    """Whether a path names a table of samples, by its ending."""
    return str(path).endswith(TABLES)
