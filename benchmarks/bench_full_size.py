"""Sizes and times of the published data sets, computed from rates measured here.

Run: ``python benchmarks/bench_full_size.py [--steps 192] [--folder DIR]``. It prepares, summarizes
and reads a small made-up record in the low-resolution layout in one process, takes the processor
time per step, and multiplies. The output is the table of ``docs/real_data.md``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench_prepare import make_grid, write_record
from climsim.allocation import keep_freed_memory
from climsim.constants import STEPS_PER_DAY
from climsim.data.raw.steps import list_steps
from climsim.data.reading.reader import BlockReader
from climsim.data.statistics.statistics import compute_statistics
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import Store, open_store
from climsim.data.store.prepare import prepare
from climsim.data.store.splits import SplitConfig

COLUMNS = 384
STEPS_PER_YEAR = 365 * STEPS_PER_DAY


@dataclass(frozen=True)
class Rates:
    """What one low-resolution step costs.

    Attributes:
        raw: bytes of its two files.
        store: bytes of it in a store.
        prepare: processor time of preparation [s].
        statistics: processor time of statistics [s].
        read: processor time of reading its samples in batches [s].
    """

    raw: float
    store: float
    prepare: float
    statistics: float
    read: float


@dataclass(frozen=True)
class DataSet:
    """A published data set: its name, years, and columns relative to low resolution."""

    name: str
    years: float
    factor: float


DATA_SETS = (
    DataSet("low-res, a month", 1 / 12, 1),
    DataSet("low-res, a year", 1, 1),
    DataSet("low-res, ten years", 10, 1),
    DataSet("high-res, a year", 1, 21_600 / COLUMNS),
)


def processor_time(action: Callable[[], object]) -> float:
    """Processor time of this process for an action [s]."""
    start = time.process_time()
    action()
    return time.process_time() - start


def read_epoch(store: Store) -> float:
    """Processor time of the second epoch: the first one also meets fresh memory."""
    reader = BlockReader(store, batch_size=1024, pool_blocks=4)
    for _ in reader:
        pass
    reader.set_epoch(1)
    return processor_time(lambda: [None for _ in reader])


def measure(folder: Path, steps: int) -> Rates:
    raw, path = folder / "raw", folder / "store"
    if not raw.is_dir():
        write_record(raw, steps, make_grid(COLUMNS, 60))
    files = list_steps(raw)
    config = PrepareConfig(raw, path, split=SplitConfig(1.0, 0.0, 0.0), workers=1)
    seconds = processor_time(lambda: prepare(config))
    store = open_store(path)
    return Rates(
        sum(p.stat().st_size for s in files for p in (s.before, s.after) if p) / len(files),
        sum(p.stat().st_size for p in path.rglob("c.*")) / len(files),
        seconds / len(files),
        processor_time(lambda: compute_statistics(store)) / len(files),
        read_epoch(store) / len(files),
    )


def size_text(size: float) -> str:
    return f"{size / 1e12:.1f} TB" if size > 1e12 else f"{size / 1e9:.0f} GB"


def time_text(seconds: float) -> str:
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def table(rates: Rates) -> str:
    """The table in Markdown."""
    rows: list[tuple[str, Callable[[float], str]]] = [
        ("step files", lambda n: size_text(n * rates.raw)),
        ("store with previous-step features", lambda n: size_text(n * rates.store)),
        ("preparation, 2 cores", lambda n: time_text(n * rates.prepare / 2)),
        ("preparation, 64 cores", lambda n: time_text(n * rates.prepare / 64)),
        ("statistics, 2 cores", lambda n: time_text(n * rates.statistics / 2)),
        ("statistics, 64 cores", lambda n: time_text(n * rates.statistics / 64)),
        ("reading an epoch, one core", lambda n: time_text(n * rates.read)),
        ("reading all files at 500 MB/s", lambda n: time_text(n * rates.raw / 5e8)),
    ]
    steps = [STEPS_PER_YEAR * d.years for d in DATA_SETS]
    cells = [["", *(d.name for d in DATA_SETS)], ["---"] * (len(DATA_SETS) + 1)]
    cells.append(["step pairs", *(f"{n:,.0f}" for n in steps)])
    for name, text in rows:
        amounts = (n * d.factor for n, d in zip(steps, DATA_SETS, strict=True))
        cells.append([name, *(text(n) for n in amounts)])
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=192)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    # As every command of the package does.
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        rates = measure(arguments.folder or Path(temporary), arguments.steps)
    print(
        f"processor time per step pair of {COLUMNS} columns: preparation "
        f"{rates.prepare * 1e3:.1f} ms, statistics {rates.statistics * 1e3:.1f} ms, "
        f"reading {rates.read * 1e3:.2f} ms\n"
    )
    print(table(rates))


if __name__ == "__main__":
    main()
