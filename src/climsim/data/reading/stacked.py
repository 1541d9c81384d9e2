"""Stacked ``.npy`` arrays of the published subsampled sets, as labelled datasets.

A stacked array is (sample, feature): samples in the order of time and, within a step, of column;
features in the order of a variable set. The published ones are partly normalized already; the
values are given as they are.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import xarray

from climsim.constants import N_LEVELS
from climsim.errors import ClimSimError, unknown_name
from climsim.system import refusal
from climsim.variables import (
    EXPANDED,
    KAGGLE_INPUTS,
    OUTPUTS,
    STANDARD,
    TARGETS,
    V1,
    V1_TARGETS,
    VariableSet,
    variable,
)

STACKED_SETS: dict[str, VariableSet] = {
    s.name: s for s in (STANDARD, EXPANDED, TARGETS, KAGGLE_INPUTS, OUTPUTS, V1, V1_TARGETS)
}
"""Sets that published stacked arrays follow, by name."""


def open_stacked(
    path: str | Path, variables: str = "", columns: int = 384, levels: int = N_LEVELS
) -> xarray.Dataset:
    """Open a stacked array with one labelled variable per quantity.

    Args:
        path: the ``.npy`` file; it is mapped, not read.
        variables: name of the variable set (`STACKED_SETS`); empty to tell by the width.
        columns: columns of the grid.
        levels: number of levels.

    Returns:
        Profiles (time, column, level) with level 0 at the model top, scalars (time, column).

    Raises:
        ClimSimError: if the file is no such array or its shape fits neither set nor grid.
    """
    path = Path(path)
    array = open_array(path)
    layout = _layout(path, array.shape[1], variables, levels)
    if array.shape[0] % columns:
        raise ClimSimError(
            f"{path}: {array.shape[0]} samples are no multiple of {columns} columns: give the "
            "columns of the grid"
        )
    steps = array.reshape(-1, columns, array.shape[1])
    data: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]] = {}
    for name, where in layout.slices(levels).items():
        values = steps[:, :, where]
        attributes = {"long_name": variable(name).long_name}
        if variable(name).profile:
            data[name] = (("time", "column", "level"), values, attributes)
        else:
            data[name] = (("time", "column"), values[:, :, 0], attributes)
    return xarray.Dataset(data, attrs={"source": str(path), "variable_set": layout.name})


def open_array(path: Path) -> np.ndarray:
    """Map an ``.npy`` file with an array (sample, feature) of floats.

    Raises:
        ClimSimError: if it is no such file.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise refusal(error, path) or ClimSimError(
            f"{path}: not a whole .npy array ({error}): download again"
        ) from error
    if not isinstance(array, np.ndarray):
        raise ClimSimError(
            f"{path}: expected one .npy array, found an archive (.npz) of "
            f"{', '.join(array.files) or 'nothing'}: save the array alone with numpy.save"
        )
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ClimSimError(
            f"{path}: shape {array.shape} of {array.dtype}, expected (sample, feature) of floats"
        )
    return array


def _layout(path: Path, width: int, variables: str, levels: int) -> VariableSet:
    if variables:
        if variables not in STACKED_SETS:
            raise unknown_name("variable set", variables, STACKED_SETS)
        fitting = [STACKED_SETS[variables]]
    else:
        fitting = list(STACKED_SETS.values())
    fitting = [s for s in fitting if s.size(levels) == width]
    if len(fitting) != 1:
        sizes = ", ".join(f"{n} {s.size(levels)}" for n, s in STACKED_SETS.items())
        raise ClimSimError(
            f"{path}: {width} features fit {len(fitting)} sets (sizes: {sizes}): give variables="
        )
    return fitting[0]
