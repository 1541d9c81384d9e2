"""The frame around every architecture: layout of vectors, repeated scalars, pruning, confidence.

An architecture is a *body*: a module that maps ``(column, level, feature)`` to profiles
``(column, head, feature, level)`` and scalars ``(column, head, feature)``. Head 0 is the
prediction; head 1, where it exists, is the confidence. Everything that does not depend on the
architecture happens here, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from climsim.constants import N_LEVELS, PRUNED_LEVELS
from climsim.errors import ClimSimError
from climsim.normalization import kept_targets
from climsim.precisions import FLOAT32
from climsim.validation import whole
from climsim.variables import TARGETS, VariableSet

NetworkOutput = Tensor | tuple[Tensor, Tensor]
"""Scaled targets (column, feature), and their confidence where there is a head for it."""
PublishedNames = dict[str, str | tuple[str, ...]]
"""Prefixes of tensor names, each with its published spelling or spellings."""


@dataclass(frozen=True)
class Layout:
    """Sizes of what goes into a network and of what comes out.

    Attributes:
        n_profiles: input variables with a value on every level.
        n_scalars: input variables with one value per column.
        n_levels: levels of a profile, top to surface.
        n_profile_targets: predicted variables with levels.
        n_scalar_targets: predicted variables without levels.
        n_heads: 1, or 2 with a confidence head.
    """

    n_profiles: int
    n_scalars: int
    n_levels: int = N_LEVELS
    n_profile_targets: int = len(TARGETS.profiles)
    n_scalar_targets: int = len(TARGETS.scalars)
    n_heads: int = 1

    def __post_init__(self) -> None:
        for key, least in (
            ("n_profiles", 1),
            ("n_scalars", 0),
            ("n_levels", 1),
            ("n_profile_targets", 1),
            ("n_scalar_targets", 0),
            ("n_heads", 1),
        ):
            whole(key, getattr(self, key), least)

    @property
    def n_channels(self) -> int:
        """Features on each level when scalars are repeated on every level."""
        return self.n_profiles + self.n_scalars

    @property
    def n_level_targets(self) -> int:
        """Features a level-wise head predicts: profiles, then scalars yet to be averaged."""
        return self.n_profile_targets + self.n_scalar_targets

    @property
    def n_inputs(self) -> int:
        """Length of the input vector."""
        return self.n_levels * self.n_profiles + self.n_scalars

    @property
    def n_outputs(self) -> int:
        """Length of the output vector."""
        return self.n_levels * self.n_profile_targets + self.n_scalar_targets


class Body(nn.Module):
    """Base of the architectures: the names of their tensors in published checkpoints.

    Attributes:
        published_options: hyperparameters that published checkpoints need and new models do not.
        gpu_precision: precision in which it trains fastest on a GPU, at published size.
        gpu_compile: whether it trains faster there when compiled.
    """

    published_options: ClassVar[Mapping[str, Any]] = {}
    gpu_precision: ClassVar[str] = FLOAT32
    gpu_compile: ClassVar[bool] = False

    def published_prefixes(self) -> PublishedNames:
        """Prefixes of this module's tensor names, each with its published spelling.

        What is not listed has the same name in both. A tuple of spellings stands for
        their concatenation along the first axis.
        """
        return {}

    def published_constants(self) -> Mapping[str, Tensor]:
        """Published tensors that never change, which this module does without."""
        return {}


class Network(nn.Module):
    """An emulator of one architecture: normalized inputs in, scaled targets out.

    Attributes:
        n_profiles, n_scalars, n_levels: layout of the input vector.
        n_profile_targets, n_scalar_targets: layout of the output vector.
        confidence: whether ``forward`` also returns a confidence.
        config: the arguments of `climsim.build_network` that build this network again.
    """

    kept: Tensor

    def __init__(
        self,
        body: Body,
        layout: Layout,
        pruned_levels: int = PRUNED_LEVELS,
        targets: VariableSet = TARGETS,
    ) -> None:
        """Wrap a body.

        Args:
            body: maps ``(column, level, feature)`` to profiles and scalars of every head.
            layout: sizes of both vectors.
            pruned_levels: top levels without moisture and wind tendencies.
            targets: what is predicted.
        """
        super().__init__()
        self.body = body
        self.n_profiles = layout.n_profiles
        self.n_scalars = layout.n_scalars
        self.n_levels = layout.n_levels
        self.n_profile_targets = layout.n_profile_targets
        self.n_scalar_targets = layout.n_scalar_targets
        self.n_inputs = layout.n_inputs
        self.n_outputs = layout.n_outputs
        self.confidence = False
        self.config = dict[str, object]()
        kept = torch.from_numpy(kept_targets(layout.n_levels, pruned_levels, targets))
        self.register_buffer("kept", kept, persistent=False)

    def __call__(self, x: Tensor) -> NetworkOutput:
        """Predict (see `forward`), once the input is known to fit.

        Raises:
            ClimSimError: for anything but a tensor of floating point of shape (column, feature).
        """
        if not isinstance(x, Tensor):
            raise ClimSimError(
                f"network: expected a tensor of shape (column, {self.n_inputs}), found "
                f"{type(x).__module__}.{type(x).__name__}: use torch.as_tensor"
            )
        if x.ndim != 2 or x.shape[1] != self.n_inputs or not x.is_floating_point():
            raise ClimSimError(
                f"network: expected normalized inputs of shape (column, {self.n_inputs}) in "
                f"floating point, found {tuple(x.shape)} of {x.dtype}"
            )
        output: NetworkOutput = super().__call__(x)
        return output

    def heads(self, x: Tensor) -> Tensor:
        """Run the body.

        Args:
            x: normalized inputs, shape (column, feature), any strides; profiles top to surface.

        Returns:
            Scaled targets of every head, shape (column, head, feature), pruned.
        """
        split = self.n_profiles * self.n_levels
        profiles = x[:, :split].reshape(x.shape[0], self.n_profiles, self.n_levels)
        scalars = x[:, split:].unsqueeze(2).expand(-1, -1, self.n_levels)
        features = torch.cat([profiles, scalars], dim=1).transpose(1, 2).contiguous()
        profile_targets, scalar_targets = self.body(features)
        return torch.cat([profile_targets.flatten(2), scalar_targets], dim=2) * self.kept

    def forward(self, x: Tensor) -> Tensor:
        """Predict.

        Args:
            x: normalized inputs, shape (column, feature).

        Returns:
            Scaled targets, shape (column, feature).
        """
        return self.heads(x).select(1, 0)


class ConfidentNetwork(Network):
    """A network whose second head predicts the loss of the first."""

    def __init__(
        self,
        body: Body,
        layout: Layout,
        pruned_levels: int = PRUNED_LEVELS,
        targets: VariableSet = TARGETS,
    ) -> None:
        """Wrap a body with two heads (arguments as `Network`)."""
        super().__init__(body, layout, pruned_levels, targets)
        self.confidence = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Predict, with a confidence.

        Args:
            x: normalized inputs, shape (column, feature).

        Returns:
            Scaled targets and their confidence in units of the loss, each (column, feature).
        """
        heads = self.heads(x)
        return heads.select(1, 0), heads.select(1, 1)


def split_levelwise(y: Tensor, n_profile_targets: int) -> tuple[Tensor, Tensor]:
    """Split the output of a level-wise head; scalars are their mean over levels.

    Args:
        y: shape (column, head, feature, level), profiles first.
        n_profile_targets: how many features are profiles.

    Returns:
        Profiles (column, head, feature, level) and scalars (column, head, feature).
    """
    return y[:, :, :n_profile_targets], y[:, :, n_profile_targets:].mean(dim=3)
