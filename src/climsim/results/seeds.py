"""Mean and range over the seeds of each network and recipe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray

from climsim.evaluation.members import NETWORKS, RECIPES

Group = tuple[str, str]
"""Network and recipe."""


@dataclass(frozen=True)
class SeedRange:
    """A quantity over the seeds of one network and recipe.

    Attributes:
        mean: mean over the seeds for which it is defined; NaN where it is for none.
        low: smallest value.
        high: largest value.
        count: number of seeds.
    """

    mean: xarray.DataArray
    low: xarray.DataArray
    high: xarray.DataArray
    count: int


def groups_of(data: xarray.Dataset | xarray.DataArray) -> list[Group]:
    """Pairs of network and recipe that occur, in the order of the study, unknown ones last."""
    pairs = dict.fromkeys(
        zip(data["network"].values.tolist(), data["recipe"].values.tolist(), strict=True)
    )
    return sorted(pairs, key=lambda g: (_rank(g[1], RECIPES), g[1], _rank(g[0], NETWORKS), g[0]))


def _rank(name: str, order: tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)


def over_seeds(values: xarray.DataArray, group: Group, floor: float | None = None) -> SeedRange:
    """Mean and range over the seeds of a group.

    Args:
        values: with one axis of members that carries ``network`` and ``recipe``.
        group: network and recipe.
        floor: lower values count as this one; None keeps them.
    """
    axis = str(values["network"].dims[0])
    chosen = (values["network"] == group[0]) & (values["recipe"] == group[1])
    part = values.isel({axis: np.flatnonzero(chosen.values)})
    if floor is not None:
        part = part.where(~(part < floor), floor)
    return SeedRange(part.mean(axis), part.min(axis), part.max(axis), part.sizes[axis])
