"""How models answer to noise: a look at stability that needs no coupled run.

Full physics damps what differs from layer to layer: turbulence mixes it. Does a network? And does
one that reads its own tendencies of earlier steps (`v6`) answer with less than it was given?

    python examples/damping.py START.npz MODEL.pt [MODEL.pt ...]

START is a restart file of the embedded model at its default resolution.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from climsim.constants import SECONDS_PER_DAY
from climsim.hosts.gcm.config import GcmConfig
from climsim.hosts.gcm.host import GcmHost
from climsim.online.coupler import split_output
from climsim.online.memory import Memory, assemble
from climsim.online.model import CoupledModel, open_model

LOWEST = 16
SEEDS = (1, 2, 3)
NOISE = 0.3  # K
STEPS = 3  # of physics before, which fill the memory


def look(host: GcmHost, start: Path, seed: int | None) -> tuple[dict, Memory, np.ndarray]:
    """Inputs, memory and heating by full physics a few steps after a start, noise added or not."""
    host.restore(start)
    memory = Memory(dt=host.dt)
    for _ in range(STEPS):
        done = host.step_physics()
        memory = memory.advance(done.inputs, done.tendencies)
    if seed is not None:
        host.perturb(seed, NOISE)
    return host.inputs(), memory, host.physics().tendencies["ptend_t"]


def tendencies(model: CoupledModel, host: GcmHost, inputs: dict, memory: Memory) -> dict[str, Any]:
    """What a network answers, (level, column) each."""
    vector = assemble(model.interface, inputs, memory, host.grid)
    return split_output(model(vector), host.grid.n_levels).tendencies


def damping(change: np.ndarray, answer: np.ndarray, area: np.ndarray) -> float:
    """Rate at which differences between neighbouring layers decay [1/day]; below 0 they grow.

    Args:
        change: of temperature [K], (sample, level, column).
        answer: change of its tendency [K/s], alike.
        area: weights of the columns.
    """
    rough, smoothing = (np.diff(x[:, -LOWEST:], n=2, axis=1) for x in (change, answer))
    return -SECONDS_PER_DAY * float((area * rough * smoothing).sum() / (area * rough**2).sum())


def gain(model: CoupledModel, host: GcmHost, inputs: dict, memory: Memory) -> tuple[float, str]:
    """Largest part of a tendency of the step before that comes back, and where.

    Below 1 an error in the memory decays from step to step, above 1 it grows.
    """
    generator = np.random.default_rng(0)
    without = tendencies(model, host, inputs, memory)
    found = []
    for short in ("t", "u"):
        name = f"state_{short}_prvphy"
        given = memory.physics[name]
        spread = given.std(axis=1, keepdims=True)
        noise = 0.1 * spread * generator.standard_normal(given.shape)
        noisy = replace(memory, physics={**memory.physics, name: given + noise})
        answer = tendencies(model, host, inputs, noisy)[f"ptend_{short}"]
        back = ((answer - without[f"ptend_{short}"]) * noise).sum(axis=1)
        power = (noise**2).sum(axis=1)
        gains = np.divide(back, power, out=np.zeros_like(back), where=power > 0)
        level = int(gains.argmax())
        found.append((float(gains[level]), f"{name} at level {level}"))
    return max(found)


def main(start: str, *models: str) -> None:
    """Print a line for full physics and for every model."""
    host = GcmHost(GcmConfig())
    area = host.grid.area_weights()
    quiet = look(host, Path(start), None)
    noisy = [look(host, Path(start), seed) for seed in SEEDS]
    change = np.stack([inputs["state_t"] - quiet[0]["state_t"] for inputs, _, _ in noisy])
    physics = np.stack([heating - quiet[2] for _, _, heating in noisy])
    print(f"{'full physics':32} damps {damping(change, physics, area):8.3f} per day")
    for path in models:
        model = open_model(Path(path), host.grid)
        without = tendencies(model, host, *quiet[:2])["ptend_t"]
        answer = np.stack(
            [tendencies(model, host, *there[:2])["ptend_t"] - without for there in noisy]
        )
        line = f"{Path(path).stem:32} damps {damping(change, answer, area):8.3f} per day"
        if model.interface.steps_of_memory:
            line += "; gives back {:.2f} of {}".format(*gain(model, host, *quiet[:2]))
        print(line, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("damping.py: expected START.npz MODEL.pt [MODEL.pt ...]")
    main(*sys.argv[1:])
