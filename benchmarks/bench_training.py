"""Training speed of `climsim.training.run.train` beside a bare PyTorch loop on tensors in memory.

Run: ``python benchmarks/bench_training.py [--networks unet ...] [--preset small] [--batch 256]
[--steps 40] [--threads 2] [--repeats 3] [--clock wall|cpu] [--store STORE] [--forms]``. The bare
loop takes the same steps with the same network, loss and optimizer on one batch that is already
transformed; everything else (reading, transforms, Lightning, log, checks) is the overhead. The two
take turns and the least time of each counts. ``--clock cpu`` counts processor time of the process,
which other programs on the machine disturb less than wall time, and counts the reading thread in.
Memory is the peak of the process after the bare loop, and after training. Every network runs in a
process of its own. Without a store, synthetic data of 60 levels and 384 columns are prepared first.
``--forms`` measures the bare loop alone: in float32, and what bfloat16 and `torch.compile` gain
over it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from climsim.allocation import keep_freed_memory
from climsim.data.reading.loader import Batch
from climsim.data.reading.reader import BlockReader
from climsim.data.statistics.statistics import compute_statistics
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.data.store.splits import SplitConfig
from climsim.losses import RecipeLoss
from climsim.networks import NETWORKS
from climsim.precisions import BFLOAT16, FLOAT32
from climsim.training.build import build_module
from climsim.training.config import (
    NetworkConfig,
    OptimizerConfig,
    TrainConfig,
    TrainDataConfig,
    TrainerConfig,
)
from climsim.training.optimization import build_optimizer
from climsim.training.run import train

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.data.synthetic import write_record
from tests.grids import make_grid

STATISTICS = "statistics.nc"
FORMS = ((FLOAT32, False), (BFLOAT16, False), (FLOAT32, True), (BFLOAT16, True))
"""Precision and whether compiled."""
WARM_STEPS = 5
"""First steps left out: allocation and the start of the reading thread."""


def seconds(clock: str) -> float:
    """Time from an arbitrary start."""
    return time.process_time() if clock == "cpu" else time.perf_counter()


def peak_memory() -> float:
    """Peak of this process [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_store(folder: Path, steps: int) -> Path:
    raw = folder / "raw"
    write_record(raw, steps, make_grid(384, 60))
    split = SplitConfig(0.9, 0.1, 0.0, gap_days=0.0)
    return prepare(PrepareConfig(raw, folder / "store.zarr", split=split, block_steps=6))


class Enough(Exception):
    """Ends a run after the measured steps."""


def time_train(config: TrainConfig, steps: int, clock: str) -> float:
    marks: list[float] = []

    def report(done: int, total: int) -> None:
        if done in (WARM_STEPS, WARM_STEPS + steps):
            marks.append(seconds(clock))
        if len(marks) == 2:
            raise Enough

    try:
        train(config, report)
    except Enough:
        return marks[1] - marks[0]
    raise SystemExit(f"the store holds fewer than {WARM_STEPS + steps} batches")


def time_bare(
    config: TrainConfig,
    batch: Batch,
    steps: int,
    clock: str,
    precision: str = FLOAT32,
    compiled: bool = False,
) -> float:
    module, _ = build_module(config, open_store(config.data.store))
    network, loss = module.network, RecipeLoss()
    run = torch.compile(network, dynamic=False) if compiled else network
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == BFLOAT16)
    optimizer = build_optimizer(network.parameters(), config.optimizer)
    with torch.no_grad():
        x, y = module.inputs(batch[0]), module.targets.encode(batch[1])
    start = seconds(clock)
    for step in range(WARM_STEPS + steps):
        if step == WARM_STEPS:
            start = seconds(clock)
        optimizer.zero_grad()
        with half:
            prediction = run(x)
        loss(prediction.float(), y).total.backward()
        optimizer.step()
    return seconds(clock) - start


def prepared(
    network: str, store: Path, folder: Path, options: argparse.Namespace
) -> tuple[TrainConfig, Batch]:
    """The run and a batch of its data, after this process is set up for it."""
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    config = TrainConfig(
        TrainDataConfig(store, folder / STATISTICS, batch_size=options.batch),
        folder / network,
        preset=options.preset,
        network=NetworkConfig(network),
        optimizer=OptimizerConfig(learning_rate=1e-4),
        trainer=TrainerConfig(epochs=1, accelerator="cpu", threads=options.threads),
    )
    return config, next(iter(BlockReader(store, batch_size=options.batch, drop_last=True)))


def row(network: str, store: Path, folder: Path, options: argparse.Namespace) -> str:
    """Measure one network, in a process of its own."""
    first, batch = prepared(network, store, folder, options)
    bare, whole, memory = [], [], []
    for repeat in range(options.repeats):
        config = replace(first, out=folder / f"{network}-{repeat}")
        bare.append(time_bare(config, batch, options.steps, options.clock))
        memory.append(peak_memory())
        whole.append(time_train(config, options.steps, options.clock))
        memory.append(peak_memory())
    samples = options.steps * options.batch
    return (
        f"{network:14s} {samples / min(bare):10.0f} {samples / min(whole):10.0f}"
        f" {100 * (min(whole) / min(bare) - 1):+8.1f} %  {memory[0]:8.0f} {memory[1]:8.0f}"
    )


def forms_row(network: str, store: Path, folder: Path, options: argparse.Namespace) -> str:
    """Measure the forms of one network, in a process of its own; they take turns."""
    config, batch = prepared(network, store, folder, options)
    times: dict[tuple[str, bool], list[float]] = {form: [] for form in FORMS}
    for _ in range(options.repeats):
        for form, taken in times.items():
            taken.append(time_bare(config, batch, options.steps, options.clock, *form))
    best = [min(taken) for taken in times.values()]
    ratios = " ".join(f"{best[0] / other:10.2f}" for other in best[1:])
    return f"{network:14s} {options.steps * options.batch / best[0]:10.0f} {ratios}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS.names()))
    parser.add_argument("--preset", default="small", choices=("small", "published"))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--forms", action="store_true", help="compare precisions and compilation")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        needed = (options.steps + 2 * WARM_STEPS) * options.batch // 384 + 60
        store = options.store or make_store(folder, needed)
        compute_statistics(open_store(store)).save(folder / STATISTICS)
        if options.forms:
            print("network         samples/s          times as fast as float32")
            print("                  float32   bfloat16   compiled   both")
        else:
            print("network          samples per second   overhead       memory, MiB")
            print("                 bare loop    train()                bare    train")
        measure = forms_row if options.forms else row
        for network in options.networks:
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                print(pool.submit(measure, network, store, folder, options).result(), flush=True)


if __name__ == "__main__":
    main()
