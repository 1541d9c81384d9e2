"""What a hybrid step of the embedded model costs, and where the time goes.

Run: ``python benchmarks/bench_coupling.py MODEL [--days 1] [--threads 1 0] [--resolution T10]``.
One process runs the same days once for each number of network threads (0: every core) and prints
a table of the parts of a step. The parts of the coupling are those of the run loop, timed by the
profiler; the share that has to stay small is theirs in host and network. Compiling is left out.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
from dataclasses import dataclass
from pathlib import Path

from climsim.hosts import build_host
from climsim.hosts.base import SteppedHost
from climsim.online import budget, coupler, fields, history, loop, memory, model, ring
from climsim.online.run import RunConfig, run_online
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


@dataclass(frozen=True)
class Cost:
    """Milliseconds a step of one run, by part.

    Attributes:
        parts: host, network and the parts of the coupling.
        record: of the run.
    """

    parts: dict[str, float]
    record: RunRecord


def run_profiled(host: SteppedHost, config: RunConfig) -> Cost:
    """Run and take the time of each part from the profiler and the record.

    Args:
        host: at its start state, compiled.
        config: of the run.
    """
    profiler = cProfile.Profile()
    profiler.enable()
    record = run_online(config, host=host)
    profiler.disable()
    spent = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    seconds, steps = record.timing.seconds, record.timing.steps
    parts = {name: 1e3 * seconds[name] / steps for name in ("host", "network")}
    for label, function in COUPLING.items():
        code = function.__code__
        key = (code.co_filename, code.co_firstlineno, code.co_name)
        parts[label] = 1e3 * spent[key][3] / record.steps if key in spent else 0.0
    coupling = sum(seconds[name] for name in ("coupler", "history", "restart"))
    parts["coupling in all"] = 1e3 * coupling / steps
    return Cost(parts, record)


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
    arguments = parser.parse_args()
    host = build_host("gcm", {"resolution": arguments.resolution})
    costs = {}
    with tempfile.TemporaryDirectory() as scratch:
        start = Path(scratch) / "start.npz"
        host.save(start)
        result = host.physics()
        host.step_emulated(result.tendencies, result.surface)
        for threads in arguments.threads:
            host.restore(start)
            folder = Path(scratch) / f"threads_{threads}"
            config = RunConfig(
                "bench", folder, arguments.days, model=arguments.model, threads=threads
            )
            costs[threads] = run_profiled(host, config)
    report(costs)


if __name__ == "__main__":
    main()
