"""U-Net: residual convolutions on four vertical resolutions.

Source: Hu et al. 2025 (arXiv 2407.00124); the "SongUNet" of Karras et al. 2022
(arXiv 2206.00364) in one dimension, without noise embedding. Works on images, ``(column, feature,
1, level)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from climsim.errors import ClimSimError
from climsim.networks.layers import LevelConv, as_image
from climsim.networks.network import Body, Layout, PublishedNames, split_levelwise
from climsim.networks.registry import register

_EPSILON = 1e-6
_ATTENUATED = 1e-5
"""Initial scale of the layers that close a residual branch or the network."""


def _in_fast_layout(image: Tensor) -> Tensor:
    """Lay the features of an image out where the rest of the network is fastest.

    Convolutions on CPUs want them last in memory, and copy them there if they are not. torch's
    group normalization is ten times slower so in bfloat16, unless a compiler writes it anew.
    """
    last = image.dtype == torch.float32 and not image.is_cuda
    if not torch.jit.is_scripting() and not image.is_cuda:
        if torch.compiler.is_compiling():
            last = not _for_any_number(image)
        else:
            last = last and not torch.is_autocast_enabled("cpu")
    if last:
        return image.contiguous(memory_format=torch.channels_last)
    return image.contiguous()


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, min(32, channels // 4)), channels, eps=_EPSILON)


class _Conv(LevelConv):
    """A convolution over the levels of an image.

    In code compiled for any number of columns it is one of profiles: there torch 2.13 gets those of
    images in bfloat16 wrong.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve an image (column, feature, 1, level)."""
        if not torch.jit.is_scripting():  # noqa: SIM102 TorchScript reads a joint condition whole
            if _for_any_number(input):
                x, reach = input.squeeze(2), self.reach
                return functional.conv1d(x, self.weight, self.bias, padding=reach).unsqueeze(2)
        weight = self.weight.unsqueeze(2)
        return functional.conv2d(input, weight, self.bias, padding=(0, self.reach))


def _for_any_number(image: Tensor) -> bool:
    """Whether a compiler traces code for any number of columns."""
    return torch.compiler.is_compiling() and not isinstance(image.shape[0], int)


def _conv(inputs: int, outputs: int, kernel: int, scale: float = 1.0) -> LevelConv:
    """Convolution that keeps the length; Xavier-uniform weights times ``scale``, zero bias."""
    layer = _Conv(inputs, outputs, kernel)
    nn.init.xavier_uniform_(layer.weight)
    with torch.no_grad():
        layer.weight.mul_(scale)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class _Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class _Halve(nn.Module):
    """Half the levels: the [1, 1] box filter, normalized."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, (1, 2))


class _Double(nn.Module):
    """Twice the levels: the transpose of the box filter repeats each value."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=(1.0, 2.0), mode="nearest")


class _Attention(nn.Module):
    """Single-head self-attention over levels, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _group_norm(channels)
        self.qkv = _conv(channels, 3 * channels, 1, scale=sqrt(0.2))
        self.projection = _conv(channels, channels, 1, scale=_ATTENUATED)

    def forward(self, x: Tensor) -> Tensor:
        # The published layout interleaves query, key and value channel by channel.
        qkv = self.qkv(self.norm(x)).reshape(x.shape[0], x.shape[1], 3, x.shape[3])
        # One head: ONNX knows attention with an axis of heads only.
        query, key, value = qkv.permute(2, 0, 3, 1).unsqueeze(2).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value).squeeze(1)
        return (x + self.projection(as_image(mixed))) * sqrt(0.5)


