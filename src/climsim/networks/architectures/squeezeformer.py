"""Squeezeformer: convolution and attention blocks with gated MLPs (1st place).

Source: Kim et al. 2022 (arXiv 2206.00888), as adapted by the winners of the LEAP competition.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from climsim.networks.layers import (
    LevelConv,
    LevelLinear,
    LevelwiseHeads,
    SelfAttention,
    as_image,
    from_image,
)
from climsim.networks.network import Body, Layout, PublishedNames, split_levelwise
from climsim.networks.registry import register
from climsim.precisions import BFLOAT16

_EPSILON = 1e-6


class _Gate(nn.Module):
    """First half of the features times SiLU of the second half."""

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * functional.silu(gate)


class _GatedMLP(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = LevelLinear(width, hidden)
        self.gate = _Gate()
        self.project = LevelLinear(hidden // 2, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.gate(self.expand(x)))


class _ScaleBias(nn.Module):
    """A residual connection whose branch has a learned factor and offset per feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return torch.addcmul(residual + self.bias, x, self.scale)


class _ConvBlock(nn.Module):
    """Depthwise convolution over levels, level attention, gated MLP."""

    def __init__(self, width: int, kernel: int, expand_ratio: int) -> None:
        super().__init__()
        inner = expand_ratio * width // 2
        self.expand = LevelLinear(width, 2 * inner)
        self.gate = _Gate()
        self.depthwise = LevelConv(inner, inner, kernel, groups=inner, bias=False)
        self.batch_norm = nn.BatchNorm2d(inner, momentum=0.95)
        self.level_attention = nn.Conv1d(1, 1, 5, padding=2, bias=False)
        self.project = LevelLinear(inner, width)
        self.scale_bias_1 = _ScaleBias(width)
        self.mlp = _GatedMLP(width, 4 * width)
        self.scale_bias_2 = _ScaleBias(width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(as_image(self.gate(self.expand(x))))
        y = from_image(functional.silu(self.batch_norm(y)))
        weight = torch.sigmoid(self.level_attention(y.mean(dim=2).unsqueeze(1)))
        x = self.scale_bias_1(self.project(y * weight.transpose(1, 2)), x)
        return self.norm(self.scale_bias_2(self.mlp(x), x))


class _TransformerBlock(nn.Module):
    """Self-attention over levels, then a gated MLP, each with scale, bias and post-norm."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, n_heads)
        self.scale_bias_1 = _ScaleBias(width)
        self.norm_1 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = _GatedMLP(width, 4 * width)
        self.scale_bias_2 = _ScaleBias(width)
        self.norm_2 = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_1(self.scale_bias_1(self.attention(x), x))
        return self.norm_2(self.scale_bias_2(self.mlp(x), x))


@register(
    "squeezeformer",
    small={"embed_dim": 64, "head_dim": 128, "num_heads": 4, "num_blocks": 2},
)
class Squeezeformer(Body):
    """Body of the Squeezeformer."""

    gpu_precision = BFLOAT16

    def __init__(
        self,
        layout: Layout,
        *,
        embed_dim: int = 384,
        head_dim: int = 2048,
        num_heads: int = 4,
        num_blocks: int = 12,
        conv_filter: int = 15,
        expand_ratio: int = 4,
    ) -> None:
        """Build the body.

        Args:
            layout: sizes of inputs and outputs.
            embed_dim: features on each level inside the blocks.
            head_dim: features on each level before the targets.
            num_heads: attention heads.
            num_blocks: pairs of a convolution and a transformer block.
            conv_filter: levels that the depthwise convolutions span.
            expand_ratio: factor by which a convolution block widens its features; even.
        """
        super().__init__()
        self.n_profile_targets = layout.n_profile_targets
        self.stem = LevelLinear(layout.n_channels, embed_dim, bias=False)
        self.norm = nn.LayerNorm(embed_dim, eps=_EPSILON)
        self.blocks = nn.ModuleList()
        for _ in range(num_blocks):
            self.blocks.append(_ConvBlock(embed_dim, conv_filter, expand_ratio))
            self.blocks.append(_TransformerBlock(embed_dim, num_heads))
        self.expand = LevelLinear(embed_dim, head_dim)
        self.mlp = _GatedMLP(head_dim, 4 * embed_dim)
        self.heads = nn.ModuleList(
            LevelwiseHeads(head_dim, layout.n_level_targets, 1) for _ in range(layout.n_heads)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the body.

        Args:
            x: shape (column, level, feature).

        Returns:
            Profiles (column, head, feature, level) and scalars (column, head, feature).
        """
        y = self.norm(self.stem(x))
        for block in self.blocks:
            y = block(y)
        y = self.mlp(functional.silu(self.expand(y)))
        outputs: list[Tensor] = []
        for head in self.heads:
            outputs.append(head(y))
        return split_levelwise(torch.cat(outputs, dim=1), self.n_profile_targets)

    def published_prefixes(self) -> PublishedNames:
        """Prefixes of this module's tensor names, each with its published spelling."""
        result: PublishedNames = {
            "stem": "dense",
            "norm": "layer_norm",
            "expand": "head_dense.dense",
        }
        result |= _published_mlp("mlp", "ffn")
        for i in range(len(self.blocks)):
            kind = "transformer_encoders" if i % 2 else "conv_blocks"
            name, published = f"blocks.{i}", f"{kind}.{i // 2}"
            result |= _published_mlp(f"{name}.mlp", f"{published}.ffn")
            result |= SelfAttention.published_prefixes(f"{name}.attention", f"{published}.att")
            result |= {
                f"{name}.depthwise": f"{published}.dwconv",
                f"{name}.level_attention": f"{published}.eca_layer.conv",
                f"{name}.norm": f"{published}.layer_norm_2",
                f"{name}.norm_1": f"{published}.layer_norm_1",
                f"{name}.norm_2": f"{published}.layer_norm_2",
                name: published,
            }
        for i, role in enumerate(("pred", "conf")):
            result[f"heads.{i}.linear"] = f"final_dense_{role}"
        return result


def _published_mlp(name: str, published: str) -> dict[str, str]:
    return {f"{name}.expand": f"{published}.dense_1", f"{name}.project": f"{published}.dense_2"}
