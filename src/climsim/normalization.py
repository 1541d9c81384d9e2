"""The rules that normalize inputs and scale targets; each turns statistics into numbers and words.

`input_rule` and `target_rule` are the only place that says which rule a variable follows: the
transforms take their numbers from it, the tables of variables their words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Double
from climsim.constants import PRUNED_LEVELS, QN_ZERO_LEVELS
from climsim.errors import ClimSimError
from climsim.interfaces import Encoding
from climsim.pruning import HUMIDITY_RANGE, PruningConfig
from climsim.variables import TARGETS, VariableSet, pruned_targets, variable

RESOLUTION = 1.0e-6
"""A spread below this share of a feature's magnitude is rounding, not variance [1]."""
EMPTY_QN_RATE = 1.0e7
"""Exponent of condensate on levels where training saw none [kg kg-1]^-1."""
POSITIVE_THRESHOLD = 1.0e-7
"""Condensate above this counts as cloud in the mean that squashes it [kg kg-1]."""
_AS_IS = frozenset(
    ("liq_partition", "clat", "slat", *(f"cam_in_{n}FRAC" for n in ("ICE", "LAND", "OCN")))
)
_UNCENTERED = frozenset({"pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX"})
_SQUASHED = ("state_qn", "state_q0002", "state_q0003")
_PREVIOUS_FLOORS = {"kg kg-1 s-1": 1.0e-12, "m s-2": 2.0e-7}
"""Least divisors of previous tendencies by unit, those of the published statistics."""
_TARGET_FLOORS = {
    "K s-1": 1.0e-9,
    "kg kg-1 s-1": 3.0e-10,
    "m s-2": 1.0e-6,
    "W m-2": 1.0e-3,
    "m s-1": 1.0e-12,
}
"""Least standard deviation of a target by unit.

Published for moisture and wind; the others lie far below any real spread and keep the scale finite
where generated data hold a constant.
"""


class VariableStatisticsLike(Protocol):
    """What the rules need of one variable: per level (level,) or () arrays over training data."""

    @property
    def mean(self) -> Double: ...  # noqa: D102
    @property
    def std(self) -> Double: ...  # noqa: D102
    @property
    def min(self) -> Double: ...  # noqa: D102
    @property
    def max(self) -> Double: ...  # noqa: D102
    @property
    def column_mean(self) -> float: ...  # noqa: D102
    @property
    def column_std(self) -> float: ...  # noqa: D102
    @property
    def positive_mean(self) -> Double | None: ...  # noqa: D102


class InputRule(Protocol):
    """How a network sees one input: ``(x - subtracted) / divisor``, and what follows."""

    def subtracted(self, s: VariableStatisticsLike) -> Double | float:
        """What is subtracted, in the unit of the variable, (level,) or one value."""
        ...

    def divisor(self, s: VariableStatisticsLike) -> Double | float:
        """What is divided by; infinite where the training data do not vary."""
        ...

    def describe(self, profile: bool) -> str:
        """The rule as a formula of x."""
        ...


def _varies(s: VariableStatisticsLike) -> NDArray[np.bool_]:
    """Where a feature has variance beyond the rounding of float32."""
    magnitude = np.maximum(np.abs(s.min), np.abs(s.max))
    return np.subtract(s.max, s.min) > RESOLUTION * magnitude


def _short(number: float) -> str:
    mantissa, _, exponent = f"{number:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _per_level(profile: bool) -> str:
    return " per level" if profile else ""


@dataclass(frozen=True)
class ByRange:
    """Divided by the range, with or without the mean subtracted."""

    centered: bool = True

    def subtracted(self, s: VariableStatisticsLike) -> Double | float:
        """The mean, or 0."""
        return s.mean if self.centered else 0.0

    def divisor(self, s: VariableStatisticsLike) -> Double | float:
        """The range."""
        return np.where(_varies(s), np.subtract(s.max, s.min), np.inf)

    def describe(self, profile: bool) -> str:
        """The rule as a formula of x."""
        return f"{'(x - mean)' if self.centered else 'x'} / (max - min){_per_level(profile)}"


