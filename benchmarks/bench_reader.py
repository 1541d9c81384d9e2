"""Reading speed beside other loaders and beside copying the same bytes in blocks.

Run: ``python benchmarks/bench_reader.py [--steps 384] [--columns 384] [--compression lz4]``.
All deliver float32 batches of the standard set from the page cache: the block reader and per-sample
HDF5 shuffled whole, WebDataset within its buffer, xbatcher and the copy in order of their blocks.
xbatcher (batches of a Zarr store opened with xarray) and WebDataset (two arrays a sample in tar
files) are left out where they are not installed: `pip install h5py xbatcher webdataset` brings all.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
import xarray
from torch.utils.data import DataLoader, Dataset

from climsim.allocation import keep_freed_memory
from climsim.data.reading.loader import BlockLoader
from climsim.data.reading.reader import BlockReader
from climsim.data.store.config import PrepareConfig
from climsim.data.store.prepare import prepare
from climsim.data.store.splits import SplitConfig

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.data.synthetic import write_record
from tests.grids import make_grid

BATCH = 1024
BLOCK_BYTES = 1 << 26
SHARDS, SHARD = 8, 2500
"""Tar files for WebDataset, and the samples in each."""


class SampleFile(Dataset):
    """The published route: one sample per access of an HDF5 file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: h5py.File | None = None
        with h5py.File(path) as file:
            self.length = file["inputs"].shape[0]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self.file is None:
            self.file = h5py.File(self.path)
        return (
            torch.from_numpy(self.file["inputs"][index]),
            torch.from_numpy(self.file["targets"][index]),
        )


def rate(batches: Iterator, seconds: float) -> tuple[float, float]:
    """Samples per second of time and of this process's CPU time, without the first batch."""
    next(batches)
    start, used, count = time.perf_counter(), time.process_time(), 0
    for x, _ in batches:
        count += x.shape[0]
        if time.perf_counter() - start > seconds:
            break
    return count / (time.perf_counter() - start), count / (time.process_time() - used)


def epochs(reader: BlockReader, workers: int) -> Iterator:
    loader, epoch = BlockLoader(reader, workers), 0
    while True:
        loader.set_epoch(epoch)
        yield from loader
        epoch += 1


