"""Why an emulator pays: the embedded model's own physics beside hybrids, in simulated years a day.

Run: ``python benchmarks/bench_physics.py MODEL... [--days 0.25] [--threads 1]``.
One process runs full physics under each radiation and the hybrid with each exported model, over the
same hours, with the outputs that a run writes. Compiling is left out: one step of each comes first.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from climsim.constants import SECONDS_PER_DAY, STEPS_PER_DAY
from climsim.hosts import build_host
from climsim.hosts.gcm.host import GcmHost
from climsim.online.run import RunConfig, run_online

HOUR = 3600.0


@dataclass(frozen=True)
class Physics:
    """One way to compute the host's own physics.

    Attributes:
        label: in the table.
        radiation: of the host.
        interval: between two calls of it [s]; 0 for every step.
    """

    label: str
    radiation: str
    interval: float


PHYSICS = (
    Physics("reduced, every hour", "reduced", HOUR),
    Physics("reduced, every step", "reduced", 0.0),
    Physics("rrtmgp, every hour", "rrtmgp", HOUR),
    Physics("rrtmgp, every step", "rrtmgp", 0.0),
)


@dataclass(frozen=True)
class Speed:
    """What a run cost.

    Attributes:
        label: of the run.
        step: seconds of a step.
        years: simulated years a day.
    """

    label: str
    step: float
    years: float


def timed(host: GcmHost, label: str, config: RunConfig) -> Speed:
    """Speed of a run from the state that the host is in, compiled."""
    years = run_online(config, host=host).sypd
    assert years is not None
    return Speed(label, SECONDS_PER_DAY / (years * 365.0 * STEPS_PER_DAY), years)


def full_physics(chosen: Physics, scratch: Path, days: float) -> Speed:
    """Speed of the host's own physics."""
    options = {"radiation": chosen.radiation, "radiation_interval": chosen.interval}
    host = build_host("gcm", options)
    assert isinstance(host, GcmHost)
    host.save(scratch / "start.npz")
    host.step_physics()
    host.restore(scratch / "start.npz")
    folder = scratch / chosen.label.replace(", ", "_").replace(" ", "_")
    return timed(host, f"full physics: {chosen.label}", RunConfig("bench", folder, days))


def hybrids(
    models: list[Path], scratch: Path, days: float, threads: int, retain_turbulence: bool
) -> Iterator[Speed]:
    """Speed of the hybrid with each model, the emulated term in place of full physics."""
    host = build_host("gcm", {"retain_turbulence": retain_turbulence})
    assert isinstance(host, GcmHost)
    host.save(scratch / "start.npz")
    result = host.physics()
    host.step_emulated(result.tendencies, result.surface)
    for number, model in enumerate(models):
        host.restore(scratch / "start.npz")
        folder = scratch / f"hybrid_{number}"
        config = RunConfig("bench", folder, days, model=model, threads=threads)
        yield timed(host, f"hybrid: {model.stem}", config)


def main() -> None:
    """Print seconds a step, simulated years a day, and the ratio to the first line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--days", type=float, default=0.25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--retain-turbulence",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="as the host of the models' data did",
    )
    arguments = parser.parse_args()
    print("| run | s a step | simulated years a day | against the first |\n|---|---|---|---|")
    first: float | None = None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for run in itertools.chain(
            (full_physics(chosen, folder, arguments.days) for chosen in PHYSICS),
            hybrids(
                arguments.models,
                folder,
                arguments.days,
                arguments.threads,
                arguments.retain_turbulence,
            ),
        ):
            first = run.years if first is None else first
            ratio = run.years / first
            print(f"| {run.label} | {run.step:.3f} | {run.years:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
