"""Which inputs and targets are zero near the model top, and how far normalized inputs may go.

The keys and their meanings are those of the published data sets of the networks.
"""

from __future__ import annotations

from dataclasses import dataclass

from climsim.constants import PRUNED_LEVELS, QN_ZERO_LEVELS
from climsim.errors import ClimSimError
from climsim.validation import Checks

HUMIDITY_RANGE = (0.0, 1.2)
"""Bounds of the relative humidity input [1] (Hu et al. 2025)."""
_FORCING_RANGE = (-0.5, 0.5)
_PHYSICS_RANGE = (-3.0, 3.0)
_CLOUD = ("qn", "q0002", "q0003")
_SNOW_ON_ICE = "cam_in_SNOWHICE"
_PHASE = "liq_partition"


@dataclass(frozen=True)
class PruningConfig:
    """What a network does not see and predict near the model top, and how inputs are clipped.

    Attributes:
        qinput_prune: whether cloud condensate is 0 in the top ``strato_lev`` levels of the inputs.
        output_prune: whether moisture and wind tendencies are 0 in the top ``strato_lev_out``
            levels of targets and predictions.
        strato_lev: top levels that count as stratosphere in the inputs.
        strato_lev_out: the same in the targets.
        aggressive_pruning: whether the inputs keep of the stratosphere the temperature, its
            physics and the trace gases alone, and lose the snow on sea ice.
        strato_lev_qinput: with ``aggressive_pruning``, top levels without humidity, ice and
            liquid fraction; below 0 takes ``strato_lev``.
        strato_lev_qc: with ``aggressive_pruning``, top levels without liquid or condensate.
        strato_lev_tinput: top levels without temperature; 0 or less for none.
        decouple_cloud: whether the inputs hold no cloud at all; takes precedence over the two
            other prunings.
        input_clip: whether normalized inputs are clipped: relative humidity to [0, 1.2].
        input_clip_rhonly: whether only that is; else also the large-scale forcing to [-0.5, 0.5]
            and the physics of previous steps to [-3, 3].
    """

    qinput_prune: bool = True
    output_prune: bool = True
    strato_lev: int = QN_ZERO_LEVELS
    strato_lev_out: int = PRUNED_LEVELS
    aggressive_pruning: bool = False
    strato_lev_qinput: int = 22
    strato_lev_qc: int = 30
    strato_lev_tinput: int = -1
    decouple_cloud: bool = False
    input_clip: bool = True
    input_clip_rhonly: bool = True

    def __post_init__(self) -> None:
        check = Checks(self, "pruning")
        check.whole("strato_lev", "strato_lev_out", "strato_lev_qc")
        check.whole("strato_lev_qinput", "strato_lev_tinput", least=-1)
        if self.strato_lev_qinput < 0:
            object.__setattr__(self, "strato_lev_qinput", self.strato_lev)
        if self.strato_lev_qinput < self.strato_lev:
            raise ClimSimError(
                f"pruning.strato_lev_qinput: expected at least strato_lev={self.strato_lev}, found "
                f"{self.strato_lev_qinput}: the climate model removes water above that level"
            )

    @property
    def pruned_outputs(self) -> int:
        """Top levels without moisture and wind tendencies."""
        return self.strato_lev_out if self.output_prune else 0

    def levels_of(self, name: str, levels: int) -> int:
        """Top levels in which an input profile is 0.

        Args:
            name: of the profile, such as ``tm_state_qn_prvphy``.
            levels: of a profile.
        """
        short = name.removeprefix("tm_").removeprefix("state_").removesuffix("_prvphy")
        cloud = short in _CLOUD or name == _PHASE
        if name == "state_t":
            return max(0, self.strato_lev_tinput)
        if self.decouple_cloud:
            return levels if cloud else 0
        if self.aggressive_pruning:
            return self._aggressive(name, short)
        is_cloudy = name in {f"state_{cloudy}" for cloudy in _CLOUD}
        return self.strato_lev if self.qinput_prune and is_cloudy else 0

    def _aggressive(self, name: str, short: str) -> int:
        if name.startswith("pbuf_"):
            return 0
        if short in ("rh", "q0001", "q0003", _PHASE):
            return self.strato_lev_qinput
        return self.strato_lev_qc if short in ("qn", "q0002") else self.strato_lev

    def drops(self, name: str) -> bool:
        """Whether an input scalar is 0."""
        return self.aggressive_pruning and not self.decouple_cloud and name == _SNOW_ON_ICE

    def limits_of(self, name: str) -> tuple[float, float] | None:
        """Least and greatest normalized value of an input; None for no limit."""
        if not self.input_clip:
            return None
        if name == "state_rh":
            return HUMIDITY_RANGE
        if self.input_clip_rhonly:
            return None
        if name.endswith("_dyn"):
            return _FORCING_RANGE
        return _PHYSICS_RANGE if name.endswith("_prvphy") else None

    @property
    def of_inputs(self) -> tuple[bool | int, ...]:
        """The settings that act on inputs."""
        return (
            self.qinput_prune,
            self.strato_lev,
            self.aggressive_pruning,
            self.strato_lev_qinput,
            self.strato_lev_qc,
            self.strato_lev_tinput,
            self.decouple_cloud,
            self.input_clip,
            self.input_clip_rhonly,
        )
