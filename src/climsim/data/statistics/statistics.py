"""Statistics of a store in one pass, from parts that merge in any order, and their file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from climsim.arrays import Double
from climsim.cluster import SlurmConfig
from climsim.constants import TIME_STEP
from climsim.data.raw.declared import TIME_STEP_ATTRIBUTE
from climsim.data.statistics.accumulate import (
    POSITIVE_NAMES,
    PartTask,
    VariablePart,
    summarize_blocks,
)
from climsim.data.statistics.moments import Moments
from climsim.data.statistics.quantiles import PERCENTS, QuantileSketch
from climsim.data.store.opened import Store
from climsim.errors import ClimSimError, unknown_name
from climsim.files import provenance
from climsim.integrity import CHECKSUM, check_file_size
from climsim.netcdf import write_netcdf
from climsim.parallel import run_tasks
from climsim.products import Kind, attributes_of
from climsim.stage import Progress
from climsim.system import refusal
from climsim.variables import variable

FORMAT = "climsim-statistics-2"
_FIELDS = ("count", "mean", "std", "min", "max", "positive_mean")
_CHECKSUM = "values_checksum"
"""Attribute with the hash of the values; `climsim.integrity.CHECKSUM` in earlier files."""
_COLUMN_FIELDS = ("column_mean", "column_std")
STATISTICS = Kind("a statistics file", lambda path: "store_fingerprint" in attributes_of(path))
_PART_BLOCKS, _MOST_PARTS = 16, 256
"""Blocks that a worker takes at least, and the largest number of parts in memory."""


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
        positive_mean: for condensate the mean of values above `POSITIVE_THRESHOLD`, nan in levels
            without one; nan for other variables.
        quantiles: (percentile, level) or (percentile,) for `PERCENTS`, within the error of the
            sketch; empty where not known.
    """

    count: Double
    mean: Double
    std: Double
    min: Double
    max: Double
    column_mean: float
    column_std: float
    positive_mean: Double
    quantiles: Double = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Statistics(Mapping[str, VariableStatistics]):
    """Statistics by variable name.

    Attributes:
        variables: by name.
        n_levels: number of levels.
        split: split they were computed from.
        store: fingerprint of the store they were computed from.
        time_step: physics time step over which tendencies were taken [s].
    """

    variables: dict[str, VariableStatistics]
    n_levels: int
    split: str
    store: str
    time_step: float = TIME_STEP

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
        """Hash of names and values but the quantiles, which a second computation may change."""
        digest = hashlib.sha256(str(self.n_levels).encode())
        for name, values in self.variables.items():
            digest.update(name.encode())
            for key in (*_FIELDS, *_COLUMN_FIELDS):
                digest.update(np.asarray(getattr(values, key), dtype="<f8").tobytes())
        return digest.hexdigest()

    @cached_property
    def checksum(self) -> str:
        """Hash of names, all values, and what they were computed from."""
        about = "\n".join((self.fingerprint, self.split, self.store, f"{self.time_step:g}"))
        digest = hashlib.sha256(about.encode())
        for values in self.variables.values():
            digest.update(np.asarray(values.quantiles, dtype="<f8").tobytes())
        return digest.hexdigest()

    def check_store(self, store: Store, any_content: bool = False) -> None:
        """Refuse a store that these statistics do not describe.

        Args:
            store: to be normalized.
            any_content: whether it may hold other data than those they were computed from.

        Raises:
            ClimSimError: if the level count, the time step or the content differ.
        """
        if store.n_levels != self.n_levels:
            raise ClimSimError(
                f"{store.path}: the store has {store.n_levels} levels, the statistics "
                f"{self.n_levels}: compute statistics of this store"
            )
        if any_content and store.time_step != self.time_step:
            raise ClimSimError(
                f"{store.path}: the store has a time step of {store.time_step:g} s, the statistics "
                f"{self.time_step:g} s: compute statistics of this store"
            )
        if self.store and store.fingerprint != self.store and not any_content:
            raise ClimSimError(
                f"{store.path}: the statistics were computed from another store "
                f"(fingerprint {self.store[:12]}, this one {store.fingerprint[:12]}): "
                "compute them again, or, to keep the scales of those data, train with "
                "data.foreign_statistics=true"
            )

    def save(self, path: str | Path, store: str | Path = "") -> None:
        """Write a netCDF file: (profile, level) and (scalar) tables, with names as labels.

        Args:
            path: of the file.
            store: path of the store, for those who look for where the statistics come from.
        """
        profiles = [n for n in self.variables if variable(n).profile]
        scalars = [n for n in self.variables if not variable(n).profile]
        tables: dict[str, tuple[tuple[str, ...], Double]] = {}
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
        quantiles = {
            f"{kind}_quantile": (
                ("percentile", kind, *(("level",) if kind == "profile" else ())),
                np.stack([self.variables[n].quantiles for n in names], axis=1),
            )
            for kind, names in units.items()
            if all(self.variables[n].quantiles.size for n in names)
        }
        dataset = xarray.Dataset(
            {**tables, **quantiles},
            coords={
                **units,
                "percentile": list(PERCENTS),
                **{f"{k}_unit": (k, [variable(n).unit for n in v]) for k, v in units.items()},
            },
            attrs={
                "format": FORMAT,
                "split": self.split,
                TIME_STEP_ATTRIBUTE: self.time_step,
                "store_fingerprint": self.store,
                "fingerprint": self.fingerprint,
                _CHECKSUM: self.checksum,
                **provenance({"split": self.split, "store": str(store)}, {"store": self.store}),
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
            check_file_size(path)
            with xarray.open_dataset(path, engine="netcdf4") as dataset:
                dataset.load()
            variables = _variables_of(dataset)
            levels = int(dataset.sizes["level"])
            split, store = (str(dataset.attrs[k]) for k in ("split", "store_fingerprint"))
            found, time_step = dataset.attrs.get("format"), dataset.attrs.get(TIME_STEP_ATTRIBUTE)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise refusal(error, path) or ClimSimError(
                f"{path}: not a statistics file of this package ({error}): compute it again"
            ) from error
        if found != FORMAT or time_step is None:
            raise ClimSimError(
                f"{path}: format {found!r}, expected {FORMAT!r}: written by another version; "
                "compute the statistics again"
            )
        result = cls(variables, levels, split, store, float(time_step))
        if dataset.attrs.get(_CHECKSUM, dataset.attrs.get(CHECKSUM)) != result.checksum:
            raise ClimSimError(
                f"{path}: values, split or store were changed after writing: compute them again"
            )
        return result


def _variables_of(dataset: xarray.Dataset) -> dict[str, VariableStatistics]:
    result = {}
    for index, name in enumerate(str(n) for n in dataset["profile"].values):
        values: dict[str, Any] = {k: dataset[f"profile_{k}"].values[index] for k in _FIELDS}
        values["quantiles"] = _quantiles_of(dataset, "profile", index)
        column: dict[str, Any] = {k: float(dataset[k].values[index]) for k in _COLUMN_FIELDS}
        result[name] = VariableStatistics(**values, **column)
    for index, name in enumerate(str(n) for n in dataset["scalar"].values):
        values = {k: np.array(dataset[f"scalar_{k}"].values[index]) for k in _FIELDS}
        values["quantiles"] = _quantiles_of(dataset, "scalar", index)
        result[name] = VariableStatistics(
            **values, column_mean=float(values["mean"]), column_std=float(values["std"])
        )
    return result


def _quantiles_of(dataset: xarray.Dataset, kind: str, index: int) -> Double:
    name = f"{kind}_quantile"
    return dataset[name].values[:, index] if name in dataset else np.empty(0)


def compute_statistics(
    store: Store,
    split: str = "train",
    progress: Progress | None = None,
    workers: int = 1,
    dask: str = "",
    slurm: SlurmConfig | None = None,
) -> Statistics:
    """Compute the statistics of a split in one pass, in parts that are merged.

    Previous-step features count where the previous steps exist. Moments do not depend on the number
    of workers; quantiles do within the error of their sketch.

    Args:
        store: the prepared store.
        split: the split.
        progress: called with the blocks done and their total.
        workers: processes; 0 for one per core, 1 for this process.
        dask: where to work, as for `run_tasks`.
        slurm: the jobs of ``dask="slurm"``.

    Returns:
        Statistics of every variable of the store.

    Raises:
        ClimSimError: if the split is empty or a value is not finite.
    """
    if not store.steps(split).size:
        raise ClimSimError(f"{store.path}: the split {split} is empty: prepare with other periods")
    tasks = _part_tasks(store, split)
    sketches = {n: VariablePart.empty(store.array(n).shape[2:]).sketch for n in store.names}
    moments: dict[int, dict[str, tuple[Moments, Moments]]] = {}
    done, total = 0, sum(len(task.blocks) for task in tasks)
    for number, parts in run_tasks(summarize_blocks, tasks, workers, dask, slurm):
        for name, part in parts.items():
            sketches[name].merge(part.sketch)
        moments[number] = {name: (p.moments, p.positive) for name, p in parts.items()}
        done += len(tasks[number].blocks)
        if progress is not None:
            progress(done, total)
    # Profiles first, as in the file, so that reading gives the same order back.
    ordered = sorted(store.names, key=lambda name: not variable(name).profile)
    variables = {
        name: _summary(name, [moments[task.number][name] for task in tasks], sketches[name])
        for name in ordered
    }
    return Statistics(variables, store.n_levels, split, store.fingerprint, store.time_step)


def _part_tasks(store: Store, split: str) -> list[PartTask]:
    """Equal runs of blocks: the same ones for any number of workers, so sums agree bit for bit."""
    blocks = np.unique(store.steps(split) // store.block_steps)
    count = min(_MOST_PARTS, -(-blocks.size // _PART_BLOCKS))
    return [
        PartTask(number, store.path, split, tuple(int(b) for b in part))
        for number, part in enumerate(np.array_split(blocks, count))
    ]


def _summary(
    name: str, parts: Sequence[tuple[Moments, Moments]], sketch: QuantileSketch
) -> VariableStatistics:
    moments = reduce(Moments.__add__, (m for m, _ in parts))
    column = moments.over_levels() if variable(name).profile else moments
    mean = np.full(moments.mean.shape, np.nan)
    if name in POSITIVE_NAMES:
        positive = reduce(Moments.__add__, (p for _, p in parts))
        mean = np.where(positive.count > 0, positive.mean, np.nan)
    # No sample, no value: a previous-step feature of a record that has no such steps.
    known = moments.count > 0
    return VariableStatistics(
        count=moments.count,
        mean=np.where(known, moments.mean, np.nan),
        std=moments.std,
        min=np.where(known, moments.min, np.nan),
        max=np.where(known, moments.max, np.nan),
        column_mean=float(np.where(column.count > 0, column.mean, np.nan)),
        column_std=float(column.std),
        positive_mean=mean,
        quantiles=sketch.quantiles().reshape(-1, *moments.mean.shape),
    )
