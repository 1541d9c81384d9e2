"""Columns to try a model on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from climsim.variables import VariableSet, variable

Probe = Callable[[int], Tensor]
"""Gives so many columns to try a model on."""
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


def probe_columns(interface: VariableSet, levels: int, columns: int, seed: int = 0) -> Tensor:
    """Columns of plausible magnitude to try a model on, (column, interface feature) float32.

    Args:
        interface: layout of the vector.
        levels: levels of a profile.
        columns: how many.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(columns, interface.size(levels), generator=generator)
    for name, features in interface.slices(levels).items():
        unit = variable(name).unit
        scaled = x[:, features] * _MAGNITUDES.get(unit, 0.1)
        x[:, features] = 200 + 100 * x[:, features] if unit == "K" else scaled
    return x


def training_columns(
    interface: VariableSet,
    statistics: Mapping[str, Tensor],
    fields: Sequence[str],
    columns: int,
    seed: int = 0,
) -> Tensor:
    """Columns with the mean, spread and range of the training data, (column, interface feature).

    Args:
        interface: layout of the vector.
        statistics: by variable of the interface, (field, level) or (field, 1).
        fields: names of the rows; ``mean``, ``std``, ``min`` and ``max`` are used.
        columns: how many.
        seed: of the random numbers.
    """
    rows = {field: i for i, field in enumerate(fields)}
    parts = {
        field: torch.cat([statistics[n][rows[field]] for n in interface.names])
        for field in ("mean", "std", "min", "max")
    }
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(columns, len(parts["mean"]), generator=generator, dtype=torch.float64)
    x = parts["mean"] + parts["std"] * noise
    return x.clamp(parts["min"], parts["max"]).to(torch.float32)
