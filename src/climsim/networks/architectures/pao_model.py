"""Pao's model: convolutions, attention and an LSTM on profiles joined with scalars (3rd place).

Rounding grows here more than in the other networks (the published outputs lie 2e-5 from those of
double precision), so this one keeps to the kernels of the published code, not to the faster ones.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from climsim.networks.layers import SelfAttention
from climsim.networks.network import Body, Layout, PublishedNames
from climsim.networks.registry import register
from climsim.precisions import BFLOAT16


class _ConvBlock(nn.Module):
    """Two convolutions with a residual, then one post-norm transformer layer."""

    def __init__(self, width: int, kernel: int = 5, n_heads: int = 8) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers.append(nn.Conv1d(width, width, kernel, padding=kernel // 2))
            layers.append(nn.BatchNorm1d(width))
            layers.append(nn.GELU())
        self.conv = nn.Sequential(*layers)
        self.attention = SelfAttention(width, n_heads, nn.Linear)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, width)
        self.linear2 = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2)
        y = (y + self.conv(y)).transpose(1, 2)
        y = self.norm1(y + self.attention(y))
        return self.norm2(y + self.linear2(functional.relu(self.linear1(y))))


def _normalized(width_in: int, width_out: int) -> tuple[nn.Module, ...]:
    """A linear layer, normalized over the batch, with GELU behind it."""
    return nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.GELU()


def _mlp(*widths: int) -> nn.Sequential:
    """Linear layers with GELU between."""
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        if i:
            layers.append(nn.GELU())
        layers.append(nn.Linear(widths[i], widths[i + 1]))
    return nn.Sequential(*layers)


@register("pao_model", small={"hidden_profile_num": 32, "hidden_scalar_num": 32, "num_blocks": 2})
class PaoModel(Body):
    """Body of Pao's model."""

    published_options = MappingProxyType({"published_layout": True})
    gpu_precision = BFLOAT16

    def __init__(
        self,
        layout: Layout,
        *,
        hidden_profile_num: int = 160,
        hidden_scalar_num: int = 160,
        num_blocks: int = 4,
        published_layout: bool = False,
    ) -> None:
        """Build the body.

        Args:
            layout: sizes of inputs and outputs.
            hidden_profile_num: features on each level made of profiles.
            hidden_scalar_num: features on each level made of scalars.
            num_blocks: convolution blocks.
            published_layout: whether to flatten the profile head as (level, feature), as the
                published code does; only for imported checkpoints.
        """
        super().__init__()
        self.n_profiles, self.n_levels = layout.n_profiles, layout.n_levels
        self.n_profile_targets = layout.n_profile_targets
        self.published_layout = published_layout
        width = hidden_profile_num + hidden_scalar_num
        size = layout.n_profiles * layout.n_levels
        self.scale = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.profile_linear = nn.Linear(layout.n_profiles, hidden_profile_num)
        self.level_embedding = nn.Embedding(layout.n_levels, hidden_profile_num)
        self.scalar_mlp = nn.Sequential(
            *_normalized(layout.n_scalars, hidden_scalar_num),
            *_normalized(hidden_scalar_num, hidden_scalar_num),
        )
        # One linear map per level, side by side in one matrix.
        self.scalar_to_levels = nn.Linear(hidden_scalar_num, layout.n_levels * hidden_scalar_num)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_ConvBlock(width) for _ in range(num_blocks))
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True, bidirectional=True)
        self.profile_heads = nn.ModuleList(
            _mlp(2 * width, width, width, hidden_profile_num, layout.n_profile_targets)
            for _ in range(layout.n_heads)
        )
        flat = layout.n_levels * 2 * width
        self.scalar_norm = nn.LayerNorm(flat)
        self.scalar_heads = nn.ModuleList(
            _mlp(flat, hidden_scalar_num, hidden_scalar_num, layout.n_scalar_targets)
            for _ in range(layout.n_heads)
        )

    def _join(self, x: Tensor) -> Tensor:
        """Embed profiles and scalars; returns (column, level, feature)."""
        scale = self.scale.reshape(self.n_profiles, self.n_levels).T
        bias = self.bias.reshape(self.n_profiles, self.n_levels).T
        profiles = self.profile_linear(x[:, :, : self.n_profiles] * scale + bias)
        profiles = profiles + self.level_embedding.weight
        # The frame repeats scalars on every level: take them from the first.
        scalars = self.scalar_to_levels(self.scalar_mlp(x[:, 0, self.n_profiles :]))
        scalars = scalars.reshape(x.shape[0], self.n_levels, -1)
        return self.norm(torch.cat([profiles, scalars], dim=2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the body.

        Args:
            x: shape (column, level, feature).

        Returns:
            Profiles (column, head, feature, level) and scalars (column, head, feature).
        """
        y = self._join(x)
        for block in self.blocks:
            y = block(y)
        y = self.lstm(y)[0]
        profiles: list[Tensor] = []
        for profile_head in self.profile_heads:
            z = profile_head(y)
            if self.published_layout:
                profiles.append(z.reshape(z.shape[0], self.n_profile_targets, self.n_levels))
            else:
                profiles.append(z.transpose(1, 2))
        flat = self.scalar_norm(y.flatten(1))
        scalars: list[Tensor] = []
        for scalar_head in self.scalar_heads:
            scalars.append(scalar_head(flat))
        return torch.stack(profiles, dim=1), torch.stack(scalars, dim=1)

    def published_prefixes(self) -> PublishedNames:
        """Prefixes of this module's tensor names, each with its published spelling."""
        profiles, levels = range(self.n_profiles), range(self.n_levels)
        result: PublishedNames = {
            "scale": tuple(f"feature_scale_list.{i}.weights" for i in profiles),
            "bias": tuple(f"feature_scale_list.{i}.biases" for i in profiles),
            "profile_linear": "input_linear",
            "level_embedding": "positional_encoding",
            "scalar_mlp": "other_feats_mlp",
            "scalar_to_levels": tuple(f"other_feats_proj_list.{i}" for i in levels),
            "norm": "profile_layer_norm",
            "lstm": "lstm.0",
            "scalar_norm": "scalar_layer_norm",
        }
        for i in range(len(self.blocks)):
            name, published = f"blocks.{i}", f"cnn1.{i}.transformer.layers.0"
            result |= SelfAttention.published_prefixes(
                f"{name}.attention", f"{published}.self_attn"
            )
            result |= {f"{name}.conv": f"cnn1.{i}.conv", name: published}
        for i, role in enumerate(("output", "conf")):
            result[f"profile_heads.{i}"] = f"profile_{role}_mlp"
            result[f"scalar_heads.{i}"] = f"scalar_{role}_mlp"
        return result
