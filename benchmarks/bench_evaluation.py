"""Speed and memory of evaluation: the offline pass, one member's history, all figures, all at once.

Run as ``python benchmarks/bench_evaluation.py [offline|online|figures|everything ...]
[--samples N] [--seeds N]``. Each number is printed beside its target. ``everything`` evaluates the
histories of all members of the study over 60 months, draws all figures, by network and by recipe,
and writes the report, with a process for each core. The offline part runs the pass of
`climsim evaluate offline` (reading, model, statistics) over a store of 384 columns and 60 levels
whose 24 steps on disk repeat as often as the samples ask for, in the largest blocks that the pass
reads, with a model that costs next to nothing. The baseline keeps all predictions in memory and
scores R2 alone with scikit-learn.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from sklearn.metrics import r2_score

from climsim.data.store.opened import Store
from climsim.evaluation.config import OfflineConfig, OnlineConfig
from climsim.evaluation.members import NETWORKS, RECIPES, Member
from climsim.evaluation.offline import stream
from climsim.evaluation.offline_dataset import offline_dataset
from climsim.evaluation.online import evaluate_online
from climsim.figures.config import FiguresConfig
from climsim.figures.draw import draw_figures
from climsim.interfaces import V2
from climsim.netcdf import write_netcdf
from climsim.report.config import ReportConfig
from climsim.report.page import write_report
from climsim.variables import OUTPUTS, VariableSet
from tests.evaluation_synthetic import offline_metrics, write_run, write_store, write_study
from tests.grids import make_globe

COLUMNS, LEVELS, STEPS = 384, 60, 24
GLOBE = (24, 16)


def peak() -> float:
    """Largest resident memory of the process, or of one that it started, so far [MiB]."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in both) / 1024


def processor_time() -> float:
    """Processor time of the process and of those that it started and that have ended [s]."""
    return sum(os.times()[:4])


