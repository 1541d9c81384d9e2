"""Exported models beside their bare networks: columns per second, overhead, size, memory.

Run: ``python benchmarks/bench_export.py [--networks unet ...] [--preset small] [--columns 384]
[--recipe standard] [--repeats 7] [--threads 2] [--clock wall|cpu]``. ``bare`` is the network alone,
on inputs that are already normalized, eager or scripted, whichever is faster; ``file`` holds
transforms and constraint too, and starts from numpy; ``fast`` is its bfloat16 form. They take turns
and the least time of each counts, so the overhead is that of one run against another in it.
``--clock cpu`` counts processor time divided by threads, for shared machines. With the published
preset, ``x published`` is the speed of file and fast form over that of the published code (network
alone, float32, 384 columns, 2 cores). ``error`` is the largest over the variables of
(r.m.s. difference / r.m.s. value) of the fast form on probe columns, for random weights. Memory is
the peak of a process that runs the bare network, and of one that runs the file.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from climsim.allocation import keep_freed_memory
from climsim.configuration import compose_config
from climsim.export.loading import load_emulator
from climsim.export.probe import probe_columns
from climsim.export.writing import export_model
from climsim.networks import NETWORKS, build_network
from climsim.training.checkpoint import describe_model, load_model, save_model
from climsim.transforms import from_statistics

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.exported_synthetic import TINY
from tests.physical_samples import samples, statistics_of

LEVELS = 60
SMALL = "small"
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
PUBLISHED_SPEED = {
    "unet": 171,
    "squeezeformer": 12,
    "pure_resLSTM": 49,
    "pao_model": 80,
    "convnext": 19,
    "encdec_lstm": 60,
}
"""Columns per second of the published code on 2 cores (AVX512, float32), at 384 columns."""


def make_checkpoint(name: str, folder: Path, options: argparse.Namespace) -> Path:
    """A network of random weights, none of them 0 as some are at the start of training."""
    recipe = f"recipe={options.recipe}"
    settings = compose_config("train", [recipe, "data.store=x", "out=y"])["recipe"]
    known = statistics_of(samples(LEVELS))
    transforms = from_statistics(known, settings["inputs"], LEVELS)
    torch.manual_seed(7)
    preset, changes = (SMALL, TINY[name]) if options.preset == "tiny" else (options.preset, {})
    network = build_network(
        name, settings["inputs"], settings["confidence"], preset, LEVELS, **changes
    )
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.2 * torch.randn(weights.shape) / max(1, weights[0].numel()) ** 0.5)
    about = describe_model(network.config, transforms, {}, {}, known)
    return save_model(folder / "model.ckpt", network, transforms, about)


def bare_run(network: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return network(x)

    return run


def speeds(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Columns per second of every form."""
    prepare(options)
    network = load_model(folder / "model.ckpt").network
    exact, fast = (load_emulator(folder / f"{form}.pt") for form in ("exact", "fast"))
    vector = probe_columns(exact.interface.variables, LEVELS, options.columns).numpy()
    x = torch.randn(options.columns, network.n_inputs)
    runs = {
        "eager": bare_run(network, x),
        "scripted": bare_run(torch.jit.script(network), x),
        "file": lambda: exact(vector),
        "fast": lambda: fast(vector),
    }
    return rates(runs, options)


def rates(
    runs: Mapping[str, Callable[[], object]], options: argparse.Namespace
) -> dict[str, float]:
    """Columns per second of functions that take turns; the least time of each counts."""
    share = 1 / options.threads if options.clock == "cpu" else 1.0
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    best = dict.fromkeys(runs, float("inf"))
    for repeat in range(options.repeats + 1):
        for key, run in runs.items():
            start = clock()
            run()
            if repeat:  # the first of each compiles and allocates
                best[key] = min(best[key], share * (clock() - start))
    return {key: options.columns / seconds for key, seconds in best.items()}


def peak(folder: Path, form: str, options: argparse.Namespace) -> float:
    """Peak memory of a process that runs one form twice [MiB]."""
    prepare(options)
    if form == "bare":
        network = load_model(folder / "model.ckpt").network
        run = bare_run(network, torch.randn(options.columns, network.n_inputs))
    else:
        emulator = load_emulator(folder / f"{form}.pt")
        vector = probe_columns(emulator.interface.variables, LEVELS, options.columns).numpy()
        run = lambda: emulator(vector)  # noqa: E731
    run()
    run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare(options: argparse.Namespace) -> None:
    keep_freed_memory()
    torch.set_num_threads(options.threads)


def alone(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Call a function in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments, **named).result()


def row(name: str, folder: Path, options: argparse.Namespace) -> str:
    checkpoint = make_checkpoint(name, folder, options)
    export_model(checkpoint, folder / "exact.pt")
    fast = load_emulator(export_model(checkpoint, folder / "fast.pt", "bfloat16"))
    rate = alone(speeds, folder, options)
    bare = max(rate["eager"], rate["scripted"])
    sizes = [(folder / f"{form}.pt").stat().st_size / 2**20 for form in ("exact", "fast")]
    memory = [alone(peak, folder, form, options) for form in ("bare", "exact")]
    published = ""
    if options.preset == "published":
        before = PUBLISHED_SPEED[name]
        published = f"  {rate['file'] / before:5.1f} {rate['fast'] / before:5.1f}"
    return (
        f"{name:14s} {bare:8.0f} {rate['file']:8.0f} {100 * (bare / rate['file'] - 1):+7.1f} %"
        f" {rate['fast']:8.0f}  {max(fast.metadata['fast_form'].values()):8.2g}"
        f"  {sizes[0]:6.1f} {sizes[1]:6.1f}  {memory[0]:6.0f} {memory[1]:6.0f}{published}"
    )


def parser(about: str) -> argparse.ArgumentParser:
    """The options that the benchmarks of exported files share."""
    result = argparse.ArgumentParser(description=about.splitlines()[0])
    result.add_argument("--networks", nargs="+", default=list(NETWORKS.names()))
    result.add_argument("--preset", default=SMALL, choices=("tiny", SMALL, "published"))
    result.add_argument("--recipe", default="standard")
    result.add_argument("--columns", type=int, default=384)
    result.add_argument("--repeats", type=int, default=7)
    result.add_argument("--threads", type=int, default=2)
    result.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    return result


def main() -> None:
    options = parser(__doc__).parse_args()
    prepare(options)
    print(
        "network        columns per second                   error        size, MiB"
        "   memory, MiB  x published\n"
        "                   bare     file  overhead     fast               file   fast"
        "    bare   file   file  fast"
    )
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            print(row(name, Path(folder), options), flush=True)


if __name__ == "__main__":
    main()
