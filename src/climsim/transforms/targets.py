"""Between physical targets and the scaled values that networks predict."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from climsim.constants import PRUNED_LEVELS
from climsim.normalization import kept_targets
from climsim.transforms.inputs import as_float32
from climsim.variables import TARGETS, VariableSet


class TargetTransform(nn.Module):
    """Scaling of targets, ``y * scale``, and its inverse.

    Moisture and wind tendencies of the top levels are pruned: the truth that training compares
    with is zero there, as the prediction of every network is (`climsim.networks.Network`).

    Attributes:
        n_levels: levels of a profile.
        n_features: length of the vector.
    """

    scale: Tensor
    kept: Tensor

    def __init__(
        self,
        n_levels: int,
        scale: NDArray[np.float64],
        pruned_levels: int = PRUNED_LEVELS,
        targets: VariableSet = TARGETS,
    ) -> None:
        """Store the scales.

        Args:
            n_levels: levels of a profile.
            scale: (feature,) inverse of the unit of each target, finite and positive.
            pruned_levels: top levels without moisture and wind tendencies.
            targets: what is predicted.
        """
        super().__init__()
        self.n_levels = n_levels
        self.n_features = targets.size(n_levels)
        self.register_buffer("scale", as_float32(scale))
        kept = kept_targets(n_levels, pruned_levels, targets)
        self.register_buffer("kept", torch.from_numpy(kept))

    def decode(self, scaled: Tensor) -> Tensor:
        """Scaled prediction to physical units; both (column, feature) in the target layout."""
        return scaled / self.scale

    def forward(self, scaled: Tensor) -> Tensor:
        """The same as `decode`, for those who call the module."""
        return self.decode(scaled)

    def encode(self, physical: Tensor) -> Tensor:
        """Physical targets to scaled, pruned ones; both (column, feature) in the target layout."""
        return physical * self.scale * self.kept
