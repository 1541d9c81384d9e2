"""Training speed of `climsim.training.run.train` beside a bare PyTorch loop on tensors in memory.

Run: ``python benchmarks/bench_training.py [--networks unet ...] [--preset small] [--batch 256]
[--steps 40] [--threads 1] [--store STORE]``. The bare loop takes the same steps with the same
network, loss and optimizer on one batch that is already transformed; everything else (reading,
transforms, Lightning, log, checks) is the overhead. Times are processor time of the process, which
other programs on the machine disturb less than wall time; both are printed. Without a store,
synthetic data of 60 levels and 384 columns are prepared first.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from climsim.data.prepare import PrepareConfig, prepare
from climsim.data.reader import BlockReader
from climsim.data.splits import SplitConfig
from climsim.data.store import open_store
from climsim.losses import RecipeLoss
from climsim.networks import network_names
from climsim.training.config import (
    NetworkConfig,
    OptimizerConfig,
    TrainConfig,
    TrainDataConfig,
    TrainerConfig,
)
from climsim.training.loading import Batch
from climsim.training.optimization import build_optimizer
from climsim.training.run import build_module, train

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))
from synthetic import make_grid, write_record

WARM_STEPS = 5
"""First steps left out: allocation and the start of the reading thread."""


@dataclass(frozen=True)
class Clock:
    """Wall and processor time of this process [s]."""

    wall: float
    cpu: float

    @staticmethod
    def now() -> Clock:
        """Read both clocks."""
        return Clock(time.perf_counter(), time.process_time())

    def __sub__(self, other: Clock) -> Clock:
        return Clock(self.wall - other.wall, self.cpu - other.cpu)


def make_store(folder: Path, steps: int) -> Path:
    raw = folder / "raw"
    write_record(raw, steps, make_grid(384, 60))
    split = SplitConfig(0.9, 0.1, 0.0, gap_days=0.0)
    return prepare(PrepareConfig(raw, folder / "store.zarr", split=split, block_steps=6))


class Enough(Exception):
    """Ends a run after the measured steps."""


def time_train(config: TrainConfig, steps: int) -> Clock:
    marks: list[Clock] = []

    def report(done: int, total: int) -> None:
        if done == WARM_STEPS:
            marks.append(Clock.now())
        if done == WARM_STEPS + steps:
            marks.append(Clock.now())
            raise Enough

    try:
        train(config, report)
    except Enough:
        return marks[1] - marks[0]
    raise SystemExit(f"the store holds fewer than {WARM_STEPS + steps} batches")


def time_bare(config: TrainConfig, batch: Batch, steps: int) -> Clock:
    module, _ = build_module(config, open_store(config.data.store))
    network, loss = module.network, RecipeLoss()
    optimizer = build_optimizer(network.parameters(), config.optimizer)
    with torch.no_grad():
        x, y = module.inputs(batch[0]), module.targets.encode(batch[1])
    start = Clock.now()
    for step in range(WARM_STEPS + steps):
        if step == WARM_STEPS:
            start = Clock.now()
        optimizer.zero_grad()
        loss(network(x), y).total.backward()
        optimizer.step()
    return Clock.now() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(network_names()))
    parser.add_argument("--preset", default="small")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        needed = (options.steps + 2 * WARM_STEPS) * options.batch // 384 + 60
        store = options.store or make_store(folder, needed)
        print("network        bare loop       train()         overhead (cpu, wall)")
        for network in options.networks:
            best: dict[str, Clock] = {}
            for repeat in range(options.repeats):
                config = TrainConfig(
                    TrainDataConfig(store, batch_size=options.batch),
                    folder / f"{network}-{repeat}",
                    preset=options.preset,
                    network=NetworkConfig(network),
                    optimizer=OptimizerConfig(learning_rate=1e-4),
                    trainer=TrainerConfig(epochs=1, accelerator="cpu", threads=options.threads),
                )
                batch = next(iter(BlockReader(store, batch_size=options.batch, drop_last=True)))
                for key, clock in (
                    ("bare", time_bare(config, batch, options.steps)),
                    ("train", time_train(config, options.steps)),
                ):
                    if key not in best or clock.cpu < best[key].cpu:
                        best[key] = clock
            samples = options.steps * options.batch
            bare, whole = best["bare"], best["train"]
            cpu, wall = (100 * (getattr(whole, k) / getattr(bare, k) - 1) for k in ("cpu", "wall"))
            print(
                f"{network:14s} {samples / bare.cpu:8.0f} /s     {samples / whole.cpu:8.0f} /s"
                f"     {cpu:+5.1f} % {wall:+6.1f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
