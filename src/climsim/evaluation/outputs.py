"""What is scored offline: the outputs of an exported model, and the condensate they add up to.

The split of the condensate into liquid and ice follows temperature alone, so where the truth splits
it otherwise the single phases are scored badly whatever the network does. Their sum is what the
network predicts.
"""

from __future__ import annotations

from typing import Final

from climsim.arrays import Array
from climsim.physics.condensate import rearrange
from climsim.variables import OUTPUTS, VariableSet

CONDENSATE: Final = "ptend_qn"
"""Tendency of the total condensate, liquid plus ice."""
SCORED: Final = VariableSet("scored", (*OUTPUTS.names, CONDENSATE))
"""The outputs, followed by the condensate: slices of `OUTPUTS` hold here too."""


def with_condensate(outputs: Array, levels: int) -> Array:
    """Vectors in the layout of `SCORED` from those of `OUTPUTS`.

    Args:
        outputs: (..., output feature).
        levels: number of levels.

    Returns:
        (..., scored feature) of the same type.
    """
    return rearrange(outputs, OUTPUTS, SCORED, levels)
