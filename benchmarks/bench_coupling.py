"""What a hybrid step of the embedded model costs, and where the time goes.

Run: ``python benchmarks/bench_coupling.py MODEL [--days 1] [--threads 1 0] [--resolution T10]
[--clock wall|cpu]``. One process runs the same days twice for each number of network threads (0:
every core) and prints a table of the parts of a step. The first run gives host, network and the
coupling in all, whose share in the other two has to stay small. The second splits the coupling by
the profiler, which makes calls of Python dearer: the parts add up to more. On several threads
history and records are kept beside the steps: the profiler sees none of that, the coupling in all
holds what the steps waited for it, and ``beside`` is the time it took. ``--clock cpu`` counts the
time of the process, for one thread beside other programs. Two steps and the files of their means
come first and do not count: they compile, and import what writes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from climsim.allocation import keep_freed_memory
from climsim.constants import SECONDS_PER_DAY
from climsim.hosts import build_host
from climsim.hosts.base import SteppedHost
from climsim.online import budget, coupler, fields, history, loop, memory, model, ring
from climsim.online.run import RunConfig, run_online
from climsim.runs import timing
from climsim.runs.record import RunRecord

COUPLING = {
    "input vector": memory.assemble,
    "output taken apart, finite": model.non_finite_members,
    "rules of the coupler": coupler.couple,
    "budgets": budget.step_budgets,
    "global means": budget.global_means,
    "history fields": fields.history_fields,
    "history means and files": history.HistoryWriter.add,
    "last day kept": ring.LastDays.add,
    "restart point": loop.Loop.save,
}
"""Functions of the run loop whose time is the coupling's, by what they do."""
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Cost:
    """Milliseconds a step of one run, by part.

    Attributes:
        parts: host, network and the parts of the coupling.
        record: of the run.
    """

    parts: dict[str, float]
    record: RunRecord


def cost_of(host: SteppedHost, start: Path, config: RunConfig, clock: str) -> Cost:
    """Run twice, and take the time of each part from the record and from the profiler.

    Args:
        host: compiled.
        start: its start state.
        config: of the run.
        clock: a name in `CLOCKS`.
    """
    record = run_once(host, start, config, clock)
    seconds, steps = record.timing.seconds, record.timing.steps
    parts = {name: 1e3 * seconds[name] / steps for name in ("host", "network")}
    coupling = sum(seconds[name] for name in ("coupler", "history", "restart"))
    profiler = cProfile.Profile(CLOCKS[clock])
    again = replace(config, folder=config.folder.with_name(f"{config.folder.name}_profiled"))
    profiler.runcall(run_once, host, start, again, clock)
    spent = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    for label, function in COUPLING.items():
        code = function.__code__
        key = (code.co_filename, code.co_firstlineno, code.co_name)
        parts[label] = 1e3 * spent[key][3] / record.steps if key in spent else 0.0
    parts["beside"] = 1e3 * record.timing.beside / record.steps
    parts["coupling in all"] = 1e3 * coupling / steps
    return Cost(parts, record)


def run_once(host: SteppedHost, start: Path, config: RunConfig, clock: str) -> RunRecord:
    """Run from the start state, timed by a clock."""
    host.restore(start)
    with mock.patch.object(timing, "time", SimpleNamespace(perf_counter=CLOCKS[clock])):
        return run_online(config, host=host)


def report(costs: dict[int, Cost]) -> None:
    """Print the table and the share of the coupling."""
    print(" " * 28 + "".join(f"{threads:>4d} threads" for threads in costs) + "  [ms a step]")
    for name in next(iter(costs.values())).parts:
        values = "".join(f"{cost.parts[name]:12.2f}" for cost in costs.values())
        print(f"{name:28s}{values}")
    for threads, cost in costs.items():
        inner = cost.parts["host"] + cost.parts["network"]
        share = 100 * cost.parts["coupling in all"] / inner
        print(
            f"{threads} threads: coupling is {share:.1f} % of host and network; "
            f"{cost.record.sypd:.1f} simulated years per day; {cost.record.message}"
        )


def main() -> None:
    """Print milliseconds a step, by part, and the share that coupling adds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 0])
    parser.add_argument("--resolution", default="T10")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument(
        "--retain-turbulence",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="as the host of the model's data did",
    )
    arguments = parser.parse_args()
    keep_freed_memory()  # as every `climsim` command does
    options = {
        "resolution": arguments.resolution,
        "retain_turbulence": arguments.retain_turbulence,
    }
    host = build_host("gcm", options)
    costs = {}
    with tempfile.TemporaryDirectory() as scratch:
        start = Path(scratch) / "start.npz"
        host.save(start)
        warm_up = RunConfig(
            "bench", Path(scratch) / "warm_up", 2 * host.dt / SECONDS_PER_DAY, model=arguments.model
        )
        run_once(host, start, warm_up, arguments.clock)
        for threads in arguments.threads:
            config = replace(
                warm_up,
                folder=Path(scratch) / f"threads_{threads}",
                days=arguments.days,
                threads=threads,
            )
            costs[threads] = cost_of(host, start, config, arguments.clock)
    report(costs)


if __name__ == "__main__":
    main()
