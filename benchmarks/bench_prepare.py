"""Preparation speed beside the route "open each pair with xarray, stack, concatenate, save".

Run: ``python benchmarks/bench_prepare.py [--steps 432] [--columns 384] [--folder DIR]``.
The baseline makes the vectors of the standard set alone; preparation also makes the previous-step
features, unless ``--no-memory`` is given. Both read the same files, which lie in the page cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray

from climsim.allocation import keep_freed_memory
from climsim.data.raw.steps import list_steps, output_path
from climsim.data.store.config import PrepareConfig
from climsim.data.store.prepare import prepare
from climsim.data.store.splits import SplitConfig
from climsim.files import remove
from climsim.physics.thermodynamics import liquid_fraction, relative_humidity
from climsim.variables import STANDARD, TARGETS

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.data.synthetic import write_record
from tests.grids import make_grid


def plain_pair(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of one pair the plain way: xarray datasets, stacked arrays."""
    with xarray.open_dataset(path) as before, xarray.open_dataset(output_path(path)) as after:
        inputs = before.assign(
            state_rh=(
                ("lev", "ncol"),
                relative_humidity(before.state_q0001, before.state_t, before.state_pmid),
            ),
            state_qn=before.state_q0002 + before.state_q0003,
            liq_partition=(("lev", "ncol"), liquid_fraction(before.state_t)),
        )[list(STANDARD.names)]
        targets = after.assign(
            {
                f"ptend_{k}": (after[f"state_{k}"] - before[f"state_{k}"]) / 1200
                for k in ("t", "q0001", "u", "v")
            },
        )
        targets["ptend_qn"] = (
            after.state_q0002 + after.state_q0003 - before.state_q0002 - before.state_q0003
        ) / 1200
        stacked = [
            ds.stack(batch=("ncol",)).to_stacked_array("feature", sample_dims=["batch"]).values
            for ds in (inputs, targets[list(TARGETS.names)])
        ]
    return stacked[0].astype("f4"), stacked[1].astype("f4")


def plain_route(raw: Path, out: Path) -> None:
    pairs = [plain_pair(s.before) for s in list_steps(raw)]
    for index, name in enumerate(("inputs", "targets")):
        np.save(out / f"{name}.npy", np.concatenate([p[index] for p in pairs]))


def peak_mib() -> float:
    """Peak memory of this process and of its largest child [MiB]."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(k).ru_maxrss for k in kinds) / 1024


def cpu_seconds() -> float:
    """Processor time of this process and of its ended children [s]."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usages = [resource.getrusage(k) for k in kinds]
    return sum(u.ru_utime + u.ru_stime for u in usages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=432)
    parser.add_argument("--plain-steps", type=int, default=48, help="pairs for the slow route")
    parser.add_argument("--columns", type=int, default=384)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--compression", default="lz4")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    # As every command of the package does.
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        raw, few = folder / "raw", folder / "few"
        if not raw.is_dir():
            write_record(raw, arguments.steps, make_grid(arguments.columns, 60))
        few.mkdir(exist_ok=True)
        for step in list_steps(raw)[: arguments.plain_steps]:
            for path in (step.before, output_path(step.before)):
                if not (few / path.name).exists():
                    os.link(path, few / path.name)
        compare(raw, few, folder, arguments)


def compare(raw: Path, few: Path, folder: Path, arguments: argparse.Namespace) -> None:
    n_few, n_all = len(list_steps(few)), len(list_steps(raw))
    start, used = time.perf_counter(), cpu_seconds()
    plain_route(few, folder)
    plain, plain_cpu = n_few / (time.perf_counter() - start), (cpu_seconds() - used) / n_few
    print(
        f"plain xarray route    {plain:8.1f} pairs/s {plain_cpu * 1e3:8.1f} CPU ms/pair ({n_few})"
    )
    store = folder / "store"
    remove(store)
    config = PrepareConfig(
        raw,
        store,
        split=SplitConfig(1.0, 0.0, 0.0),
        memory=not arguments.no_memory,
        compression=arguments.compression,
        workers=arguments.workers,
    )
    start, used = time.perf_counter(), cpu_seconds()
    prepare(config)
    ours, our_cpu = n_all / (time.perf_counter() - start), (cpu_seconds() - used) / n_all
    print(f"climsim data prepare  {ours:8.1f} pairs/s {our_cpu * 1e3:8.1f} CPU ms/pair ({n_all})")
    print(
        f"ratio                 {ours / plain:8.1f} in time {plain_cpu / our_cpu:8.1f} in CPU time"
    )
    print(f"peak memory of a process {peak_mib():8.0f} MiB")


if __name__ == "__main__":
    main()
