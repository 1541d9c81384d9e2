"""Sums of fields over steps, which the means of the history are made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from climsim.arrays import Array, like, namespace, to_numpy


class Sums:
    """Sums of fields over steps, and over how many.

    Args:
        totals: by name.
        counts: number of steps in each.
    """

    def __init__(
        self, totals: Mapping[str, Array] | None = None, counts: Mapping[str, int] | None = None
    ) -> None:
        self.totals, self.counts = dict(totals or {}), dict(counts or {})

    def add(self, name: str, values: Array, steps: int = 1) -> None:
        """Add the values of a step, or those of several, which are copied."""
        if name in self.totals:
            # Sums of a restart come as NumPy's; the others stay where the fields are.
            total = like(self.totals[name], values)
            total += values
        else:
            xp = namespace(values)
            total = xp.astype(values, xp.float64, copy=True)
        self.totals[name] = total
        self.counts[name] = self.counts.get(name, 0) + steps

    def pop(self, name: str) -> tuple[Array, int]:
        """Hand over a sum and its number of steps."""
        return self.totals.pop(name), self.counts.pop(name)

    def mean(self, name: str, more: Sums) -> Array:
        """Mean over the steps of both of these sums."""
        held = [sums for sums in (self, more) if name in sums.totals]
        total = held[0].totals[name]
        if len(held) == 2:
            total = like(total, more.totals[name]) + more.totals[name]
        mean: Array = total / sum(sums.counts[name] for sums in held)
        return mean

    def to_arrays(self) -> dict[str, Array]:
        """Flatten into named arrays, for a restart file."""
        arrays = {f"sum/{n}": to_numpy(x) for n, x in self.totals.items()}
        return arrays | {f"count/{n}": np.array(c) for n, c in self.counts.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Sums:
        """Rebuild what `to_arrays` flattened, from among other arrays."""
        totals = {k.removeprefix("sum/"): x for k, x in arrays.items() if k.startswith("sum/")}
        return cls(totals, {name: int(arrays[f"count/{name}"]) for name in totals})
