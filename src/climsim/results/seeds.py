"""Mean and range over the seeds of each network and recipe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.evaluation.members import NETWORKS, RECIPES

Group = tuple[str, str]
"""Network and recipe."""


@dataclass(frozen=True)
class SeedRange:
    """A quantity over the seeds of one network and recipe.

    Attributes:
        mean: mean over the seeds; NaN where it is of one of them, which would gain by failing.
        median: median likewise.
        low: smallest value, likewise.
        high: largest value.
        count: number of seeds.
    """

    mean: xarray.DataArray
    median: xarray.DataArray
    low: xarray.DataArray
    high: xarray.DataArray
    count: int


def groups_of(data: xarray.Dataset | xarray.DataArray) -> list[Group]:
    """Pairs of network and recipe that occur, in the order of the study, unknown ones last."""
    pairs = dict.fromkeys(
        zip(data["network"].values.tolist(), data["recipe"].values.tolist(), strict=True)
    )
    return sorted(pairs, key=lambda g: (_rank(g[1]), g[1], _rank(g[0]), g[0]))


def _rank(name: str) -> int:
    order = (*NETWORKS, *RECIPES)
    return order.index(name) if name in order else len(order)


def rows_of(data: xarray.Dataset | xarray.DataArray, group: Group) -> NDArray[np.intp]:
    """Positions of the seeds of a group along the axis of members."""
    chosen = (data["network"] == group[0]) & (data["recipe"] == group[1])
    return np.flatnonzero(chosen.values)


def over_seeds(values: xarray.DataArray, group: Group, floor: float | None = None) -> SeedRange:
    """Mean and range over the seeds of a group.

    Args:
        values: with one axis of members that carries ``network`` and ``recipe``.
        group: network and recipe.
        floor: lower values count as this one; None keeps them.
    """
    axis = str(values["network"].dims[0])
    part = values.isel({axis: rows_of(values, group)})
    if floor is not None:
        part = part.where(~(part < floor), floor)
    return SeedRange(
        mean=part.mean(axis, skipna=False),
        median=part.median(axis, skipna=False),
        low=part.min(axis, skipna=False),
        high=part.max(axis, skipna=False),
        count=part.sizes[axis],
    )


def failed(offline: xarray.Dataset) -> NDArray[np.bool_]:
    """Which members (member,) were scored on values that are no finite numbers.

    An error, other than R2, is undefined for no other reason.
    """
    errors = [offline[name] for name in offline.data_vars if str(name).startswith("rmse_")]
    unknown = np.zeros(offline.sizes["member"], dtype=bool)
    for error in errors:
        unknown |= ~np.isfinite(error.values).reshape(unknown.size, -1).all(axis=1)
    return unknown


_ROUNDING = 1e-6
"""Share of the largest value below which distances of seeds are equal: values are float32."""


def median_seed(values: Array, floor: Array | None = None) -> int | None:
    """Position of the seed that stands for all of a group in a line.

    Without a floor, or where it has no value beside one of a seed, the seed with the smallest mean
    distance from the median over seeds; with one, the seed whose mean distance from the floor is
    nearest to the median of these distances.
    Source: the figures of Lin et al. 2025.

    Args:
        values: (seed, ...) of the group.
        floor: (...) of the second run with full physics.

    Returns:
        None where no seed has a value.
    """
    flat = values.reshape(len(values), -1)
    if floor is not None:
        beside = np.where(np.isfinite(floor.ravel()), flat, np.nan)
        floor, flat = (floor, beside) if np.isfinite(beside).any() else (None, flat)
    known = np.flatnonzero(np.isfinite(flat).any(axis=1))
    if not known.size:
        return None
    points = np.isfinite(flat).any(axis=0)
    found = flat[np.ix_(known, points)]
    about = np.nanmedian(found, axis=0) if floor is None else floor.ravel()[points]
    distance = np.nanmean(np.abs(found - about), axis=1)
    if floor is not None:
        distance = np.abs(distance - np.nanmedian(distance))
    # Of an even number two are equally near; the first of them, whatever rounding makes of it.
    near = np.nanmin(distance) + _ROUNDING * np.abs(found).max(
        initial=0.0, where=np.isfinite(found)
    )
    return int(known[np.flatnonzero(distance <= near)[0]])
