"""Which rules couple a network to a climate model; what they do is in `climsim.online.coupler`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from climsim.constants import PRUNED_LEVELS
from climsim.validation import Checks, positive, require
from climsim.variables import OUTPUTS

LINEAR = "linear"
RAMPS = ("constant", LINEAR, "step")
"""Schedules of the share that the network has in the tendencies."""
NO_MIXING, CONFIDENCE, NOVELTY = "none", "confidence", "novelty"
MIXINGS = (NO_MIXING, CONFIDENCE, NOVELTY)
"""What a column's share of the network follows."""


@dataclass(frozen=True)
class CouplerOptions:
    """Which rules of the coupler act, and how much of the physics the network replaces.

    Attributes:
        spinup_steps: steps at the start that run the full physics.
        strato_water: whether vapour keeps its value and all cloud is removed at and above the
            tropopause.
        positivity: whether tendencies are raised where they would make water negative.
        top_levels: number of top levels without tendencies of water and wind.
        partial_variables: outputs taken from the network (``ptend_*``, ``cam_out_*``), the others
            from the host's physics; empty means all from the network.
        ocean_only: take the surface scalars from the network only where OCNFRAC is 1.
        ramp: schedule of the network's share r: tendency = r network + (1 - r) physics.
        ramp_factor: r once the ramp is complete.
        ramp_linear_steps: steps of the linear ramp.
        ramp_step_1steps: steps with r = ramp_factor in the step pattern.
        ramp_step_0steps: steps with r = 0 that follow them.
        mixing: what the share of the network follows column by column, on top of the ramp:
            ``confidence`` the mean loss that the model predicts for the column, ``novelty`` how far
            its inputs lie from the training data (see `climsim.online.novelty`), or ``none``.
        mixing_low: value up to which the network has its full share.
        mixing_high: value from which the physics does all; between the two the share falls
            linearly. The same number twice is a threshold.
        mixing_statistics: file of statistics of the training data, for ``novelty``.
        watch_physics: also run the host's physics on every step, without using it, so that the
            true loss can be recorded beside the confidence.
    """

    spinup_steps: int = 5
    strato_water: bool = True
    positivity: bool = True
    top_levels: int = PRUNED_LEVELS
    partial_variables: tuple[str, ...] = ()
    ocean_only: bool = False
    ramp: str = "constant"
    ramp_factor: float = 1.0
    ramp_linear_steps: int = 72
    ramp_step_1steps: int = 20
    ramp_step_0steps: int = 10
    mixing: str = NO_MIXING
    mixing_low: float = 0.0
    mixing_high: float = 0.0
    mixing_statistics: str = ""
    watch_physics: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "partial_variables", tuple(self.partial_variables))
        check = Checks(self, "coupler")
        check.one_of(RAMPS, "ramp")
        check.each_of(OUTPUTS.names, "partial_variables")
        check.between(0, 1, "ramp_factor")
        check.whole("spinup_steps", "top_levels", "ramp_step_0steps")
        check.whole("ramp_linear_steps", "ramp_step_1steps", least=1)
        check.one_of(MIXINGS, "mixing")
        self._check_mixing()

    def _check_mixing(self) -> None:
        if self.mixing == NO_MIXING:
            return
        high, low = self.mixing_high, self.mixing_low
        positive("coupler.mixing_high", high)
        require("coupler.mixing_low", low, low <= high, f"a number up to mixing_high={high:g}")
        given = bool(self.mixing_statistics) == (self.mixing == NOVELTY)
        wanted = (
            "a file of statistics" if self.mixing == NOVELTY else "none (only novelty takes it)"
        )
        require("coupler.mixing_statistics", self.mixing_statistics, given, wanted)

    @property
    def statistics_file(self) -> Path | None:
        """File of statistics that the share of the network follows; None where it does not."""
        return Path(self.mixing_statistics) if self.mixing_statistics else None

    def to_dict(self) -> dict[str, object]:
        """Plain values, as records keep them."""
        return {**asdict(self), "partial_variables": list(self.partial_variables)}

    @property
    def whole_step(self) -> int:
        """The first step in which the network has its whole share, counted from the start."""
        ramp = self.ramp_linear_steps if self.ramp == LINEAR else 0
        return self.spinup_steps + ramp

    @property
    def blends(self) -> bool:
        """Whether the host's physics takes part in coupled steps."""
        full = self.ramp == "constant" and self.ramp_factor == 1.0
        mixes = self.mixing != NO_MIXING
        return bool(self.partial_variables) or self.ocean_only or mixes or not full

    @property
    def needs_physics(self) -> bool:
        """Whether the host's physics has to run in coupled steps."""
        return self.blends or self.watch_physics
