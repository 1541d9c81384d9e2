"""The prepared store: a labelled Zarr of every variable, blocks of time steps by all columns.

Profiles are (time, column, level), scalars (time, column), float32, level 0 at the model top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCname, BloscCodec, Crc32cCodec

from climsim.data.chunks import COMPRESSION_LEVEL
from climsim.data.features import STORED
from climsim.data.splits import SPLITS, split_code
from climsim.data.times import CALENDAR, TIME_UNITS
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.variables import variable

FORMAT = "climsim-store-1"
_GRID_AXES = {
    "lat": "column", "lon": "column", "area": "column", "hyam": "level", "hybm": "level",
    "hyai": "interface", "hybi": "interface",
}  # fmt: skip
_GRID_UNITS = {"lat": "degrees_north", "lon": "degrees_east", "area": "steradian"}


@dataclass(frozen=True)
class Layout:
    """Sizes and compression of a store.

    Attributes:
        block_steps: time steps in a chunk: what the reader shuffles.
        shard_blocks: chunks in one file: what preparation writes at once.
        compression: ``lz4`` (fast), ``zstd`` (smaller) or ``none``.
    """

    block_steps: int = 24
    shard_blocks: int = 1
    compression: str = "lz4"

    def __post_init__(self) -> None:
        for name in ("block_steps", "shard_blocks"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ClimSimError(f"{name}={value}: expected a whole number >= 1")
        if self.compression not in ("lz4", "zstd", "none"):
            raise ClimSimError(f"compression={self.compression}: expected lz4, zstd or none")

    @property
    def shard_steps(self) -> int:
        """Time steps in one file."""
        return self.block_steps * self.shard_blocks

    def compressors(self) -> Any:
        """The codecs for Zarr: compression, and a checksum that finds a flipped bit."""
        if self.compression == "none":
            return [Crc32cCodec()]
        blosc = BloscCodec(
            cname=BloscCname(self.compression),
            clevel=COMPRESSION_LEVEL,
            shuffle="shuffle",
            typesize=4,
        )
        return [blosc, Crc32cCodec()]


@dataclass(frozen=True)
class Store:
    """A prepared store, open for reading.

    Attributes:
        path: its folder.
        group: the Zarr group.
        grid: the columns and levels.
        times: (time,) seconds from 0001-01-01 (noleap).
        split: (time,) codes of `splits.SPLITS`.
        memory: (time,) gapless previous steps available (0, 1, 2).
    """

    path: Path
    group: Any = field(repr=False)
    grid: ColumnGrid = field(repr=False)
    times: NDArray[np.int64] = field(repr=False)
    split: NDArray[np.int8] = field(repr=False)
    memory: NDArray[np.int8] = field(repr=False)

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
        return str(self.group.attrs["fingerprint"])

    @cached_property
    def block_steps(self) -> int:
        """Time steps in a chunk."""
        return int(self.group["state_ps"].chunks[0])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Variables that the store holds."""
        return tuple(str(n) for n in self.group.attrs["variables"])

    @cached_property
    def dataset(self) -> xarray.Dataset:
        """The store as a lazy labelled dataset with dates of the noleap calendar."""
        coder = xarray.coders.CFDatetimeCoder(use_cftime=True)
        return xarray.open_zarr(self.path, chunks=None, decode_times=coder, consolidated=False)

    def steps(self, split: str, memory: int = 0) -> NDArray[np.intp]:
        """Indices of the steps of a split that have a number of previous steps.

        Args:
            split: ``train``, ``validation`` or ``test``.
            memory: gapless previous steps needed: 0 for the standard set, 2 for the expanded.
        """
        return np.flatnonzero((self.split == split_code(split)) & (self.memory >= memory))

    def array(self, name: str) -> Any:
        """One variable, (time, column, level) or (time, column), unread.

        Raises:
            ClimSimError: if the store does not hold it.
        """
        if name not in self.names:
            raise ClimSimError(
                f"{self.path}: the store holds no {name}: prepare it again "
                "(memory=true for previous-step features)"
            )
        return self.group[name]


