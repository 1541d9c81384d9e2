"""Exported models beside their bare networks: columns per second, overhead, size, memory.

Run: ``python benchmarks/bench_export.py [--networks unet ...] [--preset small] [--columns 384]
[--repeats 7] [--threads 1] [--inputs standard]``. The bare network runs eagerly in inference mode
on inputs that are already normalized; the file holds transforms and constraint too. The two take
turns with the scripted bare network, and the least processor time of each counts; the overhead is
over the faster of the two bare forms. ``bf16`` is the fast form; its error is the
largest over the variables of (r.m.s. difference / r.m.s. value) on probe columns, for the random
weights of this benchmark. Statistics are those of random data.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from climsim.export import export_model, load_emulator
from climsim.export.probe import probe_columns
from climsim.networks import build_network, network_names
from climsim.training.checkpoint import describe_model, save_model
from climsim.transforms import DOORS, from_statistics

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from physical_samples import samples, statistics_of

LEVELS = 60


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(network_names()))
    parser.add_argument("--preset", default="small")
    parser.add_argument("--inputs", default="standard")
    parser.add_argument("--columns", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    statistics = statistics_of(samples(LEVELS))
    print("network         bare c/s   file c/s  overhead   bf16 c/s  bf16 error   MiB   peak MiB")
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            compare(name, Path(folder), statistics, options)


def compare(name: str, folder: Path, statistics: dict, options: argparse.Namespace) -> None:
    transforms = from_statistics(statistics, options.inputs, LEVELS)
    network = build_network(name, options.inputs, preset=options.preset).eval()
    about = describe_model(network.config, transforms, {}, {})
    checkpoint = save_model(folder / "model.ckpt", network, transforms, about)
    exact = load_emulator(export_model(checkpoint, folder / "exact.pt"))
    fast = load_emulator(export_model(checkpoint, folder / "fast.pt", "bfloat16"))
    columns = options.columns
    physical = probe_columns(DOORS[exact.door], LEVELS, columns)
    with torch.inference_mode():
        door = torch.randn(columns, transforms.inputs.n_outputs)
    vector = physical.numpy()

    def bare() -> torch.Tensor:
        with torch.inference_mode():
            return network(door)

    scripted = torch.jit.script(network)

    def bare_scripted() -> torch.Tensor:
        with torch.inference_mode():
            return scripted(door)

    runs = {
        "eager": bare,
        "scripted": bare_scripted,
        "exact": lambda: exact(vector),
        "fast": lambda: fast(vector),
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(options.repeats):
        for key, run in runs.items():
            best[key] = min(best[key], seconds(run))
    best["bare"] = min(best["eager"], best["scripted"])
    error = max(fast.metadata["fast_form"].values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:14s} {columns / best['bare']:9.0f}  {columns / best['exact']:9.0f}"
        f"  {100 * (best['exact'] / best['bare'] - 1):+7.1f} %  {columns / best['fast']:9.0f}"
        f"  {error:10.2g}  {(folder / 'exact.pt').stat().st_size / 2**20:5.1f}  {peak:8.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