class _Block(nn.Module):
    """Residual block of two convolutions, with optional resampling and attention."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dropout: float,
        resample: str = "",
        attention: bool = False,
        takes_skip: bool = False,
    ) -> None:
        super().__init__()
        self.takes_skip = takes_skip
        self.norm0 = _group_norm(inputs)
        self.conv0 = _conv(inputs, outputs, 3)
        self.norm1 = _group_norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = _conv(outputs, outputs, 3, scale=_ATTENUATED)
        # A 1x1 convolution commutes with both box filters: run it on the shorter side.
        self.before = _Halve() if resample == "down" else _Identity()
        self.after = _Double() if resample == "up" else _Identity()
        changes = bool(resample) or inputs != outputs
        self.skip = _conv(inputs, outputs, 1) if changes else _Identity()
        self.attention = _Attention(outputs) if attention else _Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = functional.silu(self.norm0(x))
        y = self.conv0(self.after(self.before(y)))
        y = self.conv1(self.dropout(self.norm1(y)))
        y = (y + self.after(self.skip(self.before(x)))) * sqrt(0.5)
        return self.attention(y)


class _Head(nn.Module):
    """GroupNorm, SiLU, convolution to the targets; scalars optionally rectified."""

    def __init__(self, channels: int, layout: Layout, rectify: bool) -> None:
        super().__init__()
        self.n_profile_targets = layout.n_profile_targets
        self.rectify = rectify
        self.norm = _group_norm(channels)
        self.conv = _conv(channels, layout.n_level_targets, 3, scale=_ATTENUATED)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(functional.silu(self.norm(x)))
        if self.rectify:
            profiles = y[:, : self.n_profile_targets]
            y = torch.cat([profiles, functional.relu(y[:, self.n_profile_targets :])], dim=1)
        return y


@register("unet", small={"model_channels": 32, "channel_mult": (1, 1, 2, 2), "num_blocks": 1})
class UNet(Body):
    """Body of the U-Net."""

    def __init__(
        self,
        layout: Layout,
        *,
        model_channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        num_blocks: int = 2,
        dropout: float = 0.0,
    ) -> None:
        """Build the body.

        Args:
            layout: sizes of inputs and outputs.
            model_channels: features at the finest resolution.
            channel_mult: features of each resolution, in units of ``model_channels``.
            num_blocks: residual blocks per resolution in the encoder, one more in the decoder.
            dropout: share of features dropped inside a block.
        """
        super().__init__()
        if model_channels % 4 or model_channels < 4:
            raise ClimSimError(
                f"model_channels: expected a multiple of 4 (groups of 4 are normalized "
                f"together), found {model_channels}"
            )
        self.n_profile_targets = layout.n_profile_targets
        self.n_levels = layout.n_levels
        coarsest = 2 ** (len(channel_mult) - 1)
        self.padding = -layout.n_levels % coarsest
        self.names = list[tuple[str, str]]()
        widths = [model_channels * m for m in channel_mult]
        lengths = [(layout.n_levels + self.padding) // 2**i for i in range(len(widths))]
        self.stem = _conv(layout.n_channels, widths[0], 3)
        self.names.append(("stem", f"enc.{lengths[0]}_conv"))
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        self.skip_widths = self._build_encoder(widths, lengths, num_blocks, dropout)
        self._build_decoder(widths, lengths, num_blocks, dropout)
        self.heads = nn.ModuleList(
            _Head(widths[0], layout, rectify=i == 0) for i in range(layout.n_heads)
        )
        self.finest = lengths[0]

    def _build_encoder(
        self, widths: list[int], lengths: list[int], blocks: int, dropout: float
    ) -> list[int]:
        """Fill the encoder; returns the features of every output that the decoder takes up."""
        skips = [widths[0]]
        for i, (width, length) in enumerate(zip(widths, lengths, strict=True)):
            if i > 0:
                self._add(
                    "encoder", f"enc.{length}_down", _Block(skips[-1], skips[-1], dropout, "down")
                )
                skips.append(skips[-1])
            for k in range(blocks):
                self._add("encoder", f"enc.{length}_block{k}", _Block(skips[-1], width, dropout))
                skips.append(width)
        return skips

    def _build_decoder(
        self, widths: list[int], lengths: list[int], blocks: int, dropout: float
    ) -> None:
        current = widths[-1]
        skips = list(self.skip_widths)
        for i in reversed(range(len(widths))):
            if i == len(widths) - 1:
                block = _Block(current, current, dropout, attention=True)
                self._add("decoder", f"dec.{lengths[i]}_in0", block)
                self._add("decoder", f"dec.{lengths[i]}_in1", _Block(current, current, dropout))
            else:
                self._add(
                    "decoder", f"dec.{lengths[i]}_up", _Block(current, current, dropout, "up")
                )
            for k in range(blocks + 1):
                block = _Block(current + skips.pop(), widths[i], dropout, takes_skip=True)
                self._add("decoder", f"dec.{lengths[i]}_block{k}", block)
                current = widths[i]

    def _add(self, part: str, published: str, block: _Block) -> None:
        blocks = self.encoder if part == "encoder" else self.decoder
        name = f"{part}.{len(blocks)}"
        self.names += [
            (f"{name}.attention.norm", f"{published}.norm2"),
            (f"{name}.attention.qkv", f"{published}.qkv"),
            (f"{name}.attention.projection", f"{published}.proj"),
            (name, published),
        ]
        blocks.append(block)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the body.

        Args:
            x: shape (column, level, feature).

        Returns:
            Profiles (column, head, feature, level) and scalars (column, head, feature).
        """
        y = self.stem(_in_fast_layout(functional.pad(as_image(x), (self.padding, 0))))
        skips = [y]
        for block in self.encoder:
            y = block(y)
            skips.append(y)
        for block in self.decoder:
            if block.takes_skip:
                y = torch.cat([y, skips.pop()], dim=1)
            y = block(y)
        outputs: list[Tensor] = []
        for head in self.heads:
            outputs.append(head(y)[:, :, 0, self.padding :])
        return split_levelwise(torch.stack(outputs, dim=1), self.n_profile_targets)

    def published_prefixes(self) -> PublishedNames:
        """Prefixes of this module's tensor names, each with its published spelling."""
        result: PublishedNames = dict(self.names)
        roles = ("_pred", "_conf") if len(self.heads) == 2 else ("",)
        for i, role in enumerate(roles):
            result[f"heads.{i}.norm"] = f"dec_aux_norm{role}.{self.finest}_aux_norm"
            result[f"heads.{i}.conv"] = f"dec_aux_conv{role}.{self.finest}_aux_conv"
        return result

    def published_constants(self) -> dict[str, Tensor]:
        """Identity convolutions on the skips, and the box filters of every resampling."""
        result = dict[str, Tensor]()
        for i, width in enumerate(self.skip_widths):
            result[f"skip_conv_layer.{i}.weight"] = torch.eye(width).unsqueeze(2)
            result[f"skip_conv_layer.{i}.bias"] = torch.zeros(width)
        for _, published in self.names:
            if published.endswith(("_up", "_down")):
                for layer in ("conv0", "skip"):
                    result[f"{published}.{layer}.resample_filter"] = torch.full((1, 1, 2), 0.5)
        return result
