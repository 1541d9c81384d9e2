"""The true loss of a model's output where the host's physics also ran, in units of training.

It stands beside the loss that a confidence head predicts, so that both can be compared online.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from climsim.arrays import Array, Fields
from climsim.online.coupler import ModelOutput
from climsim.variables import TARGETS


class _Described(Protocol):
    """A model that may say what it was trained with."""

    n_levels: int
    metadata: dict[str, Any]


class LossMeter:
    """Elementwise training loss between two outputs.

    ``L(scale y^, scale y)`` with the loss and the scales that the exported file names.

    Args:
        name: of the elementwise loss.
        delta: of Huber's loss, in scaled units.
        scale: (feature,) of the targets, 0 where pruned.
        levels: number of levels.
    """

    def __init__(self, name: str, delta: float, scale: Array, levels: int) -> None:
        # Here, not above: a run without a model needs no torch.
        from climsim.losses import recorded_loss

        self._loss = recorded_loss(name, delta)
        self._scale = {n: scale[where] for n, where in TARGETS.slices(levels).items()}

    @classmethod
    def of(cls, model: _Described) -> LossMeter | None:
        """The meter that a model's file describes, or None where it does not say."""
        about = model.metadata.get("loss")
        if about is None:
            return None
        return cls(about["name"], about["delta"], np.asarray(about["scale"]), model.n_levels)

    def __call__(self, network: ModelOutput, physics: ModelOutput) -> Fields:
        """Compare a model's output, before the rules of the coupler, with the host's physics.

        Returns:
            Loss by target, (level, column) or (column,).
        """
        import torch

        predicted, true = _targets(network), _targets(physics)
        losses: Fields = {}
        for name, scale in self._scale.items():
            factor = scale if predicted[name].ndim == 1 else scale[:, None]
            pair = (torch.from_numpy(np.asarray(f[name] * factor)) for f in (predicted, true))
            losses[name] = self._loss(*pair).numpy()
        return losses


def _targets(output: ModelOutput) -> Fields:
    """Targets of an output, float64: liquid and ice together as condensate."""
    fields = {
        n: np.asarray(x, np.float64) for n, x in {**output.tendencies, **output.surface}.items()
    }
    fields["ptend_qn"] = fields["ptend_q0002"] + fields["ptend_q0003"]
    return {name: fields[name] for name in TARGETS.names}
