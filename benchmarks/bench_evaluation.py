"""Speed and memory of evaluation: offline accumulation, one member's history, all figures.

Run as ``python benchmarks/bench_evaluation.py [offline|online|figures ...] [--samples N]``. Each
number is printed beside its target. The offline part feeds synthetic blocks of 384 columns and 60
levels through the same accumulator as `climsim evaluate offline`, beside a baseline that keeps all
predictions in memory and scores them with scikit-learn at the end.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from sklearn.metrics import r2_score

from climsim.evaluation.accumulator import Accumulator, Block
from climsim.evaluation.offline_dataset import offline_dataset
from climsim.evaluation.online import OnlineConfig, evaluate_online
from climsim.figures.draw import FiguresConfig, draw_figures
from climsim.variables import DOOR_OUTPUTS
from evaluation_synthetic import make_globe, write_run, write_study

COLUMNS, LEVELS, STEPS = (24, 16), 60, 24


def peak() -> float:
    """Largest resident memory of the process so far [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def block(rng: np.random.Generator, columns: int) -> Block:
    """Random truth and prediction of 24 steps."""
    truth = rng.standard_normal((STEPS, columns, DOOR_OUTPUTS.size(LEVELS)), dtype=np.float32)
    return Block(
        truth,
        0.7 * truth + 0.1,
        np.full((STEPS, columns), 1e5),
        np.full((STEPS, columns), 380.0),
    )


def offline(samples: int) -> None:
    grid = make_globe(*COLUMNS, LEVELS)
    rng = np.random.default_rng(0)
    one = block(rng, grid.n_columns)
    blocks = max(1, round(samples / (STEPS * grid.n_columns)))
    state = Accumulator.empty(grid.n_columns, LEVELS)
    start, first_peak = time.perf_counter(), None
    for done in range(blocks):
        state = state + Accumulator.of(one, grid)
        if done == 4:
            first_peak = peak()
    seconds = time.perf_counter() - start
    scored = blocks * STEPS * grid.n_columns
    offline_dataset(state, grid)
    print(
        f"offline: {scored:,} samples in {seconds:.1f} s ({scored / seconds:,.0f} samples/s), "
        f"peak {peak():.0f} MiB (after 5 blocks {first_peak or peak():.0f} MiB; target < 2048 MiB)"
    )
    baseline = 5 * STEPS * grid.n_columns
    truth, prediction = (
        np.concatenate([x.reshape(-1, x.shape[-1])] * 5) for x in (one.truth, one.prediction)
    )
    start = time.perf_counter()
    r2_score(truth, prediction, multioutput="raw_values")
    seconds = time.perf_counter() - start
    print(
        f"baseline: scikit-learn, R2 alone, all in memory: {baseline / seconds:,.0f} samples/s, "
        f"{2 * truth.nbytes / baseline * 1e7 / 2**20:,.0f} MiB for 10 million samples"
    )


def online() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, grid = Path(name), make_globe(*COLUMNS, LEVELS)
        for run, growing in (("mmf1", 0.0), ("unet-standard-7", 1.0)):
            write_run(folder / run, days=0, months=60, growing=growing, seed=1, grid=grid)
        config = OnlineConfig((folder / "unet-standard-7",), folder / "mmf1", folder / "o.nc")
        start = time.perf_counter()
        evaluate_online(config)
        seconds = time.perf_counter() - start
    print(f"online: one member, 60 months: {seconds:.1f} s (target < 60 s), peak {peak():.0f} MiB")


def figures() -> None:
    with tempfile.TemporaryDirectory() as name:
        files = write_study(Path(name))
        start = time.perf_counter()
        draw_figures(FiguresConfig(Path(name) / "figures", *files))
        seconds = time.perf_counter() - start
    print(f"figures: all, 90 members: {seconds:.0f} s (target < 300 s), peak {peak():.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["offline", "online", "figures"])
    parser.add_argument("--samples", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if "offline" in arguments.parts:
        offline(arguments.samples)
    if "online" in arguments.parts:
        online()
    if "figures" in arguments.parts:
        figures()


if __name__ == "__main__":
    main()
