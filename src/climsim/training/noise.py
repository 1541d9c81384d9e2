"""Noise on the inputs of training: a model that has seen it answers less to its own errors.

It acts on the physical vector before it is encoded, so that every representation of a profile sees
the same noise, and it is drawn on the device from the random numbers of the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from climsim.errors import ClimSimError
from climsim.interfaces import Encoding
from climsim.normalization import VariableStatisticsLike
from climsim.training.config import NoiseConfig
from climsim.transforms.inputs import as_float32, feature_vector

_GROUPS = {
    "state_t": "temperature",
    "state_rh": "humidity",
    "state_q0001": "humidity",
    "state_qn": "cloud",
    "state_q0002": "cloud",
    "state_q0003": "cloud",
    "state_u": "wind",
    "state_v": "wind",
}
_NEVER_NEGATIVE = ("humidity", "cloud")


def noise_group(name: str) -> str | None:
    """The key of `NoiseConfig` that an input belongs to; None for one that gets no noise."""
    if name.endswith("_prvphy"):
        return "memory"
    return "forcing" if name.endswith("_dyn") else _GROUPS.get(name)


class InputNoise(nn.Module):
    """Adds Gaussian noise, white in level, in units of the spread in training.

    Humidity and cloud stay at 0 or above. A feature without variance in training gets none.
    """

    spread: Tensor
    lowest: Tensor

    def __init__(
        self,
        config: NoiseConfig,
        encoding: Encoding,
        n_levels: int,
        statistics: Mapping[str, VariableStatisticsLike],
    ) -> None:
        """Find the amplitude of every feature.

        Args:
            config: amplitudes and schedule.
            encoding: of the physical input vector.
            n_levels: levels of a profile.
            statistics: of the training split by variable name.

        Raises:
            ClimSimError: if the spread of an input is not known.
        """
        super().__init__()
        self.config = config
        groups = {name: noise_group(name) for name in encoding.variables.names}
        share = {n: 0.0 if g is None else getattr(config, g) for n, g in groups.items()}
        missing = [name for name, part in share.items() if part and name not in statistics]
        if missing:
            raise ClimSimError(
                f"recipe.noise: expected the spread of {missing[0]} in training, found statistics "
                "without one: leave data.statistics out, or give a file of statistics"
            )
        spread = {
            n: part * np.asarray(statistics[n].std) if part else 0.0 for n, part in share.items()
        }
        lowest = {n: 0.0 if g in _NEVER_NEGATIVE else -np.inf for n, g in groups.items()}
        for name, values in (("spread", spread), ("lowest", lowest)):
            vector = as_float32(feature_vector(encoding.variables, n_levels, values))
            self.register_buffer(name, vector, persistent=False)

    def forward(self, x: Tensor, epoch: float) -> Tensor:
        """Add noise.

        Args:
            x: (column, feature) physical.
            epoch: epochs done, with the fraction of the present one.
        """
        factor = noise_factor(self.config, epoch)
        if factor == 0.0:
            return x
        noisy = x + factor * self.spread * torch.randn_like(x)
        return torch.maximum(noisy, torch.minimum(x, self.lowest))


def noise_factor(config: NoiseConfig, epoch: float) -> float:
    """Factor on all amplitudes [1], from 1 at the start to ``floor`` after ``decay_epochs``.

    Args:
        config: with the schedule.
        epoch: epochs done, with the fraction of the present one.
    """
    if config.schedule == "constant":
        return 1.0
    share = min(1.0, epoch / config.decay_epochs)
    if config.schedule == "cosine":
        share = 0.5 * (1.0 - math.cos(math.pi * share))
    return 1.0 + (config.floor - 1.0) * share
