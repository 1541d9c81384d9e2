"""Total condensate: cloud liquid plus cloud ice, in states, tendencies and vectors alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from climsim.arrays import Array
from climsim.variables import VariableSet

_TOTAL, _LIQUID, _ICE = "qn", "q0002", "q0003"


def phases(name: str) -> tuple[str, str] | None:
    """Names of the liquid and the ice that a variable is the sum of; None if it is no such sum.

    Args:
        name: of a variable, such as ``state_qn`` or ``tm_state_qn_prvphy``.
    """
    parts = name.split("_")
    if _TOTAL not in parts:
        return None
    liquid, ice = (
        "_".join(phase if part == _TOTAL else part for part in parts) for phase in (_LIQUID, _ICE)
    )
    return liquid, ice


def quantity(fields: Mapping[str, Array], name: str) -> Array:
    """A field by name; the total condensate is the sum of liquid and ice.

    Args:
        fields: arrays by name.
        name: of one of them, or of a condensate whose liquid and ice are among them.
    """
    parts = phases(name)
    if parts is None or name in fields:
        return fields[name]
    return fields[parts[0]] + fields[parts[1]]


def rearrange(values: Array, source: VariableSet, target: VariableSet, levels: int) -> Array:
    """Vectors in the layout of one variable set from those of another.

    Args:
        values: (..., feature) in the layout of the source.
        source: holds every variable of the target, or its liquid and ice.
        target: layout that is wanted.
        levels: number of levels.

    Returns:
        (..., feature) of the same type.
    """
    fields = {name: values[..., where] for name, where in source.slices(levels).items()}
    return np.concatenate([quantity(fields, name) for name in target.names], axis=-1)