class Cheap:
    """A model that returns some of its inputs, scaled."""

    interface, n_levels, confidence = V2, LEVELS, False

    def __call__(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs of inputs (column, feature)."""
        return vector[:, : OUTPUTS.size(LEVELS)] * np.float32(1e-5)


class LongStore:
    """A store whose steps repeat; it reads them from disk each time."""

    def __init__(self, store: Store, steps: int) -> None:
        self._store, self._steps = store, steps
        # One chunk for all steps: the pass then reads as much at once as it ever does.
        self.grid, self.block_steps = store.grid, steps
        self.n_columns, self.n_levels = store.n_columns, store.n_levels

    def steps(self, split: str, memory: int = 0) -> NDArray[np.intp]:
        """Numbers of all steps."""
        return np.arange(self._steps)

    def vectors(self, variables: VariableSet, steps: NDArray[np.intp]) -> NDArray[np.float32]:
        """Vectors without end (time, column, feature) at some steps."""
        wrapped = steps % STEPS
        parts = np.split(wrapped, np.flatnonzero(np.diff(wrapped) <= 0) + 1)
        return np.concatenate([self._store.vectors(variables, part) for part in parts])


def offline(samples: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        small = write_store(Path(name) / "store.zarr", STEPS, COLUMNS, LEVELS)
        store = LongStore(small, max(1, round(samples / COLUMNS)))
        config = OfflineConfig(Path("model.pt"), small.path, Path(name) / "out.nc")
        seen: list[tuple[int, float]] = []
        start, used = time.perf_counter(), time.process_time()
        state = stream([Cheap()], store, config, lambda done, total: seen.append((done, peak())))
        metrics = offline_dataset(state, store.grid)
        seconds, used = time.perf_counter() - start, time.process_time() - used
    scored = metrics.attrs["samples"]
    early = next(memory for done, memory in seen if done >= len(store.steps("test")) / 20)
    print(
        f"offline: {scored:,} samples in one pass of {len(seen)} blocks, {seconds:.0f} s "
        f"({scored / seconds:,.0f} samples/s; {used:.0f} s of processor time), peak {peak():.0f} "
        f"MiB (after a twentieth of the data {early:.0f} MiB; target < 2048 MiB)",
        flush=True,
    )
    baseline()


def baseline() -> None:
    """Score predictions kept in memory with scikit-learn, and say what 10 million would take."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((20_000, OUTPUTS.size(LEVELS)), dtype=np.float32)
    prediction = 0.7 * truth + 0.1
    start = time.perf_counter()
    r2_score(truth, prediction, multioutput="raw_values")
    seconds = time.perf_counter() - start
    print(
        f"baseline: scikit-learn, R2 alone, all in memory: {len(truth) / seconds:,.0f} samples/s, "
        f"{2 * truth.nbytes / len(truth) * 1e7 / 2**20:,.0f} MiB for 10 million samples"
    )


def online() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, grid = Path(name), make_globe(*GLOBE, LEVELS)
        for run, growing in (("mmf1", 0.0), ("unet-standard-7", 1.0)):
            write_run(folder / run, days=0, months=60, growing=growing, seed=1, grid=grid)
        config = OnlineConfig((folder / "unet-standard-7",), folder / "mmf1", folder / "o.nc")
        start, used = time.perf_counter(), time.process_time()
        evaluate_online(config)
        seconds, used = time.perf_counter() - start, time.process_time() - used
    print(
        f"online: one member, 60 months: {seconds:.1f} s ({used:.1f} s of processor time; target "
        f"< 60 s), peak {peak():.0f} MiB"
    )


def figures() -> None:
    with tempfile.TemporaryDirectory() as name:
        files = write_study(Path(name))
        start, used = time.perf_counter(), time.process_time()
        draw_figures(FiguresConfig(Path(name) / "figures", *files))
        seconds, used = time.perf_counter() - start, time.process_time() - used
    print(
        f"figures: all, 90 members, PNG and PDF: {seconds:.0f} s ({used:.0f} s of processor time; "
        f"target < 300 s), peak {peak():.0f} MiB"
    )


def everything(seeds: int) -> None:
    """Evaluate all runs of a synthetic study, draw every figure and write the report."""
    members = [Member(n, r, s) for r in RECIPES for n in NETWORKS for s in range(seeds)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        offline = tuple(_offline(folder, members))
        runs = _runs(folder, members)
        second = folder / "mmf2"
        online = OnlineConfig(runs, folder / "mmf1", folder / "online.nc", second, workers=0)
        seen: list[float] = []
        start, used = time.perf_counter(), processor_time()
        evaluate_online(online, lambda done, total: seen.append(peak()))
        parts = [processor_time() - used]
        draw_figures(FiguresConfig(folder / "figures", offline, online.out, workers=0))
        parts.append(processor_time() - used - sum(parts))
        out = folder / "report.html"
        write_report(ReportConfig(out, offline, online.out, figures=folder / "figures"))
        parts.append(processor_time() - used - sum(parts))
        seconds = time.perf_counter() - start
        size = out.stat().st_size / 2**20
    spent = zip(("online", "figures", "report"), parts, strict=True)
    words = ", ".join(f"{part} {seconds_of:.0f}" for part, seconds_of in spent)
    print(
        f"everything: {len(members)} members, 60 months: {seconds:.0f} s ({sum(parts):.0f} s of "
        f"processor time: {words}; {seconds / 300:.2f} of the target of 300 s), peak of a process "
        f"{peak():.0f} MiB ({seen[-1] / seen[len(seen) // 10]:.2f} times as much after all runs as "
        f"after the first tenth); page {size:.0f} MiB"
    )


def _offline(folder: Path, members: list[Member]) -> Iterator[Path]:
    """Offline metrics of members; those of the seeds of a network and recipe are alike."""
    made: dict[tuple[str, bool], xarray.Dataset] = {}
    for member in members:
        kind = (member.network, member.recipe == "conf_loss")
        if kind not in made:
            made[kind] = offline_metrics(member.network, member.recipe, member.seed)
        names = {"network": member.network, "recipe": member.recipe, "seed": member.seed}
        path = folder / f"{member.label}.nc"
        write_netcdf(made[kind].assign_attrs(member=member.label, **names), path, checked=True)
        yield path


def _runs(folder: Path, members: list[Member]) -> tuple[Path, ...]:
    """Histories of one run of each network, which those of its recipes and seeds link to."""
    for number, (run, growing) in enumerate(
        (("mmf1", 0.0), ("mmf2", 0.1), *((network, 1.0) for network in NETWORKS))
    ):
        write_run(folder / run, days=0, months=60, growing=growing, seed=number)
    found = []
    for member in members:
        run = folder / "runs" / member.label
        run.mkdir(parents=True)
        for path in (folder / member.network).iterdir():
            name = path.name.replace(member.network, member.label)
            os.link(path, run / name)
        found.append(run)
    return tuple(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["offline", "online", "figures"])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if "offline" in arguments.parts:
        offline(arguments.samples)
    if "online" in arguments.parts:
        online()
    if "figures" in arguments.parts:
        figures()
    if "everything" in arguments.parts:
        everything(arguments.seeds)


if __name__ == "__main__":
    main()
