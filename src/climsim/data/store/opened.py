"""The prepared store: a labelled Zarr of every variable, blocks of time steps by all columns.

Profiles are (time, column, level), scalars (time, column), float32, level 0 at the model top.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray
import zarr
from numpy.typing import NDArray

from climsim.data.raw.declared import TIME_STEP_ATTRIBUTE
from climsim.data.raw.features import STORED
from climsim.data.store.address import (
    StoreAddress,
    StoreFolder,
    folder_of,
    store_address,
)
from climsim.data.store.chunks import BlockFiles, BlockLayout, Document
from climsim.data.store.seal import (
    METADATA,
    StoreIndex,
    array_of,
    fingerprint,
    metadata_checksum,
    metadata_files,
    values_of,
)
from climsim.data.store.splits import SPLITS, split_codes
from climsim.errors import ClimSimError
from climsim.grid import GRID_AXES, ColumnGrid
from climsim.processes import EMULATED_ATTRIBUTE, read_processes
from climsim.products import Kind, attributes_of, noted
from climsim.system import refusal
from climsim.variables import VariableSet, variable

FORMAT, _BEFORE = "climsim-store-2", "climsim-store-1"
_COMPLETE = ("fingerprint", "index", "checksum")
"""Attributes that preparation adds when every shard is written."""
COORDINATES = ("time", "split", "memory", *GRID_AXES)
"""Arrays of a store that are no variables."""
_ENTRIES = frozenset({"zarr.json", "shards", *COORDINATES, *STORED})
STORE = Kind(
    "a prepared store",
    # A damaged one counts: opening it says what is wrong.
    lambda path: (
        str(attributes_of(path).get("format", "")).startswith("climsim-store-")
        or (noted(path / "zarr.json") and not noted(path / "zarr.json", damaged=False))
    ),
    is_folder=True,
    owns=_ENTRIES.__contains__,
)


@dataclass(frozen=True)
class Store:
    """A prepared store, open for reading.

    Attributes:
        path: its folder, or its URL.
        group: the Zarr group.
        documents: content of each ``zarr.json``.
        index: the shards, with the checksum of every chunk.
        grid: the columns and levels.
        times: (time,) seconds from 0001-01-01 (noleap).
        split: (time,) codes of `splits.CODES`.
        memory: (time,) gapless previous steps available (0, 1, 2).
    """

    path: StoreAddress
    group: zarr.Group = field(repr=False)
    documents: Mapping[str, Document] = field(repr=False)
    index: StoreIndex = field(repr=False)
    grid: ColumnGrid = field(repr=False)
    times: NDArray[np.int64] = field(repr=False)
    split: NDArray[np.int8] = field(repr=False)
    memory: NDArray[np.int8] = field(repr=False)

    @property
    def _attributes(self) -> Document:
        """What the store says about itself."""
        found: Document = self.documents[METADATA]["attributes"]
        return found

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return self.grid.n_levels

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.grid.n_columns

    @property
    def n_steps(self) -> int:
        """Number of time steps."""
        return self.times.size

    @property
    def fingerprint(self) -> str:
        """Hash of the content: equal for equal data in equal shards, whatever prepared them."""
        return str(self._attributes["fingerprint"])

    @property
    def time_step(self) -> float:
        """Physics time step over which tendencies are taken [s]."""
        return float(self._attributes[TIME_STEP_ATTRIBUTE])

    @property
    def emulated_processes(self) -> frozenset[str]:
        """Processes that the tendencies are of; empty where it is unknown, as in former stores."""
        return read_processes(self._attributes.get(EMULATED_ATTRIBUTE), str(self.path))

    @cached_property
    def block_steps(self) -> int:
        """Time steps in a chunk."""
        return int(array_of(self.group, "state_ps").chunks[0])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Variables that the store holds."""
        return tuple(str(n) for n in self._attributes["variables"])

    @cached_property
    def dataset(self) -> xarray.Dataset:
        """The store as a lazy labelled dataset with dates of the noleap calendar."""
        coder = xarray.coders.CFDatetimeCoder(use_cftime=True)
        files = folder_of(self.path).zarr_store()
        return xarray.open_zarr(files, chunks=None, decode_times=coder, consolidated=False)

    def steps(self, split: str, memory: int = 0) -> NDArray[np.intp]:
        """Indices of the steps of a split that have a number of previous steps.

        Args:
            split: one of `splits.SPLITS`.
            memory: gapless previous steps needed: 0 for the standard set, 2 for the expanded.
        """
        return np.flatnonzero(np.isin(self.split, split_codes(split)) & (self.memory >= memory))

    def __repr__(self) -> str:
        counts = {n: int(np.isin(self.split, split_codes(n)).sum()) for n in SPLITS}
        usual = {"scoring": 0, "weather": counts["train"]}
        splits = ", ".join(f"{k} {n}" for n, k in counts.items() if k != usual.get(n))
        return (
            f"Store({str(self.path)!r}, {self.n_steps} steps ({splits}) of {self.n_columns} "
            f"columns and {self.n_levels} levels, {len(self.names)} variables)"
        )

    def vectors(
        self, variables: VariableSet, steps: Sequence[int] | NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Read the vectors that a model takes or is measured against.

        Args:
            variables: such as ``emulator.inputs``.
            steps: indices of time steps, ascending, such as those of `steps`.

        Returns:
            (time, column, feature), physical values; ``.reshape(-1, n)`` makes (column, feature).

        Raises:
            ClimSimError: if a step or a variable is not there.
        """
        indices = np.asarray(steps, dtype=np.intp)
        ascending = indices.ndim == 1 and indices.size > 0 and (np.diff(indices) > 0).all()
        if not ascending or indices[0] < 0 or indices[-1] >= self.n_steps:
            raise ClimSimError(
                f"{self.path}: expected steps within 0..{self.n_steps - 1}, ascending, found "
                f"{steps!r}"
            )
        shape = (indices.size, self.n_columns, variables.size(self.n_levels))
        vectors = np.empty(shape, np.float32)
        for name, where in variables.slices(self.n_levels).items():
            values = self.values(name, indices)
            vectors[..., where] = values if variable(name).profile else values[..., None]
        return vectors

    def array(self, name: str) -> zarr.Array:
        """One variable, (time, column, level) or (time, column), unread.

        Raises:
            ClimSimError: if the store does not hold it.
        """
        self._require(name)
        return array_of(self.group, name)

    def blocks(self, name: str) -> BlockFiles:
        """One variable by blocks of time steps, every chunk compared with the index.

        Raises:
            ClimSimError: if the store does not hold it.
        """
        self._require(name)
        layout = BlockLayout.of(self.documents[f"{name}/{METADATA}"], f"{self.path}/{name}")
        checksums = self.index.of_variable(self.names.index(name))
        return BlockFiles(folder_of(self.path), name, layout, checksums)

    def values(self, name: str, steps: NDArray[np.intp]) -> NDArray[np.float32]:
        """One variable at some steps, (step, column, level) or (step, column).

        Args:
            name: the variable.
            steps: (step,) indices into the time axis.

        Raises:
            ClimSimError: if the store does not hold it, or a chunk is damaged.
        """
        files = self.blocks(name)
        memory, numbers = files.memory(), steps // self.block_steps
        result = np.empty((steps.size, *files.layout.shape[1:]), np.float32)
        for block in np.unique(numbers):
            rows = np.flatnonzero(numbers == block)
            inside = steps[rows] - block * self.block_steps
            result[rows] = files.read(int(block), memory)[inside]
        return result

    def _require(self, name: str) -> None:
        if name not in self.names:
            raise ClimSimError(
                f"{self.path}: the store holds no {name}: prepare it again "
                "(memory=true for previous-step features)"
            )


def open_store(path: str | Path, levels: int | None = None) -> Store:
    """Open a prepared store, and compare its metadata and coordinates with its checksums.

    Args:
        path: its folder, or a URL that fsspec reads (``s3://bucket/store.zarr``).
        levels: number of levels that the caller needs, or None for any.

    Returns:
        The store; its arrays are read, and each chunk compared with its checksum, on demand.

    Raises:
        ClimSimError: if there is no complete store, it is damaged, or it has another number of
            levels.
    """
    folder = folder_of(store_address(path))
    try:
        if not folder.exists():
            raise ClimSimError(f"{path}: no such store: run `climsim data prepare` first")
        store = _read_store(folder, read_documents(folder))
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
        FileNotFoundError,
    ) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise _damaged(path, f"{kind}{error}") from error
    except OSError as error:
        raise refusal(error, path) or ClimSimError(
            f"{path}: the store cannot be read ({error})"
        ) from error
    if levels is not None and store.n_levels != levels:
        raise ClimSimError(
            f"{path}: the store has {store.n_levels} levels, expected {levels}: use another store "
            "or a model of that level count"
        )
    return store


def _damaged(path: object, what: str) -> ClimSimError:
    return ClimSimError(
        f"{path}: damaged store, or changed since its preparation ({what}): delete it and prepare "
        "it again"
    )


def _json(name: str, content: bytes) -> Document:
    """The metadata in a file of a store; a damaged one is named."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"{name} is not valid JSON") from error


def read_documents(folder: StoreFolder) -> dict[str, Document]:
    """Metadata of a store and of all its arrays, by file.

    Raises:
        ClimSimError: if it is no complete store of this package.
        KeyError, TypeError, ValueError, OSError: if they cannot be read.
    """
    try:
        root = _json(METADATA, folder.read_all([METADATA])[METADATA])
    except FileNotFoundError as error:
        raise ClimSimError(
            f"{folder.address}: not a Zarr store (no {METADATA}): prepare it again"
        ) from error
    attributes = root.get("attributes", {})
    found = attributes.get("format")
    if found == _BEFORE:
        raise ClimSimError(
            f"{folder.address}: a store of an earlier version ({found}), without checksums of "
            "coordinates and blocks: delete it and prepare it again"
        )
    if found != FORMAT:
        raise ClimSimError(
            f"{folder.address}: not a complete store of this package (format {found!r}, expected "
            f"{FORMAT!r}): prepare it again"
        )
    files = metadata_files((*attributes["variables"], *COORDINATES))
    read = folder.read_all(files)
    return {METADATA: root} | {name: _json(name, read[name]) for name in files}


def _read_store(folder: StoreFolder, documents: dict[str, Document]) -> Store:
    """The store of these metadata.

    Raises:
        ClimSimError: if it is not complete, or not as it was prepared.
    """
    attributes = documents[METADATA]["attributes"]
    if any(name not in attributes for name in _COMPLETE):
        raise ClimSimError(
            f"{folder.address}: not a complete store of this package (no checksum): prepare it "
            "again"
        )
    # Before Zarr sees the metadata: what is damaged in them ends there in many ways.
    if attributes["checksum"] != metadata_checksum(documents):
        raise _damaged(folder.address, "its metadata do not fit their checksum")
    group = zarr.open_group(folder.zarr_store(), mode="r")
    index = StoreIndex.read(group)
    if attributes["index"] != index.hash:
        raise _damaged(folder.address, "the index of its shards does not fit its checksum")
    coordinates = read_coordinates(group)
    p0, names = float(attributes["p0"]), attributes["variables"]
    if attributes["fingerprint"] != fingerprint(coordinates, p0, names, index):
        raise _damaged(folder.address, "its coordinates do not fit its fingerprint")
    return Store(
        path=folder.address,
        group=group,
        documents=documents,
        index=index,
        grid=ColumnGrid(**{n: coordinates[n].astype(np.float64) for n in GRID_AXES}, p0=p0),
        times=coordinates["time"].astype(np.int64),
        split=coordinates["split"].astype(np.int8),
        memory=coordinates["memory"].astype(np.int8),
    )


def read_coordinates(group: zarr.Group) -> dict[str, NDArray[np.generic]]:
    """Values of the coordinates of a store."""
    return {name: values_of(group, name) for name in COORDINATES}
