"""Layers that several architectures share, in the layout that is fast on CPU and GPU alike.

Networks work feature-last, ``(column, level, feature)``. An *image* is the same memory seen as
``(column, feature, 1, level)``: what two-dimensional convolutions call channels-last. On CPU this
makes depthwise convolutions several times faster than the one-dimensional kernels, and linear maps
as 1x1 convolutions faster than the matrix product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from climsim.errors import ClimSimError


def as_image(x: Tensor) -> Tensor:
    """View (column, level, feature) as an image (column, feature, 1, level), without a copy."""
    return x.transpose(1, 2).unsqueeze(2)


def from_image(image: Tensor) -> Tensor:
    """View an image (column, feature, 1, level) as (column, level, feature)."""
    return image.squeeze(2).transpose(1, 2)


class LevelLinear(nn.Linear):
    """A linear map on every level."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (column, level, feature) to (column, level, feature)."""
        if x.is_cuda:
            return functional.linear(x, self.weight, self.bias)
        weight = self.weight.unsqueeze(2).unsqueeze(3)
        return from_image(functional.conv2d(as_image(x), weight, self.bias))


class LevelConv(nn.Conv1d):
    """A convolution over the levels of an image; weights as those of a one-dimensional one.

    Pads with zeros to keep the length; an even kernel reaches one level further down than up.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, groups: int = 1, bias: bool = True
    ) -> None:
        """Build the convolution (arguments as `torch.nn.Conv1d`)."""
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
        self.reach = (kernel - 1) // 2
        self.even = kernel % 2 == 0

    def forward(self, input: Tensor) -> Tensor:
        """Convolve an image (column, feature, 1, level)."""
        weight = self.weight.unsqueeze(2)
        reach = self.reach
        if self.even:
            input, reach = functional.pad(input, (reach, reach + 1)), 0
        return functional.conv2d(input, weight, self.bias, padding=(0, reach), groups=self.groups)


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product self-attention over levels."""

    def __init__(self, width: int, n_heads: int, linear: type[nn.Linear] = LevelLinear) -> None:
        """Build the projections (Xavier-uniform, zero bias).

        Args:
            width: features on each level; a multiple of ``n_heads``.
            n_heads: attention heads.
            linear: kind of the projections.

        Raises:
            ClimSimError: if the heads cannot share the features.
        """
        super().__init__()
        if width < 1 or width % n_heads:
            raise ClimSimError(
                f"self-attention: expected features that its heads share evenly (a multiple of "
                f"{n_heads}), found {width}: choose another width or number of heads"
            )
        self.n_heads = n_heads
        self.project_in = linear(width, 3 * width)
        self.project_out = linear(width, width)
        nn.init.xavier_uniform_(self.project_in.weight)
        nn.init.zeros_(self.project_in.bias)
        nn.init.zeros_(self.project_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Mix levels; ``x`` and the result have shape (column, level, feature)."""
        columns, levels, width = x.shape
        qkv = self.project_in(x).reshape(columns, levels, 3, self.n_heads, width // self.n_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.project_out(mixed.transpose(1, 2).reshape(columns, levels, width))

    @staticmethod
    def published_prefixes(prefix: str, published: str) -> dict[str, str]:
        """Names of `torch.nn.MultiheadAttention` for this layer's tensors."""
        return {
            f"{prefix}.project_in.weight": f"{published}.in_proj_weight",
            f"{prefix}.project_in.bias": f"{published}.in_proj_bias",
            f"{prefix}.project_out": f"{published}.out_proj",
        }


class LevelwiseHeads(nn.Module):
    """A linear map on every level to the targets of every head."""

    def __init__(self, width: int, n_targets: int, n_heads: int) -> None:
        """Build the map.

        Args:
            width: features on each level.
            n_targets: targets of one head.
            n_heads: heads; one weight matrix holds them one after another.
        """
        super().__init__()
        self.n_heads = n_heads
        self.n_targets = n_targets
        self.linear = LevelLinear(width, n_heads * n_targets)

    def forward(self, x: Tensor) -> Tensor:
        """Map (column, level, feature) to (column, head, feature, level)."""
        y = self.linear(x).reshape(x.shape[0], x.shape[1], self.n_heads, self.n_targets)
        return y.permute(0, 2, 3, 1)


def init_recurrent(lstm: nn.LSTM) -> None:
    """Initialize an LSTM: Xavier input, orthogonal recurrent weights, forget-gate bias 1.

    Args:
        lstm: changed in place; biases are zero except the input-side forget-gate bias.
    """
    hidden = lstm.hidden_size
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                with torch.no_grad():
                    parameter[hidden : 2 * hidden] = 1.0
