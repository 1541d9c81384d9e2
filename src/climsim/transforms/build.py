"""Which rule normalizes which variable, and how statistics become transforms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from climsim.constants import FILL_THRESHOLD, N_LEVELS, QN_ZERO_LEVELS
from climsim.errors import ClimSimError, unknown_name
from climsim.transforms.inputs import (
    INPUT_KINDS,
    InputTransform,
    MultirepInputs,
    NormalizedInputs,
    feature_vector,
    input_set,
    multirep_profiles,
)
from climsim.transforms.published import read_published
from climsim.transforms.targets import TargetTransform
from climsim.variables import STANDARD, TARGETS, VariableSet, variable

Array = NDArray[np.float64]

AS_IS = frozenset(
    {
        "state_rh", "state_qn", "liq_partition", "clat", "slat",
        "cam_in_ICEFRAC", "cam_in_LANDFRAC", "cam_in_OCNFRAC",
    }
)  # fmt: skip
"""Inputs that are not scaled (condensate has its own transform)."""
UNCENTERED = frozenset({"pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX"})
"""Inputs divided by their range without subtracting their mean."""
RESOLUTION = 1.0e-6
"""A spread below this share of a feature's magnitude is rounding, not variance [1]."""
EMPTY_QN_RATE = 1.0e7
"""Exponent of condensate on levels where training saw none [kg kg-1]^-1."""
_MEMORY_FLOORS = {"q": 1.0e-12, "u": 2.0e-7}
"""Least divisors of previous tendencies, those of the published statistics, in SI units."""
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
    def mean(self) -> Array: ...  # noqa: D102
    @property
    def std(self) -> Array: ...  # noqa: D102
    @property
    def min(self) -> Array: ...  # noqa: D102
    @property
    def max(self) -> Array: ...  # noqa: D102
    @property
    def column_mean(self) -> float: ...  # noqa: D102
    @property
    def column_std(self) -> float: ...  # noqa: D102
    @property
    def positive_mean(self) -> Array | None: ...  # noqa: D102


class StatisticsLike(Protocol):
    """Statistics of the training split by variable name."""

    def __getitem__(self, name: str) -> VariableStatisticsLike: ...


@dataclass(frozen=True)
class Transforms:
    """Everything between physical vectors and a network.

    Attributes:
        inputs: physical input vector to network input.
        targets: scaled prediction to physical tendencies, and back.
    """

    inputs: InputTransform
    targets: TargetTransform


def from_statistics(
    statistics: StatisticsLike,
    inputs: str,
    levels: int = N_LEVELS,
    clip_margin: float | None = None,
) -> Transforms:
    """Build the transforms from statistics of the training split.

    Features without variance in training become 0 (their divisor is infinite), so an unseen value
    cannot blow up.

    Args:
        statistics: by variable name.
        inputs: ``"standard"``, ``"multirep"`` or ``"expanded"``.
        levels: levels of a profile.
        clip_margin: if given, physical inputs are moved into the training range, widened on each
            side by this share of it; ``None`` lets every value through.

    Raises:
        ClimSimError: for an unknown kind of input or a variable without statistics.
    """
    _check_kind(inputs)
    variables = input_set(inputs)
    _check_statistics(statistics, (*variables.names, *TARGETS.names), levels)
    bounds = None if clip_margin is None else _bounds(statistics, variables, levels, clip_margin)
    if inputs == "multirep":
        encoder: InputTransform = _multirep(statistics, levels, bounds)
    else:
        sub = {n: _subtracted(n, statistics[n]) for n in variables.names}
        div = {n: _divisor(n, statistics[n]) for n in variables.names}
        encoder = NormalizedInputs(
            inputs,
            levels,
            feature_vector(variables, levels, sub),
            feature_vector(variables, levels, div),
            _qn_rate(statistics["state_qn"], levels),
            bounds,
        )
    scale = {n: _target_scale(n, statistics[n]) for n in TARGETS.names}
    return Transforms(encoder, TargetTransform(levels, feature_vector(TARGETS, levels, scale)))


def _check_kind(inputs: str) -> None:
    if inputs not in INPUT_KINDS:
        raise unknown_name("kind of inputs", inputs, INPUT_KINDS)


def _check_statistics(statistics: StatisticsLike, names: tuple[str, ...], levels: int) -> None:
    for name in names:
        try:
            found = np.shape(statistics[name].mean)
        except KeyError as error:
            raise ClimSimError(
                f"statistics: expected variable {name}, found none: compute the statistics again"
            ) from error
        expected = (levels,) if variable(name).profile else ()
        if found != expected:
            raise ClimSimError(
                f"statistics: {name}: expected shape {expected}, found {found}: "
                "use statistics of the same level count"
            )


def _subtracted(name: str, s: VariableStatisticsLike) -> Array | float:
    uncentered = name in AS_IS | UNCENTERED or name.endswith(("_dyn", "_prvphy"))
    return 0.0 if uncentered else s.mean


def _divisor(name: str, s: VariableStatisticsLike) -> Array | float:
    if name in AS_IS:
        return 1.0
    if name.endswith("_prvphy"):
        key = name.removeprefix("tm_").removeprefix("state_")[0]
        return np.where(_varies(s), np.maximum(s.std, _MEMORY_FLOORS.get(key, 0.0)), np.inf)
    return np.where(_varies(s), np.subtract(s.max, s.min), np.inf)


def _varies(s: VariableStatisticsLike) -> NDArray[np.bool_]:
    """Where a feature has variance beyond the rounding of float32."""
    magnitude = np.maximum(np.abs(s.min), np.abs(s.max))
    return np.subtract(s.max, s.min) > RESOLUTION * magnitude


