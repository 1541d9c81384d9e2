"""The true loss of a model's output where the host's physics also ran, in units of training.

It stands beside the loss that a confidence head predicts, so that both can be compared online.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from climsim.arrays import Array, Fields, double, to_numpy
from climsim.online.coupler import ModelOutput
from climsim.physics.condensate import quantity
from climsim.variables import TARGETS, VariableSet

if TYPE_CHECKING:  # a run without a model needs no torch
    from climsim.losses import TrainingLoss


def true_losses(
    loss: TrainingLoss, network: ModelOutput, physics: ModelOutput, levels: int
) -> Fields:
    """Compare a model's output, before the rules of the coupler, with the host's physics.

    Args:
        loss: of the model's training.
        network: the model's output.
        physics: what the host's physics gives instead.
        levels: number of levels.

    Returns:
        Loss by target, (level, column) or (column,).
    """
    by_column = loss(physical_targets(network), physical_targets(physics))
    return {name: values.T for name, values in TARGETS.fields(by_column, levels).items()}


def physical_targets(output: ModelOutput, targets: VariableSet = TARGETS) -> Array:
    """Targets of an output.

    Args:
        output: of a model or of the host's physics.
        targets: their layout; a condensate is the sum of liquid and ice.

    Returns:
        (column, feature) float64.
    """
    both = {**output.tendencies, **output.surface}
    fields = {name: to_numpy(double(values)) for name, values in both.items()}
    rows = [np.atleast_2d(quantity(fields, name)) for name in targets.names]
    return np.concatenate(rows, axis=0).T
