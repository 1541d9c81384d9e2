"""Statistics of a store in one pass, from parts that merge in any order.

A part is (count, mean, sum of squared deviations, minimum, maximum) in float64; two parts merge by
the formula of Chan, Golub and LeVeque (1979), so any chunking and order gives the same result.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.data.chunks import BlockFiles
from climsim.data.features import memory_needed
from climsim.data.store import Store
from climsim.errors import ClimSimError, unknown_name
from climsim.files import provenance, write_netcdf
from climsim.variables import variable

logger = logging.getLogger(__name__)
Array = NDArray[np.float64]

POSITIVE_THRESHOLD = 1.0e-7
"""Condensate above counts in the mean that sets the exponent of the qn transform [kg/kg]."""
_CACHED_SAMPLES = 2048
"""Samples taken at once: few enough for their float64 copies to stay in the cache."""
_POSITIVE_NAME = "state_qn"
_FIELDS = ("count", "mean", "std", "min", "max", "positive_mean")
_COLUMN_FIELDS = ("column_mean", "column_std")


@dataclass(frozen=True)
class Moments:
    """A mergeable part: count, mean, squared deviations, extremes of each position.

    Attributes:
        count: samples.
        mean: (level,) or ().
        squares: sum of squared deviations from the mean, likewise.
        min: likewise.
        max: likewise.
    """

    count: Array
    mean: Array
    squares: Array
    min: Array
    max: Array

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Moments:
        """Moments of samples along the first axis.

        Args:
            values: (sample, level) or (sample,).
        """
        pieces = range(0, values.shape[0], _CACHED_SAMPLES)
        parts = (cls._of_piece(values[k : k + _CACHED_SAMPLES]) for k in pieces)
        return reduce(cls.__add__, parts, cls.empty(values.shape[1:]))

    @classmethod
    def _of_piece(cls, values: NDArray[np.floating]) -> Moments:
        data = np.asarray(values, dtype=np.float64)
        mean = data.mean(axis=0)
        return cls(
            np.full(mean.shape, float(data.shape[0])),
            mean,
            np.square(data - mean).sum(axis=0),
            data.min(axis=0),
            data.max(axis=0),
        )

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Moments:
        """The neutral element of merging."""
        zero = np.zeros(shape)
        return cls(zero, zero, zero, np.full(shape, np.inf), np.full(shape, -np.inf))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        safe = np.maximum(count, 1)
        delta = other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * other.count / safe,
            self.squares + other.squares + np.square(delta) * self.count * other.count / safe,
            np.minimum(self.min, other.min),
            np.maximum(self.max, other.max),
        )

    def over_levels(self) -> Moments:
        """Moments of all positions taken together."""
        parts = (
            Moments(
                *(field[k] for field in (self.count, self.mean, self.squares, self.min, self.max))
            )
            for k in range(self.mean.size)
        )
        return reduce(Moments.__add__, parts)

    @property
    def std(self) -> Array:
        """Standard deviation of the population; nan without a sample."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.squares / np.where(self.count > 0, self.count, np.nan))


@dataclass(frozen=True)
class VariableStatistics:
    """Statistics of one variable; (level,) for profiles, () for scalars, float64.

    Attributes:
        count: samples.
        mean: mean.
        std: standard deviation (population).
        min: minimum.
        max: maximum.
        column_mean: one mean over all levels.
        column_std: one standard deviation over all levels.
        positive_mean: for ``state_qn`` the mean of values above `POSITIVE_THRESHOLD`, nan in levels
            without one; nan for other variables.
    """

    count: Array
    mean: Array
    std: Array
    min: Array
    max: Array
    column_mean: float
    column_std: float
    positive_mean: Array