def block_copy(path: Path, batch_bytes: int) -> Iterator:
    """Endless batches of bytes, read and copied in large blocks."""
    buffer = bytearray(BLOCK_BYTES // batch_bytes * batch_bytes)
    target = np.empty(len(buffer), dtype=np.uint8)
    with path.open("rb", buffering=0) as stream:
        while True:
            size = stream.readinto(buffer)
            if not size:
                stream.seek(0)
                continue
            target[:size] = np.frombuffer(buffer, np.uint8, size)
            for _ in range(size // batch_bytes):
                yield np.empty((BATCH, 0)), None


def by_xbatcher(samples: Path) -> Iterator:
    """Endless batches that xbatcher cuts from a Zarr store of samples."""
    from xbatcher import BatchGenerator

    store = samples.with_suffix(".zarr")
    if not store.exists():
        with h5py.File(samples) as file:
            arrays = {k: (("sample", k[:-1]), file[k][:]) for k in ("inputs", "targets")}
        chunks = {
            name: {"chunks": (BATCH, values.shape[1])} for name, (_, values) in arrays.items()
        }
        xarray.Dataset(arrays).to_zarr(store, encoding=chunks, consolidated=False)
    dataset = xarray.open_zarr(store, chunks=None, consolidated=False)
    sizes = {"sample": BATCH, "input": dataset.sizes["input"], "target": dataset.sizes["target"]}
    while True:
        for batch in BatchGenerator(dataset, input_dims=sizes, cache=None):
            yield (
                torch.from_numpy(batch["inputs"].values),
                torch.from_numpy(batch["targets"].values),
            )


def by_webdataset(samples: Path, workers: int) -> Iterator:
    """Endless batches of WebDataset from tar files of one sample after the other."""
    from webdataset import WebDataset, WebLoader

    names = [samples.with_name(f"shard-{number}.tar") for number in range(SHARDS)]
    with h5py.File(samples) as file:
        for number, name in enumerate(names):
            if not name.exists():
                _write_shard(name, file, number * SHARD)
    urls = [str(name) for name in names]
    shards = WebDataset(urls, shardshuffle=SHARDS, empty_check=False).repeat().shuffle(5000)
    batches = shards.decode().to_tuple("x.npy", "y.npy").batched(BATCH, partial=False)
    return iter(WebLoader(batches, batch_size=None, num_workers=workers))


def _write_shard(path: Path, file: h5py.File, first: int) -> None:
    part = slice(first, first + SHARD)
    with tarfile.open(path, "w") as tar:
        for number, pair in enumerate(
            zip(file["inputs"][part], file["targets"][part], strict=True)
        ):
            for letter, values in zip("xy", pair, strict=True):
                content = io.BytesIO()
                np.save(content, values)
                entry = tarfile.TarInfo(f"{first + number:08d}.{letter}.npy")
                entry.size = content.tell()
                content.seek(0)
                tar.addfile(entry, content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=384)
    parser.add_argument("--columns", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--compression", default="lz4")
    parser.add_argument("--inputs", default="standard")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    # As every command of the package does.
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        raw, store = folder / "raw", folder / f"store-{arguments.compression}"
        if not raw.is_dir():
            write_record(raw, arguments.steps, make_grid(arguments.columns, 60))
        split = SplitConfig(1.0, 0.0, 0.0)
        prepare(PrepareConfig(raw, store, split=split, compression=arguments.compression))
        compare(store, folder, arguments)


def compare(store: Path, folder: Path, arguments: argparse.Namespace) -> None:
    reader = BlockReader(store, arguments.inputs, batch_size=BATCH)
    samples, plain_file = folder / "samples.h5", folder / "samples.bin"
    with h5py.File(samples, "w") as file, plain_file.open("wb") as stream:
        parts = [(x.numpy(), y.numpy()) for x, y in reader]
        for key, index in (("inputs", 0), ("targets", 1)):
            file[key] = np.concatenate([p[index] for p in parts])
        for x, y in parts:
            stream.write(x.tobytes() + y.tobytes())
        width = parts[0][0].shape[1] + parts[0][1].shape[1]
    del parts
    seconds = arguments.seconds
    results = {}
    for workers in (0, 2):
        plain = DataLoader(SampleFile(samples), BATCH, shuffle=True, num_workers=workers)
        results[f"per-sample HDF5, {workers} workers"] = rate(iter(plain), seconds)
    if importlib.util.find_spec("xbatcher") is not None:
        results["xbatcher"] = rate(by_xbatcher(samples), seconds)
    if importlib.util.find_spec("webdataset") is not None:
        for workers in (0, 2):
            name = f"WebDataset, {workers} workers"
            results[name] = rate(by_webdataset(samples, workers), seconds)
    results["block copy"] = rate(block_copy(plain_file, BATCH * 4 * width), seconds)
    for workers in (0, 2):
        results[f"block reader, {workers} workers"] = rate(epochs(reader, workers), seconds)
    print(f"{'':28s} {'samples/s':>12s} {'GB/s':>6s} {'samples/CPU s':>14s}")
    for name, (wall, cpu) in results.items():
        alone = "" if name.endswith("2 workers") else f"{cpu:14.0f}"
        print(f"{name:28s} {wall:12.0f} {wall * width * 4 / 1e9:6.2f} {alone}")
    ours = results["block reader, 0 workers"]
    for name, other in results.items():
        if name.startswith("block reader"):
            continue
        text = f"{ours[0] / other[0]:8.2f} in time"
        if not name.endswith("2 workers"):
            text += f" {ours[1] / other[1]:8.2f} in CPU time"
        print(f"block reader (0 workers) over {name:28s} {text}")


if __name__ == "__main__":
    main()
