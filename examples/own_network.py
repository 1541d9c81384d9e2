"""A network of your own: a residual convolution over the levels of each column."""

from torch import Tensor, nn

from climsim.networks import Body, Layout, LevelwiseHeads, split_levelwise


class LevelConvolution(Body):
    """Two convolutions along the levels; keyword-only arguments are hyperparameters."""

    def __init__(self, layout: Layout, *, width: int = 64, kernel: int = 5) -> None:
        super().__init__()
        self.n_profile_targets = layout.n_profile_targets
        self.first = nn.Conv1d(layout.n_channels, width, kernel, padding="same")
        self.second = nn.Conv1d(width, width, kernel, padding="same")
        self.activation = nn.GELU()
        self.heads = LevelwiseHeads(width, layout.n_level_targets, layout.n_heads)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """From (column, level, feature) to profiles and scalars of the targets."""
        hidden = self.activation(self.first(x.transpose(1, 2)))
        hidden = hidden + self.activation(self.second(hidden))
        return split_levelwise(self.heads(hidden.transpose(1, 2)), self.n_profile_targets)