@dataclass(frozen=True)
class BySpread:
    """Divided by the standard deviation, at least the floor; the mean stays."""

    floor: float = 0.0

    def subtracted(self, s: VariableStatisticsLike) -> float:
        """Nothing."""
        del s
        return 0.0

    def divisor(self, s: VariableStatisticsLike) -> Double:
        """The standard deviation, at least the floor."""
        return np.where(_varies(s), np.maximum(s.std, self.floor), np.inf)

    def describe(self, profile: bool) -> str:
        """The rule as a formula of x."""
        spread = f"max(std, {_short(self.floor)})" if self.floor else "std"
        return f"x / {spread}{_per_level(profile)}"


@dataclass(frozen=True)
class AsItIs:
    """Not scaled; with limits, moved into them."""

    limits: tuple[float, float] | None = None

    def subtracted(self, s: VariableStatisticsLike) -> float:
        """Nothing."""
        del s
        return 0.0

    def divisor(self, s: VariableStatisticsLike) -> float:
        """One."""
        del s
        return 1.0

    def describe(self, profile: bool) -> str:
        """The rule as a formula of x."""
        del profile
        if self.limits is None:
            return "as it is"
        return f"as it is, clipped to [{self.limits[0]:g}, {self.limits[1]:g}]"


@dataclass(frozen=True)
class Squashed(AsItIs):
    """Between 0 and 1 by an exponential of the mean positive value, and 0 in the top levels."""

    zero_levels: int = QN_ZERO_LEVELS

    def rate(self, s: VariableStatisticsLike, levels: int) -> Double:
        """Exponents (level,) in the inverse unit of the variable."""
        positive = np.asarray(s.positive_mean, dtype=np.float64)
        if np.isnan(positive).all() and np.max(s.max) > POSITIVE_THRESHOLD:
            raise ClimSimError(
                "statistics: expected the mean of the cloudy values of every condensate, found "
                "statistics of an earlier version without it: compute the statistics again"
            )
        rate = np.where(positive > 0, 1.0 / np.where(positive > 0, positive, 1.0), EMPTY_QN_RATE)
        return self.without_top(rate, levels)

    def without_top(self, rate: Double, levels: int) -> Double:
        """The same exponents, 0 in the top levels."""
        result = rate.copy()
        result[: min(self.zero_levels, levels)] = 0.0
        return result

    def describe(self, profile: bool) -> str:
        """The rule as a formula of x."""
        return (
            f"1 - exp(-x / mean of x > 1e-7){_per_level(profile)}, "
            f"0 in the top {self.zero_levels} levels"
        )


@dataclass(frozen=True)
class Standardized:
    """Mean 0 and spread 1 on each level; in three representations where ``repeated``.

    The second has one mean and spread over all levels; the third is the logarithm of the distance
    of the first from its minimum m over the training split.
    """

    repeated: bool = False

    def subtracted(self, s: VariableStatisticsLike) -> Double:
        """The mean."""
        return s.mean

    def divisor(self, s: VariableStatisticsLike) -> Double:
        """The standard deviation."""
        return np.where(_varies(s), s.std, np.inf)

    def column_divisor(self, s: VariableStatisticsLike) -> float:
        """The standard deviation over all levels."""
        magnitude = max(abs(float(np.min(s.min))), abs(float(np.max(s.max))))
        return s.column_std if s.column_std > RESOLUTION * magnitude else np.inf

    def minimum(self, s: VariableStatisticsLike) -> Double:
        """The least value of the first representation."""
        return (s.min - self.subtracted(s)) / self.divisor(s)

    def describe(self, profile: bool) -> str:
        """The rule as a formula of x."""
        first = f"(x - mean) / std{_per_level(profile)}"
        if not self.repeated:
            return first
        second, above = "(x - mean) / std of all levels", "z - min z"
        return f"z = {first}; {second}; sign({above}) log(1 + abs({above}))"


