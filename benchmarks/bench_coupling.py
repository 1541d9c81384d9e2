"""What coupling costs: a hybrid run of the embedded model beside the bare host and network.

Run: ``python benchmarks/bench_coupling.py MODEL [--days 1]``. The baseline steps the same host with
the tendencies of its own physics and calls the same model on a fixed vector, nothing else; the run
adds the door vector, the coupler, memory, budgets, history and restart. Compiling is left out of
both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from climsim.online.hosts import build_host
from climsim.online.hosts.base import Host
from climsim.online.memory import DOORS
from climsim.online.model import Model, open_model
from climsim.online.record import PARTS
from climsim.online.run import RunConfig, run_online


def bare_step_seconds(host: Host, model: Model, steps: int) -> float:
    """Wall time of a step of host and network alone [s]."""
    result = host.physics()
    size = DOORS[model.door].size(model.n_levels)
    vector = np.zeros((host.grid.n_columns, size), dtype=np.float32)
    host.step_emulated(result.tendencies, result.surface)
    start = time.perf_counter()
    for _ in range(steps):
        host.inputs()
        model(vector)
        host.step_emulated(result.tendencies, result.surface)
        host.health()
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Print milliseconds a step, by part, and the share that coupling adds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--days", type=float, default=1.0)
    arguments = parser.parse_args()
    host = build_host("gcm", {})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        host.save(folder / "start.npz")
        bare = bare_step_seconds(host, open_model(arguments.model, host.grid), 20)
        host.restore(folder / "start.npz")
        config = RunConfig("bench", folder / "run", arguments.days, model=arguments.model)
        record = run_online(config, host=host)
    parts = {p: record.timing.seconds[p] / record.timing.steps for p in PARTS}
    inner = parts["host"] + parts["network"]
    print(f"bare host and network   {1e3 * bare:8.2f} ms a step")
    for part, seconds in parts.items():
        print(f"{part:22s}  {1e3 * seconds:8.2f} ms a step  {100 * seconds / inner:5.1f} %")
    print(f"coupling (coupler) adds {100 * parts['coupler'] / inner:.1f} % to host and network")
    print(f"{record.sypd:.1f} simulated years per day; {record.message}")


if __name__ == "__main__":
    main()
