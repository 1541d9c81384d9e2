"""Making a store: its arrays, their coordinates, and what seals it when all is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCname, BloscCodec, Crc32cCodec

from climsim.calendar import CALENDAR, TIME_UNITS
from climsim.constants import TIME_STEP
from climsim.data.raw.declared import TIME_STEP_ATTRIBUTE
from climsim.data.raw.features import STORED
from climsim.data.store.address import LocalFolder
from climsim.data.store.chunks import COMPRESSION_LEVEL
from climsim.data.store.config import StoreLayout
from climsim.data.store.opened import COORDINATES, FORMAT, read_coordinates, read_documents
from climsim.data.store.seal import (
    CHECKSUM,
    ShardSums,
    StoreIndex,
    fingerprint,
    metadata_checksum,
)
from climsim.data.store.splits import CODES
from climsim.grid import GRID_AXES, ColumnGrid
from climsim.processes import as_attribute
from climsim.variables import variable

if TYPE_CHECKING:
    from zarr.core.common import JSON

_GRID_UNITS = {"lat": "degrees_north", "lon": "degrees_east", "area": "steradian"}


@dataclass(frozen=True)
class StoreCoordinates:
    """Where and when the values of a store are.

    Attributes:
        grid: the columns and levels.
        times: (time,) seconds from 0001-01-01.
        split: (time,) codes of `splits.CODES`.
        memory: (time,) gapless previous steps.
    """

    grid: ColumnGrid
    times: NDArray[np.int64]
    split: NDArray[np.int8]
    memory: NDArray[np.int8]


def create_arrays(
    path: Path,
    coordinates: StoreCoordinates,
    layout: StoreLayout,
    names: Sequence[str] = STORED,
    time_step: int = int(TIME_STEP),
    emulated_processes: frozenset[str] = frozenset(),
) -> None:
    """Create the arrays of a store, and fill its coordinates.

    Args:
        path: folder to create.
        coordinates: of the columns, levels and time steps.
        layout: chunks and compression.
        names: variables to create.
        time_step: physics time step over which tendencies are taken [s].
        emulated_processes: that the tendencies are of; empty where it is unknown.
    """
    group, grid = zarr.create_group(path, overwrite=True), coordinates.grid
    n_steps = coordinates.times.size
    group.attrs.update(
        {
            "format": FORMAT,
            "variables": list(names),
            "p0": grid.p0,
            TIME_STEP_ATTRIBUTE: time_step,
            **as_attribute(emulated_processes),
        }
    )
    block = min(layout.block_steps, n_steps)
    for name in names:
        levels = (grid.n_levels,) if variable(name).profile else ()
        inner = (block, grid.n_columns, *levels)
        shard = (block * layout.shard_blocks, *inner[1:]) if layout.shard_blocks > 1 else None
        group.create_array(
            name,
            shape=(n_steps, *inner[1:]),
            chunks=inner,
            shards=shard,
            dtype="float32",
            fill_value=np.nan,
            chunk_key_encoding={"name": "default", "separator": "."},
            compressors=compressors_of(layout.compression),
            dimension_names=("time", "column", "level")[: 2 + len(levels)],
            attributes={"units": variable(name).unit, "long_name": variable(name).long_name},
        )
    _write_coordinates(group, coordinates)


def _write_coordinates(group: zarr.Group, coordinates: StoreCoordinates) -> None:
    notes: dict[str, dict[str, JSON]] = {
        "time": {"units": TIME_UNITS, "calendar": CALENDAR, "long_name": "beginning of the step"},
        "split": {
            "long_name": "split of the step",
            "flag_values": list(CODES),
            "flag_meanings": " ".join("_and_".join(names) for names in CODES.values()),
        },
        "memory": {"long_name": "gapless previous steps available", "units": "1"},
    }
    by_time = {
        "time": coordinates.times,
        "split": coordinates.split,
        "memory": coordinates.memory,
    }
    for name, values in by_time.items():
        group.create_array(
            name,
            data=np.asarray(values),
            dimension_names=("time",),
            attributes=notes[name],
            compressors=CHECKSUM,
        )
    for name, axis in GRID_AXES.items():
        group.create_array(
            name,
            data=getattr(coordinates.grid, name),
            dimension_names=(axis,),
            attributes={"units": _GRID_UNITS.get(name, "1")},
            compressors=CHECKSUM,
        )
    # Names of coordinates, so that xarray does not take them for data.
    group.attrs["coordinates"] = " ".join(COORDINATES[1:])


def seal_store(path: Path, shards: Sequence[ShardSums], attributes: Mapping[str, str]) -> None:
    """Complete a store whose shards are all written: index, fingerprint, checksum.

    Args:
        path: folder of its arrays.
        shards: what each shard holds, in order.
        attributes: what else the store says about itself.
    """
    index = StoreIndex.of(shards)
    index.write(path)
    group = zarr.open_group(path, mode="r+")
    p0, names = group.attrs["p0"], group.attrs["variables"]
    assert isinstance(p0, float)
    assert isinstance(names, Sequence)
    identity = fingerprint(read_coordinates(group), p0, [str(name) for name in names], index)
    group.attrs.update({**attributes, "fingerprint": identity, "index": index.hash})
    group.attrs["checksum"] = metadata_checksum(read_documents(LocalFolder(path)))


def compressors_of(compression: str) -> list[BytesBytesCodec]:
    """The codecs for Zarr by `StoreLayout.compression`, and a checksum that finds a flipped bit."""
    if compression == "none":
        return [Crc32cCodec()]
    blosc = BloscCodec(
        cname=BloscCname(compression),
        clevel=COMPRESSION_LEVEL,
        shuffle="shuffle",
        typesize=4,
    )
    return [blosc, Crc32cCodec()]