@dataclass(frozen=True)
class Statistics(Mapping[str, VariableStatistics]):
    """Statistics by variable name.

    Attributes:
        variables: by name.
        n_levels: number of levels.
        split: split they were computed from.
        store: fingerprint of the store they were computed from.
    """

    variables: dict[str, VariableStatistics]
    n_levels: int
    split: str
    store: str

    def __getitem__(self, name: str) -> VariableStatistics:
        if name not in self.variables:
            raise unknown_name("variable of the statistics", name, self.variables)
        return self.variables[name]

    def __contains__(self, name: object) -> bool:
        return name in self.variables

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of names and values."""
        digest = hashlib.sha256(str(self.n_levels).encode())
        for name, values in self.variables.items():
            digest.update(name.encode())
            for key in (*_FIELDS, *_COLUMN_FIELDS):
                digest.update(np.asarray(getattr(values, key), dtype="<f8").tobytes())
        return digest.hexdigest()

    def check_store(self, store: Store) -> None:
        """Refuse a store that these statistics do not describe.

        Raises:
            ClimSimError: if the level count or the content differ.
        """
        if store.n_levels != self.n_levels:
            raise ClimSimError(
                f"{store.path}: the store has {store.n_levels} levels, the statistics "
                f"{self.n_levels}: compute statistics of this store"
            )
        if self.store and store.fingerprint != self.store:
            raise ClimSimError(
                f"{store.path}: the statistics were computed from another store "
                f"(fingerprint {self.store[:12]}, this one {store.fingerprint[:12]}): "
                "compute them again"
            )

    def save(self, path: str | Path) -> None:
        """Write a netCDF file: (profile, level) and (scalar) tables, with names as labels."""
        profiles = [n for n in self.variables if variable(n).profile]
        scalars = [n for n in self.variables if not variable(n).profile]
        tables: dict[str, tuple[tuple[str, ...], Array]] = {}
        for key in _FIELDS:
            rows = [getattr(self.variables[n], key) for n in profiles]
            tables[f"profile_{key}"] = (("profile", "level"), np.array(rows))
            tables[f"scalar_{key}"] = (
                ("scalar",),
                np.array([float(getattr(self.variables[n], key)) for n in scalars]),
            )
        for key in _COLUMN_FIELDS:
            tables[key] = (
                ("profile",),
                np.array([getattr(self.variables[n], key) for n in profiles]),
            )
        units = {"profile": profiles, "scalar": scalars}
        dataset = xarray.Dataset(
            tables,
            coords={
                **units,
                **{f"{k}_unit": (k, [variable(n).unit for n in v]) for k, v in units.items()},
            },
            attrs={
                "split": self.split,
                "store_fingerprint": self.store,
                "fingerprint": self.fingerprint,
                **provenance({"split": self.split}, {"store": self.store}),
            },
        )
        write_netcdf(dataset, path)

    @classmethod
    def open(cls, path: str | Path) -> Statistics:
        """Read statistics written by `save`.

        Raises:
            ClimSimError: if the file is missing, of another kind, or changed since.
        """
        path = Path(path)
        if not path.is_file():
            raise ClimSimError(f"{path}: no such file: run `climsim data statistics` first")
        try:
            with xarray.open_dataset(path, engine="netcdf4") as dataset:
                dataset.load()
            variables = _variables_of(dataset)
            levels = int(dataset.sizes["level"])
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise ClimSimError(
                f"{path}: not a statistics file of this package ({error}): compute it again"
            ) from error
        result = cls(variables, levels, dataset.attrs["split"], dataset.attrs["store_fingerprint"])
        if dataset.attrs["fingerprint"] != result.fingerprint:
            raise ClimSimError(f"{path}: the values were changed after writing: compute them again")
        return result


def _variables_of(dataset: xarray.Dataset) -> dict[str, VariableStatistics]:
    result = {}
    for index, name in enumerate(str(n) for n in dataset["profile"].values):
        values: dict[str, Any] = {k: dataset[f"profile_{k}"].values[index] for k in _FIELDS}
        column: dict[str, Any] = {k: float(dataset[k].values[index]) for k in _COLUMN_FIELDS}
        result[name] = VariableStatistics(**values, **column)
    for index, name in enumerate(str(n) for n in dataset["scalar"].values):
        values = {k: np.array(dataset[f"scalar_{k}"].values[index]) for k in _FIELDS}
        result[name] = VariableStatistics(
            **values, column_mean=float(values["mean"]), column_std=float(values["std"])
        )
    return result


def compute_statistics(
    store: Store, split: str = "train", progress: Callable[[int, int], None] | None = None
) -> Statistics:
    """Compute the statistics of a split in one pass, a block of time steps at a time.

    Previous-step features count where the previous steps exist.

    Args:
        store: the prepared store.
        split: the split.
        progress: called with the blocks done and their total.

    Returns:
        Statistics of every variable of the store.

    Raises:
        ClimSimError: if the split is empty or a value is not finite.
    """
    if not store.steps(split).size:
        raise ClimSimError(f"{store.path}: the split {split} is empty: prepare with other periods")
    blocks = np.unique(store.steps(split) // store.block_steps)
    files = {name: BlockFiles.open(store.path / name) for name in store.names}
    sums = {name: Moments.empty(file.shape[2:]) for name, file in files.items()}
    positive = Moments.empty((store.n_levels,))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, block in enumerate(blocks, start=1):
            parts = pool.map(partial(_block_parts, store, files, split, int(block)), store.names)
            for name, (part, above) in zip(store.names, parts, strict=True):
                sums[name] = sums[name] + part
                positive = positive if above is None else positive + above
            if progress is not None:
                progress(done, len(blocks))
    variables = {name: _summary(name, sums[name], positive) for name in store.names}
    # Profiles first, as in the file, so that reading gives the same order back.
    ordered = sorted(variables, key=lambda name: not variable(name).profile)
    return Statistics(
        {name: variables[name] for name in ordered}, store.n_levels, split, store.fingerprint
    )


def _block_parts(
    store: Store, files: Mapping[str, BlockFiles], split: str, block: int, name: str
) -> tuple[Moments, Moments | None]:
    """Moments of a variable in a block of time, and those of positive condensate."""
    length = files[name].block_steps
    start = block * length
    steps = store.steps(split, memory_needed(name))
    inside = steps[(steps >= start) & (steps < start + length)] - start
    if not inside.size:
        return Moments.empty(files[name].shape[2:]), None
    values = files[name].read(block)[inside]
    if not np.isfinite(values).all():
        raise ClimSimError(
            f"{store.path}: {name} has values that are not finite in the block of step {start}: "
            "prepare the store again"
        )
    samples = values.reshape(-1, *values.shape[2:])
    above = _positive_moments(samples) if name == _POSITIVE_NAME else None
    return Moments.of(samples), above


def _positive_moments(values: NDArray[np.floating]) -> Moments:
    """Count and mean of the values above the threshold, per level; no other moment."""
    data = np.asarray(values, dtype=np.float64)
    above = data > POSITIVE_THRESHOLD
    count = above.sum(axis=0).astype(np.float64)
    mean = np.where(above, data, 0.0).sum(axis=0) / np.maximum(count, 1)
    zero = np.zeros_like(mean)
    return Moments(count, mean, zero, zero, zero)


def _summary(name: str, moments: Moments, positive: Moments) -> VariableStatistics:
    profile = variable(name).profile
    column = moments.over_levels() if profile else moments
    mean = np.full(moments.mean.shape, np.nan)
    if name == _POSITIVE_NAME:
        mean = np.where(positive.count > 0, positive.mean, np.nan)
    return VariableStatistics(
        moments.count,
        moments.mean,
        moments.std,
        moments.min,
        moments.max,
        float(column.mean),
        float(column.std),
        mean,
    )
