"""Torch modules between physical vectors and networks, shared by training and export.

There is one implementation of every transform: training holds these modules, a checkpoint stores
their buffers, and an exported model contains the same objects.
"""

from climsim.transforms.build import Transforms, from_published, from_statistics
from climsim.transforms.closure import ColumnClosure
from climsim.transforms.inputs import InputTransform, MultirepInputs, NormalizedInputs
from climsim.transforms.interface import (
    InterfaceTransform,
    MicrophysicsConstraint,
    PhasesApart,
    liquid_fraction,
)
from climsim.transforms.targets import TargetTransform

__all__ = [
    "ColumnClosure",
    "InputTransform",
    "InterfaceTransform",
    "MicrophysicsConstraint",
    "MultirepInputs",
    "NormalizedInputs",
    "PhasesApart",
    "TargetTransform",
    "Transforms",
    "from_published",
    "from_statistics",
    "liquid_fraction",
]
