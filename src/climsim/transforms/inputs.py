"""From a physical input vector to what a network sees: normalization and multirepresentation.

Modules take (column, feature) float32 vectors of a variable set, profiles top to surface, and are
TorchScript-able, device-neutral and indifferent to memory layout.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from climsim.arrays import Double
from climsim.constants import FILL_THRESHOLD
from climsim.interfaces import Encoding
from climsim.normalization import input_limits, kept_inputs, squashed
from climsim.pruning import PruningConfig
from climsim.variables import VariableSet

_FILLED = "cam_in_SNOWHICE"


def as_float32(values: Double) -> Tensor:
    """Turn float64 statistics into a float32 tensor."""
    return torch.as_tensor(np.asarray(values, dtype=np.float64)).to(torch.float32)


class InputTransform(nn.Module):
    """What both encodings share: fill values and the optional limit to the training range.

    Attributes:
        encoding: what the network sees.
        n_levels: levels of a profile.
        n_inputs: length of the physical vector.
        n_outputs: length of the vector for the network.
        bounded: whether physical inputs are limited to ``lower`` and ``upper``.
    """

    lower: Tensor
    upper: Tensor

    def __init__(
        self,
        encoding: Encoding,
        n_levels: int,
        bounds: tuple[Double, Double] | None = None,
        fill_to_zero: bool = True,
    ) -> None:
        """Set up the layout.

        Args:
            encoding: what the network sees.
            n_levels: levels of a profile.
            bounds: lowest and highest physical value of each feature let through, each
                (feature,); values outside are moved onto the bound.
            fill_to_zero: whether fill values (> 1e29) of snow on sea ice count as 0. Published
                statistics were taken over the fill values, so networks trained with them need
                the values as they are.
        """
        super().__init__()
        self.encoding = encoding
        self.n_levels = n_levels
        self.n_inputs = encoding.variables.size(n_levels)
        self.n_outputs = self.n_inputs
        self.bounded = bounds is not None
        filled = encoding.variables.slices(n_levels).get(_FILLED)
        self.fill_to_zero = fill_to_zero and filled is not None
        self._fill = FILL_THRESHOLD
        self._filled = 0 if filled is None else filled.start
        limit = np.full(self.n_inputs, np.inf)
        lower, upper = bounds if bounds is not None else (-limit, limit)
        self.register_buffer("lower", as_float32(lower))
        self.register_buffer("upper", as_float32(upper))

    def encode(self, x: Tensor) -> Tensor:
        """Physical values to what the network sees; each subclass says how.

        Args:
            x: (column, feature) physical values in the layout of the encoding's variables.

        Returns:
            (column, network input), dimensionless, finite.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The same as `encode`, for those who call the module."""
        return self.encode(x)

    def guard(self, x: Tensor) -> Tensor:
        """Replace fill values and, if asked for, move values into the training range."""
        if self.fill_to_zero:
            snow = x[:, self._filled : self._filled + 1]
            snow = snow.masked_fill(snow > self._fill, 0.0)
            x = torch.cat([x[:, : self._filled], snow, x[:, self._filled + 1 :]], dim=1)
        if self.bounded:
            x = torch.clamp(x, self.lower, self.upper)
        return x


def finite_or_zero(z: Tensor) -> Tensor:
    """Replace NaN and infinities by 0."""
    return torch.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0)


class NormalizedInputs(InputTransform):
    """Inputs seen once: ``(x - sub) / div``, clipped and pruned, condensate squashed.

    Cloud condensate becomes ``1 - exp(-rate * x)``; humidity and what else is clipped is moved into
    its limits, what is pruned (condensate in the top levels) is 0. Non-finite results become 0. A
    ``div`` of infinity makes a feature 0: that is how features without variance in training are
    kept from blowing up.
    """

    sub: Tensor
    div: Tensor
    rate: Tensor
    kept: Tensor
    lowest: Tensor
    highest: Tensor
    later_buffers: ClassVar[tuple[str, ...]] = ("kept", "lowest", "highest")
    """Buffers that checkpoints of an earlier version do not hold; the published choice then."""

    def __init__(
        self,
        encoding: Encoding,
        n_levels: int,
        scaling: tuple[Double, Double],
        rate: Double,
        bounds: tuple[Double, Double] | None = None,
        fill_to_zero: bool = True,
        pruning: PruningConfig | None = None,
    ) -> None:
        """Store the statistics.

        Args:
            encoding: what the network sees, each profile once.
            n_levels: levels of a profile.
            scaling: what is subtracted and what is divided by, each (feature,), in the unit of
                the feature.
            rate: (level,) exponents of cloud condensate [kg kg-1]^-1; those of liquid, then those
                of ice where the network sees them apart.
            bounds: see `InputTransform`.
            fill_to_zero: see `InputTransform`.
            pruning: what is clipped and pruned; None for the published choice.
        """
        super().__init__(encoding, n_levels, bounds, fill_to_zero)
        slices, names = encoding.variables.slices(n_levels), squashed(encoding)
        self._condensate = (slices[names[0]].start, slices[names[-1]].stop) if names else (0, 0)
        pruned = PruningConfig() if pruning is None else pruning
        lowest, highest = input_limits(encoding, n_levels, pruned)
        self.register_buffer("kept", torch.from_numpy(kept_inputs(encoding, n_levels, pruned)))
        self.register_buffer("lowest", torch.from_numpy(lowest))
        self.register_buffer("highest", torch.from_numpy(highest))
        self.register_buffer("sub", as_float32(scaling[0]))
        self.register_buffer("div", as_float32(scaling[1]))
        self.register_buffer("rate", as_float32(rate))

    def encode(self, x: Tensor) -> Tensor:
        """Normalize.

        Args:
            x: (column, feature) physical values in the layout of the variable set.

        Returns:
            (column, feature), dimensionless, finite.
        """
        x = self.guard(x)
        z = (x - self.sub) / self.div
        first, last = self._condensate
        z[:, first:last] = 1.0 - torch.exp(-self.rate * x[:, first:last])
        return finite_or_zero(torch.clamp(z, self.lowest, self.highest)) * self.kept

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        for name in self.later_buffers:
            state.setdefault(prefix + name, getattr(self, name))
        super()._load_from_state_dict(state, prefix, *rest)


class MultirepInputs(InputTransform):
    """Three encodings of the standard profiles, then the scalars.

    (1) per level ``(x - mean) / std`` of all profiles, ``liq_partition`` as it is; (2) the same
    with one mean and std over all levels; (3) ``sign(z - m) log(1 + |z - m|)`` of (1), where m is
    its minimum per level over the training split. (2) and (3) leave ``liq_partition`` out.
    Scalars ``(x - mean) / std``. Non-finite results become 0.
    Source: Lin et al. 2025, multirepresentation inputs.
    """

    level_sub: Tensor
    level_div: Tensor
    column_sub: Tensor
    column_div: Tensor
    minimum: Tensor
    repeated: Tensor

    def __init__(
        self,
        encoding: Encoding,
        n_levels: int,
        level: tuple[Double, Double],
        column: tuple[Double, Double],
        minimum: Double,
        bounds: tuple[Double, Double] | None = None,
        fill_to_zero: bool = True,
    ) -> None:
        """Store the statistics.

        Args:
            encoding: what the network sees; its ``repeated`` profiles in three representations.
            n_levels: levels of a profile.
            level: sub and div of encoding 1 and of the scalars, each (feature,) in the layout of
                the encoding's variables.
            column: sub and div of encoding 2, each (encoded feature,): the profiles of
                ``encoding.repeated``, each repeated on every level.
            minimum: (encoded feature,) minimum of encoding 1 over the training split.
            bounds: see `InputTransform`.
            fill_to_zero: see `InputTransform`.
        """
        super().__init__(encoding, n_levels, bounds, fill_to_zero)
        slices = encoding.variables.slices(n_levels)
        columns = [np.arange(slices[n].start, slices[n].stop) for n in encoding.repeated]
        self._profiles = n_levels * len(encoding.variables.profiles)
        self.n_outputs = self.n_inputs + 2 * n_levels * len(columns)
        self.register_buffer("level_sub", as_float32(level[0]))
        self.register_buffer("level_div", as_float32(level[1]))
        self.register_buffer("column_sub", as_float32(column[0]))
        self.register_buffer("column_div", as_float32(column[1]))
        self.register_buffer("minimum", as_float32(minimum))
        self.register_buffer("repeated", torch.as_tensor(np.concatenate(columns)))

    def encode(self, x: Tensor) -> Tensor:
        """Encode.

        Args:
            x: (column, feature) physical values in the layout of the encoding's variables.

        Returns:
            (column, encoded feature), dimensionless, finite; 9 + 8 + 8 profiles and 17 scalars for
            ``multirep``.
        """
        x = self.guard(x)
        z = finite_or_zero((x - self.level_sub) / self.level_div)
        by_column = (x.index_select(1, self.repeated) - self.column_sub) / self.column_div
        above = z.index_select(1, self.repeated) - self.minimum
        logarithm = torch.sign(above) * torch.log1p(torch.abs(above))
        scalars = z[:, self._profiles :]
        return finite_or_zero(
            torch.cat([z[:, : self._profiles], by_column, logarithm, scalars], dim=1)
        )


def feature_vector(
    variables: VariableSet, n_levels: int, values: Mapping[str, Double | float]
) -> Double:
    """Lay values per variable out as a vector of the set.

    Args:
        variables: the set.
        n_levels: levels of a profile.
        values: for each variable, one value or one per level.

    Returns:
        (feature,) float64.
    """
    result = np.empty(variables.size(n_levels))
    for name, where in variables.slices(n_levels).items():
        result[where] = values[name]
    return result
