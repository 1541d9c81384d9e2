"""What one worker computes of statistics: mergeable parts of every variable in some blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climsim.data.raw.features import memory_needed
from climsim.data.statistics.moments import Moments, positive_moments
from climsim.data.statistics.quantiles import QuantileSketch
from climsim.data.store.address import StoreAddress
from climsim.data.store.opened import Store, open_store
from climsim.errors import ClimSimError

POSITIVE_NAMES = ("state_qn", "state_q0002", "state_q0003")
"""Variables of which the positive values are averaged apart."""


@dataclass(frozen=True)
class VariablePart:
    """What some blocks contribute to the statistics of one variable.

    Attributes:
        moments: count, mean, deviations, extremes; (level,) or ().
        sketch: quantiles.
        positive: count and mean of the values above the threshold, for `POSITIVE_NAMES` alone.
    """

    moments: Moments
    sketch: QuantileSketch
    positive: Moments

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> VariablePart:
        """The neutral element of merging, for (level,) or ()."""
        positions = shape[0] if shape else 1
        return cls(Moments.empty(shape), QuantileSketch(positions), Moments.empty(shape))


@dataclass(frozen=True)
class PartTask:
    """Blocks that one worker takes.

    Attributes:
        number: position among the tasks.
        store: address of the store.
        split: the split that counts.
        blocks: numbers of the blocks.
    """

    number: int
    store: StoreAddress
    split: str
    blocks: tuple[int, ...]


def summarize_blocks(task: PartTask) -> tuple[int, dict[str, VariablePart]]:
    """Summarize every variable of a store in some blocks of time.

    Previous-step features count where the previous steps exist.

    Args:
        task: which blocks.

    Returns:
        Number of the task, and the part of each variable.

    Raises:
        ClimSimError: if a value is not finite.
    """
    store = open_store(task.store)
    parts = {}
    for name in store.names:
        files = store.blocks(name)
        steps = store.steps(task.split, memory_needed(name))
        part, memory = VariablePart.empty(files.layout.shape[2:]), files.memory()
        for block in task.blocks:
            samples = _samples(
                store, files.read(block, memory), name, steps - block * store.block_steps
            )
            positive = part.positive
            if name in POSITIVE_NAMES:
                positive = positive + positive_moments(samples)
            part.sketch.update(samples.reshape(samples.shape[0], part.sketch.positions))
            part = VariablePart(part.moments + Moments.of(samples), part.sketch, positive)
        parts[name] = part
    return task.number, parts


def _samples(
    store: Store, values: NDArray[np.float32], name: str, steps: NDArray[np.intp]
) -> NDArray[np.float32]:
    """(sample, level) or (sample,) values of those of the given steps that lie in a block."""
    low, high = np.searchsorted(steps, (0, values.shape[0]))
    chosen = values[steps[low:high]]
    if not np.isfinite(chosen).all():
        raise ClimSimError(
            f"{store.path}: {name} has values that are not finite: prepare the store again"
        )
    return chosen.reshape(-1, *chosen.shape[2:])