def _column_divisor(s: VariableStatisticsLike) -> float:
    magnitude = max(abs(float(np.min(s.min))), abs(float(np.max(s.max))))
    return s.column_std if s.column_std > RESOLUTION * magnitude else np.inf


def _qn_rate(s: VariableStatisticsLike, levels: int) -> Array:
    positive = np.asarray(s.positive_mean, dtype=np.float64)
    rate = np.where(positive > 0, 1.0 / np.where(positive > 0, positive, 1.0), EMPTY_QN_RATE)
    rate[: min(QN_ZERO_LEVELS, levels)] = 0.0
    return rate


def _bounds(
    statistics: StatisticsLike, variables: VariableSet, levels: int, margin: float
) -> tuple[Array, Array]:
    low = feature_vector(variables, levels, {n: statistics[n].min for n in variables.names})
    high = feature_vector(variables, levels, {n: statistics[n].max for n in variables.names})
    width = margin * (high - low)
    return low - width, high + width


def _target_scale(name: str, s: VariableStatisticsLike) -> Array:
    return 1.0 / np.maximum(s.std, _TARGET_FLOORS[variable(name).unit])


def _multirep(
    statistics: StatisticsLike, levels: int, bounds: tuple[Array, Array] | None
) -> MultirepInputs:
    sub: dict[str, Array | float] = {"liq_partition": 0.0}
    div: dict[str, Array | float] = {"liq_partition": 1.0}
    for name in STANDARD.names:
        if name not in sub:
            s = statistics[name]
            sub[name] = s.mean
            div[name] = np.where(_varies(s), s.std, np.inf)
    profiles = VariableSet("multirep", multirep_profiles())
    encoded = {n: statistics[n] for n in profiles.names}
    column_sub = {n: s.column_mean for n, s in encoded.items()}
    column_div = {n: _column_divisor(s) for n, s in encoded.items()}
    minimum = {n: (s.min - sub[n]) / div[n] for n, s in encoded.items()}
    return MultirepInputs(
        levels,
        (feature_vector(STANDARD, levels, sub), feature_vector(STANDARD, levels, div)),
        (
            feature_vector(profiles, levels, column_sub),
            feature_vector(profiles, levels, column_div),
        ),
        feature_vector(profiles, levels, minimum),
        bounds,
    )


def from_published(folder: str | Path, inputs: str, levels: int = N_LEVELS) -> Transforms:
    """Build the transforms from the statistics published with ClimSim.

    Reads the netCDF files (``input_mean_*``, ``input_max_*``, ``input_min_*``,
    ``output_scale_*``, ``multirepresentation/``, ``qn_exp_lambda_large.txt``) or the text form of a
    published model (``inp_sub.txt``, ``inp_div.txt``, ``out_scale.txt``). Published statistics
    count the fill values of snow on sea ice, so those are passed on as they are.

    Args:
        folder: where the files are.
        inputs: ``"standard"``, ``"multirep"`` or ``"expanded"``.
        levels: levels of a profile.

    Raises:
        ClimSimError: naming the file that is missing or of the wrong size.
    """
    _check_kind(inputs)
    found = read_published(Path(folder), inputs, levels)
    filled = input_set(inputs).slice("cam_in_SNOWHICE", levels).start
    fill_to_zero = bool(np.abs(found.sub[filled]) < FILL_THRESHOLD * RESOLUTION)
    if inputs == "multirep":
        assert found.column is not None
        assert found.minimum is not None
        encoder: InputTransform = MultirepInputs(
            levels,
            (found.sub, _infinite_where_zero(found.div)),
            (found.column[0], _infinite_where_zero(found.column[1])),
            found.minimum,
            fill_to_zero=fill_to_zero,
        )
    else:
        assert found.rate is not None
        rate = found.rate.copy()
        rate[: min(QN_ZERO_LEVELS, levels)] = 0.0
        div = _infinite_where_zero(found.div)
        encoder = NormalizedInputs(inputs, levels, found.sub, div, rate, fill_to_zero=fill_to_zero)
    return Transforms(encoder, TargetTransform(levels, found.scale))


def _infinite_where_zero(div: Array) -> Array:
    return np.where(div == 0, np.inf, div)


def describe(transforms: Transforms) -> dict[str, bool | int | str]:
    """What, with their buffers, rebuilds the transforms."""
    inputs = transforms.inputs
    return {
        "kind": inputs.kind,
        "n_levels": inputs.n_levels,
        "bounded": inputs.bounded,
        "fill_to_zero": inputs.fill_to_zero,
    }


def empty_transforms(description: Mapping[str, Any]) -> Transforms:
    """Transforms of a description, their buffers yet to be loaded.

    Args:
        description: made by `describe`.
    """
    kind, levels = str(description["kind"]), int(description["n_levels"])
    _check_kind(kind)
    size = input_set(kind).size(levels)
    ones = np.ones(size)
    options: dict[str, Any] = {
        "bounds": (-ones, ones) if description["bounded"] else None,
        "fill_to_zero": bool(description["fill_to_zero"]),
    }
    targets = TargetTransform(levels, np.ones(TARGETS.size(levels)))
    if kind == "multirep":
        encoded = np.ones(levels * len(multirep_profiles()))
        pairs = (ones, ones), (encoded, encoded)
        return Transforms(MultirepInputs(levels, *pairs, encoded, **options), targets)
    rate = np.ones(levels)
    return Transforms(NormalizedInputs(kind, levels, ones, ones, rate, **options), targets)
