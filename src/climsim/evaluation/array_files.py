"""Arrays of predictions in files of other programs: ``.npy``, ``.npz`` and HDF5."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import netCDF4
import numpy as np

from climsim.arrays import Array
from climsim.errors import ClimSimError


def shaped_array(path: Path, key: str, expected: tuple[int, int, int]) -> Array:
    """An array of a file on the axes of predictions.

    Args:
        path: of the file.
        key: name of the array where the file holds several; empty where it is the only one.
        expected: (time, column, feature) sizes; the first two may be one axis in the file.

    Raises:
        ClimSimError: if the file cannot be read, or holds no such array.
    """
    values = _array(path, key)
    if values.size != np.prod(expected) or values.shape[-1] != expected[-1]:
        raise ClimSimError(
            f"{path}: expected an array of shape {expected}, found {values.shape}: give the "
            "predictions of the same split and stride"
        )
    return values.reshape(expected)


def _array(path: Path, key: str) -> Array:
    """An array of a file that NumPy or netCDF4 reads, which HDF5 files are for."""
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, mmap_mode="r"))
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return np.asarray(arrays[_chosen(path, key, list(arrays.files))])
        with netCDF4.Dataset(path) as file:
            return np.ma.getdata(file[_chosen(path, key, list(file.variables))][:])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ClimSimError(
            f"{path}: expected an array of predictions, found a file that cannot be read "
            f"({error}): write it again"
        ) from error


def _chosen(path: Path, key: str, names: list[str]) -> str:
    if key in names:
        return key
    if not key and len(names) == 1:
        return names[0]
    raise ClimSimError(
        f"{path}: expected predictions_key to be one of {', '.join(names)}, found {key!r}"
    )
