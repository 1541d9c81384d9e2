"""Total condensate and total water, in states, tendencies and vectors alike."""

from __future__ import annotations

from collections.abc import Mapping

from climsim.arrays import Array, namespace
from climsim.variables import VariableSet, phases


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


def total_water(fields: Mapping[str, Array], prefix: str) -> Array:
    """Vapour, liquid and ice of a state [kg kg-1] or of its tendencies [kg kg-1 s-1]."""
    return fields[f"{prefix}q0001"] + fields[f"{prefix}q0002"] + fields[f"{prefix}q0003"]


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
    result: Array = namespace(values).concat(
        [quantity(fields, name) for name in target.names], axis=-1
    )
    return result
