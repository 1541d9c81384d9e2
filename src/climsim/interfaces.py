"""What crosses the border to a climate model, and what a network sees of it.

An `Interface` is the agreement between a climate model and an exported file: the vector that the
file takes and the one that it gives. An `Encoding` is what a network sees of that vector. Both are
tables of a few rows; adding an encoding is adding a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from climsim.errors import ClimSimError, unknown_name
from climsim.variables import (
    EXPANDED,
    OUTPUTS,
    STANDARD,
    TARGETS,
    V1,
    V1_TARGETS,
    V2_RH,
    V3,
    V4,
    V5,
    V7,
    VariableSet,
    liquid_and_ice,
)
from climsim.variables import V2 as V2_RAW


@dataclass(frozen=True)
class Interface:
    """What an exported file takes and gives.

    Attributes:
        name: name in the file's metadata.
        variables: layout of the vector that a climate model gives.
        outputs: layout of the vector that the file returns (confidences may follow).
        steps_of_memory: steps before the present one that the vector is made of.
    """

    name: str
    variables: VariableSet
    outputs: VariableSet
    steps_of_memory: int


V2 = Interface("v2", VariableSet("v2", liquid_and_ice(STANDARD.names)), OUTPUTS, 0)
"""The present step only: 557 values at 60 levels."""
V6 = Interface("v6", VariableSet("v6", liquid_and_ice(EXPANDED.names)), OUTPUTS, 2)
"""With the two steps before and the latitude: 1519 values."""

_RAW = Interface("raw", V2_RAW, OUTPUTS, 0)
_FORCED = Interface("forced", V3, OUTPUTS, 1)
_LOCATED = Interface("located", V4, OUTPUTS, 2)
_PREVIOUS = Interface("previous", VariableSet("previous", liquid_and_ice(V7.names)), OUTPUTS, 1)

INTERFACES: dict[str, Interface] = {i.name: i for i in (V2, V6, _RAW, _FORCED, _LOCATED, _PREVIOUS)}
"""Every interface, by the name that stands in exported files."""


@dataclass(frozen=True)
class Encoding:
    """What a network sees.

    Attributes:
        name: name in recipes and checkpoints.
        variables: layout of the physical vector that is encoded.
        interface: through which that vector is reached.
        published_tag: part of the names of the published statistics.
        repeated: profiles that the network sees in three representations instead of one.
        targets: layout of the vector that the network predicts.
    """

    name: str
    variables: VariableSet
    interface: Interface
    published_tag: str
    repeated: tuple[str, ...] = field(default=())
    targets: VariableSet = TARGETS

    @property
    def profiles(self) -> int:
        """Profiles that a network sees."""
        return len(self.variables.profiles) + 2 * len(self.repeated)

    @property
    def scalars(self) -> int:
        """Scalars that a network sees."""
        return len(self.variables.scalars)

    def require_coupled(self, holder: str) -> None:
        """Refuse targets from which nothing follows that a climate model takes.

        Args:
            holder: file or stage that has this encoding, for the message.

        Raises:
            ClimSimError: if the targets are neither those of training nor the outputs themselves.
        """
        if self.targets not in (TARGETS, self.interface.outputs):
            raise ClimSimError(
                f"{holder}: its inputs {self.name} predict {self.targets.size()} values, expected "
                f"{self.interface.outputs.size()}: a climate model needs those of another set of "
                "inputs, such as standard"
            )

    @property
    def predicts_all_water(self) -> bool:
        """Whether the targets hold vapour and cloud water."""
        return bool({"ptend_qn", "ptend_q0002"} & set(self.targets.names))

    @property
    def knows_saturation(self) -> bool:
        """Whether inputs hold relative humidity and targets the condensate that vapour becomes."""
        return "state_rh" in self.variables.names and "ptend_qn" in self.targets.names


_BUT_LIQUID_FRACTION = tuple(n for n in STANDARD.profiles if n != "liq_partition")

ENCODINGS: dict[str, Encoding] = {
    e.name: e
    for e in (
        Encoding("standard", STANDARD, V2, "v2_rh_mc"),
        Encoding("multirep", STANDARD, V2, "v2_rh_mc", _BUT_LIQUID_FRACTION),
        Encoding("expanded", EXPANDED, V6, "v6"),
        Encoding("v1", V1, _RAW, "v1", targets=V1_TARGETS),
        Encoding("v2", V2_RAW, _RAW, "v2", targets=OUTPUTS),
        Encoding("v2_rh", V2_RH, V2, "v2_rh", targets=OUTPUTS),
        Encoding("v3", V3, _FORCED, "v3", targets=OUTPUTS),
        Encoding("v4", V4, _LOCATED, "v4", targets=OUTPUTS),
        Encoding("v5", V5, _LOCATED, "v5"),
        Encoding("v7", V7, _PREVIOUS, "v7"),
    )
}
"""Every encoding, by the name that stands in recipes.

The published sets by their published names, but ``v2_rh_mc``, which is ``standard``, and ``v6``,
which is ``expanded``.
"""


def encoding(name: str) -> Encoding:
    """Look an encoding up.

    Raises:
        ClimSimError: if there is none of that name.
    """
    if name not in ENCODINGS:
        raise unknown_name("inputs", name, ENCODINGS)
    return ENCODINGS[name]
