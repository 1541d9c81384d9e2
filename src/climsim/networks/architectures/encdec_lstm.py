"""Encoder-decoder LSTM: an MLP bottleneck beside the input, LSTM, GRU, MLP (5th place)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from climsim.networks.network import Body, Layout, PublishedNames
from climsim.networks.registry import register
from climsim.precisions import BFLOAT16


def _mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between; Xavier-uniform weights, zero bias."""
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        if i:
            layers.append(nn.ReLU())
        linear = nn.Linear(widths[i], widths[i + 1])
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers.append(linear)
    return nn.Sequential(*layers)


@register("encdec_lstm", small={"hidden_dim": 64, "num_layers": 2, "reduction": 12})
class EncoderDecoderLSTM(Body):
    """Body of the encoder-decoder LSTM."""

    gpu_precision = BFLOAT16
    gpu_compile = True

    def __init__(
        self,
        layout: Layout,
        *,
        hidden_dim: int = 512,
        num_layers: int = 3,
        gru_dim: int = 16,
        dropout: float = 0.09,
        reduction: int = 4,
    ) -> None:
        """Build the body.

        Args:
            layout: sizes of inputs and outputs.
            hidden_dim: features of one direction of the LSTM.
            num_layers: layers of the LSTM.
            gru_dim: features of one direction of the GRU.
            dropout: share of features dropped between the layers of the LSTM.
            reduction: how many times narrower than the input the widest hidden layer of the
                encoder is.
        """
        super().__init__()
        channels, levels = layout.n_channels, layout.n_levels
        self.n_profile_targets, self.n_levels = layout.n_profile_targets, levels
        self.profile_size = layout.n_profile_targets * levels
        first = max(1, levels // reduction) * channels
        self.encoder = _mlp(levels * channels, first, 8 * channels, 4 * channels)
        self.decoder = _mlp(4 * channels, 8 * channels, first, levels * channels)
        self.lstm = nn.LSTM(
            2 * channels,
            hidden_dim,
            num_layers=num_layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        self.gru = nn.GRU(2 * hidden_dim, gru_dim, batch_first=True, bidirectional=True)
        flat = 2 * gru_dim * levels
        self.heads = nn.ModuleList(
            _mlp(flat, flat // 2, layout.n_outputs) for _ in range(layout.n_heads)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the body.

        Args:
            x: shape (column, level, feature).

        Returns:
            Profiles (column, head, feature, level) and scalars (column, head, feature).
        """
        decoded = self.decoder(self.encoder(x.flatten(1))).reshape(x.shape)
        y = self.lstm(torch.cat([x, decoded], dim=2))[0]
        y = self.gru(y)[0].flatten(1)
        outputs: list[Tensor] = []
        for head in self.heads:
            outputs.append(head(y))
        result = torch.stack(outputs, dim=1)
        profiles = result[:, :, : self.profile_size]
        return profiles.unflatten(2, (self.n_profile_targets, self.n_levels)), result[
            :, :, self.profile_size :
        ]

    def published_prefixes(self) -> PublishedNames:
        """Prefixes of this module's tensor names, each with its published spelling."""
        result: PublishedNames = {
            "encoder": "encoder.network",
            "decoder": "decoder.network",
            "gru": "lstm2",
        }
        roles = ("_pred", "_conf") if len(self.heads) == 2 else ("",)
        for i, role in enumerate(roles):
            result[f"heads.{i}"] = f"fc_lstm{role}.network"
        return result