def input_rule(name: str, encoding: Encoding) -> InputRule:
    """The rule that a variable follows in an encoding."""
    if encoding.repeated:
        return AsItIs() if name == "liq_partition" else Standardized(name in encoding.repeated)
    if name == "state_rh":
        return AsItIs(HUMIDITY_RANGE)
    if name in _SQUASHED:
        return CONDENSATE
    if name in _AS_IS:
        return AsItIs()
    if name.endswith("_prvphy"):
        return BySpread(_PREVIOUS_FLOORS.get(variable(name).unit, 0.0))
    centered = name.removeprefix("tm_") not in _UNCENTERED and not name.endswith("_dyn")
    return ByRange(centered)


CONDENSATE = Squashed()
"""The rule of cloud condensate where it has one representation."""


def squashed(encoding: Encoding) -> tuple[str, ...]:
    """Inputs that are squashed, in the order of the vector; they lie side by side."""
    names = encoding.variables.profiles
    return () if encoding.repeated else tuple(n for n in names if n in _SQUASHED)


@dataclass(frozen=True)
class TargetRule:
    """Scaling of a target by its standard deviation, at least the floor.

    Attributes:
        floor: least divisor, in the unit of the target.
        zero_levels: top levels in which the target is zero.
    """

    floor: float
    zero_levels: int = 0

    def scale(self, s: VariableStatisticsLike) -> Double:
        """What the target is multiplied by."""
        return 1.0 / np.maximum(s.std, self.floor)

    def describe(self, profile: bool) -> str:
        """The rule as a formula of x."""
        pruned = f", 0 in the top {self.zero_levels} levels" if self.zero_levels else ""
        return f"x / max(std, {_short(self.floor)}){_per_level(profile)}{pruned}"


def target_rule(name: str) -> TargetRule:
    """The rule that a target follows."""
    pruned = PRUNED_LEVELS if pruned_targets(VariableSet("one", (name,))) else 0
    return TargetRule(_TARGET_FLOORS[variable(name).unit], pruned)


def kept_targets(
    levels: int, pruned_levels: int = PRUNED_LEVELS, targets: VariableSet = TARGETS
) -> NDArray[np.float32]:
    """Factor 1 of each target, 0 where it is pruned: moisture and wind in the top levels.

    Args:
        levels: levels of a profile.
        pruned_levels: top levels without moisture and wind tendencies.
        targets: what is predicted.

    Returns:
        (feature,) in the layout of the targets.
    """
    kept = np.ones(targets.size(levels), dtype=np.float32)
    for name in pruned_targets(targets):
        start = targets.slice(name, levels).start
        kept[start : start + min(pruned_levels, levels)] = 0.0
    return kept


def kept_inputs(encoding: Encoding, levels: int, pruning: PruningConfig) -> NDArray[np.float32]:
    """Factor 1 of each input, 0 where it is pruned.

    Args:
        encoding: what the network sees.
        levels: levels of a profile.
        pruning: how much is pruned.

    Returns:
        (feature,) in the layout of the encoding's variables.
    """
    kept = np.ones(encoding.variables.size(levels), dtype=np.float32)
    for name, features in encoding.variables.slices(levels).items():
        count = pruning.levels_of(name, levels) if variable(name).profile else 0
        kept[features.start : features.start + min(count, levels)] = 0.0
        if not variable(name).profile and pruning.drops(name):
            kept[features] = 0.0
    return kept


def input_limits(
    encoding: Encoding, levels: int, pruning: PruningConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and greatest normalized value of each input, each (feature,); infinite for none.

    Args:
        encoding: what the network sees.
        levels: levels of a profile.
        pruning: which inputs are clipped.
    """
    size = encoding.variables.size(levels)
    low, high = (np.full(size, sign * np.inf, dtype=np.float32) for sign in (-1, 1))
    for name, features in encoding.variables.slices(levels).items():
        limits = pruning.limits_of(name)
        if limits is not None:
            low[features], high[features] = limits
    return low, high
