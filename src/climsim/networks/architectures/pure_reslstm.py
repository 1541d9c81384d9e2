"""Pure ResLSTM: a stack of bidirectional LSTMs over levels with residual mixing (2nd place)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from climsim.networks.layers import LevelwiseHeads, init_recurrent
from climsim.networks.network import Body, Layout, PublishedNames, split_levelwise
from climsim.networks.registry import register


class _Layer(nn.Module):
    """Bidirectional LSTM, layer norm over levels and features, residual mix, GELU."""

    def __init__(self, width: int, hidden: int, n_levels: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm([n_levels, 2 * hidden])
        init_recurrent(self.lstm)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.lstm(x)[0])
        if self.residual:
            y = 0.7 * y + 0.3 * x
        return functional.gelu(y)


@register("pure_resLSTM", small={"num_lstm": 3, "hidden_state": 64})
class PureResLSTM(Body):
    """Body of the Pure ResLSTM."""

    def __init__(self, layout: Layout, *, num_lstm: int = 10, hidden_state: int = 256) -> None:
        """Build the body.

        Args:
            layout: sizes of inputs and outputs.
            num_lstm: bidirectional layers.
            hidden_state: features of one direction.
        """
        super().__init__()
        self.n_profile_targets = layout.n_profile_targets
        width = 2 * hidden_state
        self.layers = nn.ModuleList(
            _Layer(width if i else layout.n_channels, hidden_state, layout.n_levels, i > 0)
            for i in range(num_lstm)
        )
        self.heads = LevelwiseHeads(width, layout.n_level_targets, layout.n_heads)
        nn.init.xavier_uniform_(self.heads.linear.weight)
        nn.init.zeros_(self.heads.linear.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the body.

        Args:
            x: shape (column, level, feature).

        Returns:
            Profiles (column, head, feature, level) and scalars (column, head, feature).
        """
        for layer in self.layers:
            x = layer(x)
        return split_levelwise(self.heads(x), self.n_profile_targets)

    def published_prefixes(self) -> PublishedNames:
        """Prefixes of this module's tensor names, each with its published spelling."""
        result: PublishedNames = {"heads.linear": "fc.0"}
        for i in range(len(self.layers)):
            result[f"layers.{i}.lstm"] = f"lstm_stack.lstm{i + 1}"
            result[f"layers.{i}.norm"] = f"residual_stack.{i}" if i else "residual_stack.0.0"
        return result
