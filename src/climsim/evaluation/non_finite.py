"""Counts of values that are no finite number, and what they say about a model and a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.evaluation.sums import Sums
from climsim.variables import OUTPUTS, variable

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class NonFinite(Sums):
    """How many columns (one step each) hold values that are no finite number, merged by ``+``.

    Attributes:
        columns: number of columns in all.
        predicted: (feature,) columns in which an output is not finite, in the layout of
            `OUTPUTS`.
        true: (feature,) columns in which the truth is not.
        confidence: columns in which a confidence is not.
        any_predicted: columns in which any output is not.
        any_given: columns among those in which an input is not either.
    """

    columns: int
    predicted: Counts
    true: Counts
    confidence: int
    any_predicted: int
    any_given: int

    @classmethod
    def of(cls, outputs: Sequence[Array], truth: Array, inputs: Array) -> NonFinite:
        """Count in one block.

        Args:
            outputs: of each model, (time, column, feature), confidences last if it has any.
            truth: (time, column, feature) in the layout of `OUTPUTS`.
            inputs: (time, column, feature) of the model.
        """
        size = truth.shape[-1]
        bad = np.any([~np.isfinite(x.reshape(-1, x.shape[-1])) for x in outputs], axis=0)
        in_any = bad.any(axis=1)
        return cls(
            columns=bad.shape[0],
            predicted=bad[:, :size].sum(axis=0),
            true=(~np.isfinite(truth.reshape(-1, size))).sum(axis=0),
            confidence=int(bad[:, size:].any(axis=1).sum()),
            any_predicted=int(in_any.sum()),
            any_given=int(
                (~np.isfinite(inputs.reshape(bad.shape[0], -1)[in_any])).any(axis=1).sum()
            ),
        )

    def problems(self, levels: int) -> list[str]:
        """What is wrong, in words; empty where every value is finite.

        Args:
            levels: number of levels.
        """
        found = []
        if self.any_predicted:
            confidence = {"confidences": self.confidence} if self.confidence else {}
            where = _places(self.predicted, levels) | confidence
            text = f"the model returned no finite number for {self._listed(where)}"
            if self.any_given:
                text += f"; {self.any_given} of these columns had inputs that are no numbers"
            found.append(text)
        if self.true.any():
            where = _places(self.true, levels)
            found.append(f"the store holds no finite number for {self._listed(where)}")
        return found

    def _listed(self, places: Mapping[str, int]) -> str:
        counts = (f"{name} in {n}" for name, n in places.items())
        return f"{', '.join(counts)} of {self.columns} columns"


def _places(counts: Counts, levels: int) -> dict[str, int]:
    """Outputs that are affected, with their levels, and the most columns at any of these."""
    result = {}
    for name, where in OUTPUTS.slices(levels).items():
        bad = np.flatnonzero(counts[where])
        if bad.size:
            some = variable(name).profile and bad.size < levels
            at = f" (levels {bad[0]} to {bad[-1]})" if some else ""
            result[name + at] = int(counts[where].max())
    return result
