"""Opening the exported model of a run and checking that it fits the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.online.hosts.base import HealthReport
from climsim.thermodynamics import Array
from climsim.variables import DOOR_OUTPUTS


class Model(Protocol):
    """An exported model, as the run loop sees it."""

    door: str
    n_levels: int
    confidence: bool
    metadata: dict[str, Any]

    def __call__(self, vector: Array) -> Array:
        """Physical outputs (column, feature) of physical inputs (column, feature), float32."""
        ...


def open_model(path: Path, grid: ColumnGrid, device: str = "auto") -> Model:
    """Load an exported model and check it against the columns of a host.

    torch is held to one thread: on few cores its threads and those of the host's compiler would
    take turns.

    Args:
        path: of the TorchScript file.
        grid: the host's columns.
        device: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one.

    Raises:
        ClimSimError: if there is no such device, the file is no exported model (door and output
            size included), or the number of levels is not the host's.
    """
    # Here, not above: a run of the host's own physics then needs no torch at all.
    import torch

    from climsim.export import load_emulator

    torch.set_num_threads(1)
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ClimSimError("device: expected cuda, found no GPU that torch can use: set device=cpu")
    model = load_emulator(path, "cuda" if there and device != "cpu" else "cpu")
    if model.n_levels != grid.n_levels:
        raise ClimSimError(
            f"{path}: expected a model of {grid.n_levels} levels, as the host has, found "
            f"{model.n_levels}: export one for this host"
        )
    return model


def non_finite(output: Array, grid: ColumnGrid) -> HealthReport | None:
    """Find the first value of a model's output that is no number.

    Args:
        output: (column, feature).
        grid: the host's columns.

    Returns:
        Where it is, or None where all are finite.
    """
    bad = np.argwhere(~np.isfinite(output))
    if not bad.size:
        return None
    column, feature = (int(i) for i in bad[0])
    limits = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))
    for name, where in DOOR_OUTPUTS.slices(grid.n_levels).items():
        if where.start <= feature < where.stop:
            profile = where.stop - where.start > 1
            level = feature - where.start if profile else None
            return HealthReport(name, column, level, float(output[column, feature]), limits)
    return HealthReport("confidence", column, None, float(output[column, feature]), limits)
