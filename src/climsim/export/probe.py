"""Columns to try a model on."""

from __future__ import annotations

import torch
from torch import Tensor

from climsim.variables import VariableSet, variable

_MAGNITUDES = {
    "kg kg-1": 1e-5,
    "mol mol-1": 1e-6,
    "Pa": 1e5,
    "W m-2": 200.0,
    "m s-1": 10.0,
    "K s-1": 1e-4,
    "kg kg-1 s-1": 1e-8,
    "m s-2": 1e-4,
    "1": 1.0,
}


def probe_columns(door: VariableSet, levels: int, columns: int, seed: int = 0) -> Tensor:
    """Columns of plausible magnitude to try a model on, (column, door feature) float32.

    Args:
        door: layout of the vector.
        levels: levels of a profile.
        columns: how many.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(columns, door.size(levels), generator=generator)
    for name, place in door.slices(levels).items():
        unit = variable(name).unit
        scaled = x[:, place] * _MAGNITUDES.get(unit, 0.1)
        x[:, place] = 200 + 100 * x[:, place] if unit == "K" else scaled
    return x