def create_arrays(
    path: Path,
    grid: ColumnGrid,
    times: NDArray[np.int64],
    split: NDArray[np.int8],
    memory: NDArray[np.int8],
    layout: Layout,
    names: Sequence[str] = STORED,
) -> None:
    """Create the arrays of a store, and fill its coordinates.

    Args:
        path: folder to create.
        grid: the columns and levels.
        times: (time,) seconds from 0001-01-01.
        split: (time,) codes.
        memory: (time,) gapless previous steps.
        layout: chunks and compression.
        names: variables to create.
    """
    group = zarr.create_group(path, overwrite=True)
    group.attrs.update({"format": FORMAT, "variables": list(names), "p0": grid.p0})
    block = min(layout.block_steps, times.size)
    for name in names:
        levels = (grid.n_levels,) if variable(name).profile else ()
        inner = (block, grid.n_columns, *levels)
        shard = (block * layout.shard_blocks, *inner[1:]) if layout.shard_blocks > 1 else None
        group.create_array(
            name,
            shape=(times.size, *inner[1:]),
            chunks=inner,
            shards=shard,
            dtype="float32",
            fill_value=np.nan,
            chunk_key_encoding={"name": "default", "separator": "."},
            compressors=layout.compressors(),
            dimension_names=("time", "column", "level")[: 2 + len(levels)],
            attributes={"units": variable(name).unit, "long_name": variable(name).long_name},
        )
    _write_coordinates(group, grid, {"time": times, "split": split, "memory": memory})


def _write_coordinates(
    group: zarr.Group, grid: ColumnGrid, by_time: Mapping[str, NDArray[Any]]
) -> None:
    notes: dict[str, dict[str, Any]] = {
        "time": {"units": TIME_UNITS, "calendar": CALENDAR, "long_name": "beginning of the step"},
        "split": {
            "long_name": "split of the step",
            "flag_values": list(range(len(SPLITS))),
            "flag_meanings": " ".join(SPLITS),
        },
        "memory": {"long_name": "gapless previous steps available", "units": "1"},
    }
    for name, values in by_time.items():
        group.create_array(
            name, data=np.asarray(values), dimension_names=("time",), attributes=notes[name]
        )
    for name, axis in _GRID_AXES.items():
        group.create_array(
            name,
            data=getattr(grid, name),
            dimension_names=(axis,),
            attributes={"units": _GRID_UNITS.get(name, "1")},
        )
    # Names of coordinates, so that xarray does not take them for data.
    group.attrs["coordinates"] = " ".join(("split", "memory", *_GRID_AXES))


def open_store(path: str | Path, levels: int | None = None) -> Store:
    """Open a prepared store.

    Args:
        path: its folder.
        levels: number of levels that the caller needs, or None for any.

    Returns:
        The store; its arrays are read on demand.

    Raises:
        ClimSimError: if there is no complete store, or it has another number of levels.
    """
    path = Path(path)
    if not path.exists():
        raise ClimSimError(f"{path}: no such store: run `climsim data prepare` first")
    group, attributes = _open_group(path)
    if attributes.get("format") != FORMAT or "fingerprint" not in attributes:
        raise ClimSimError(
            f"{path}: not a complete store of this package (format "
            f"{attributes.get('format')!r}, expected {FORMAT!r}): prepare it again"
        )
    try:
        grid = ColumnGrid(
            **{name: group[name][...] for name in _GRID_AXES}, p0=float(attributes["p0"])
        )
        by_time = [np.asarray(group[name][...]) for name in ("time", "split", "memory")]
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        raise ClimSimError(
            f"{path}: damaged store ({type(error).__name__}: {error}): prepare it again"
        ) from error
    if levels is not None and grid.n_levels != levels:
        raise ClimSimError(
            f"{path}: the store has {grid.n_levels} levels, expected {levels}: use another store "
            "or a model of that level count"
        )
    return Store(path, group, grid, *by_time)


def _open_group(path: Path) -> tuple[Any, dict[str, Any]]:
    try:
        group = zarr.open_group(path, mode="r")
        return group, dict(group.attrs)
    except (FileNotFoundError, ValueError, KeyError, OSError) as error:
        raise ClimSimError(f"{path}: not a Zarr store ({error}): prepare it again") from error
