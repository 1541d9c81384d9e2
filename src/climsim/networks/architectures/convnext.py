"""ConvNeXt over levels at full vertical resolution (4th place).

Source: Liu et al. 2022 (arXiv 2201.03545) in one dimension, with batch instead of layer norm.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from climsim.errors import ClimSimError
from climsim.networks.layers import LevelConv, LevelLinear, as_image, from_image
from climsim.networks.network import Body, Layout, PublishedNames
from climsim.networks.registry import register
from climsim.precisions import BFLOAT16


class _Block(nn.Module):
    """Depthwise convolution, batch norm, inverted bottleneck, layer scale, residual."""

    def __init__(self, width: int, layer_scale: float, kernel: int) -> None:
        super().__init__()
        self.depthwise = LevelConv(width, width, kernel, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.expand = LevelLinear(width, 4 * width)
        self.project = LevelLinear(4 * width, width)
        self.layer_scale = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        y = from_image(self.norm(self.depthwise(x)))
        y = self.project(functional.gelu(self.expand(y)))
        return torch.addcmul(x, as_image(y), self.layer_scale.reshape(1, -1, 1, 1))


class _Head(nn.Module):
    """Convolution to the targets; a linear map of the scalar features of all levels."""

    def __init__(self, width: int, layout: Layout) -> None:
        super().__init__()
        self.n_profile_targets = layout.n_profile_targets
        self.conv = LevelConv(width, layout.n_level_targets, 3)
        self.scalar = nn.Linear(layout.n_scalar_targets * layout.n_levels, layout.n_scalar_targets)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x).squeeze(2)
        profiles, scalars = y[:, : self.n_profile_targets], y[:, self.n_profile_targets :]
        return profiles, self.scalar(scalars.flatten(1))


@register("convnext", small={"depths": (1, 1, 3, 1), "dims": (32, 48, 64, 96)})
class ConvNeXt(Body):
    """Body of the ConvNeXt."""

    gpu_precision = BFLOAT16
    gpu_compile = True

    def __init__(
        self,
        layout: Layout,
        *,
        depths: Sequence[int] = (3, 3, 9, 3),
        dims: Sequence[int] = (96, 192, 384, 768),
        layer_scale: float = 1e-6,
        kernel_sizes: Sequence[int] = (4, 2, 2, 2),
        block_kernel_size: int = 7,
    ) -> None:
        """Build the body.

        Args:
            layout: sizes of inputs and outputs.
            depths: blocks of each stage.
            dims: features of each stage.
            layer_scale: initial factor of every residual branch.
            kernel_sizes: levels that the convolution before each stage spans.
            block_kernel_size: levels that the depthwise convolution of every block spans.
        """
        super().__init__()
        if not len(depths) == len(dims) == len(kernel_sizes):
            raise ClimSimError(
                f"depths, dims, kernel_sizes: expected one width and kernel per stage, got "
                f"{len(depths)} depths, {len(dims)} dims and {len(kernel_sizes)} kernel_sizes"
            )
        stem = LevelConv(layout.n_channels, dims[0], kernel_sizes[0])
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(dims[0]))
        self.transitions = nn.ModuleList([nn.Identity()])
        self.stages = nn.ModuleList()
        for i, (depth, width) in enumerate(zip(depths, dims, strict=True)):
            if i:
                conv = LevelConv(dims[i - 1], width, kernel_sizes[i])
                self.transitions.append(nn.Sequential(nn.BatchNorm2d(dims[i - 1]), conv))
            blocks = (_Block(width, layer_scale, block_kernel_size) for _ in range(depth))
            self.stages.append(nn.Sequential(*blocks))
        self.heads = nn.ModuleList(_Head(dims[-1], layout) for _ in range(layout.n_heads))
        self.apply(_initialize)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the body.

        Args:
            x: shape (column, level, feature).

        Returns:
            Profiles (column, head, feature, level) and scalars (column, head, feature).
        """
        y = self.stem(as_image(x))
        for transition, stage in zip(self.transitions, self.stages):  # noqa: B905
            y = stage(transition(y))
        profiles: list[Tensor] = []
        scalars: list[Tensor] = []
        for head in self.heads:
            profile, scalar = head(y)
            profiles.append(profile)
            scalars.append(scalar)
        return torch.stack(profiles, dim=1), torch.stack(scalars, dim=1)

    def published_prefixes(self) -> PublishedNames:
        """Prefixes of this module's tensor names, each with its published spelling."""
        result: PublishedNames = {"stem": "downsample_layers.0"}
        for i, stage in enumerate(self.stages):
            result[f"transitions.{i}.0"] = f"downsample_layers.{i}.norm"
            result[f"transitions.{i}.1"] = f"downsample_layers.{i}.conv"
            for k in range(len(stage)):  # type: ignore[arg-type]
                block = f"stages.{i}.{k}"
                result[f"{block}.depthwise"] = f"{block}.dwconv"
                result[f"{block}.layer_scale"] = f"{block}.gamma"
                result[f"{block}.expand"] = f"{block}.pwconv.pwconv1"
                result[f"{block}.project"] = f"{block}.pwconv.pwconv2"
        roles = ("_pred", "_conf") if len(self.heads) == 2 else ("",)
        for i, role in enumerate(roles):
            result[f"heads.{i}.conv"] = f"final_conv_layer{role}"
            result[f"heads.{i}.scalar"] = f"fc_scalar{role}"
        return result


def _initialize(module: nn.Module) -> None:
    """Truncated normal weights of standard deviation 0.02, zero bias (Liu et al. 2022)."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
