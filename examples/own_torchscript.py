"""A TorchScript file made without climsim: 557 physical inputs, 368 tendencies and fluxes.

It relaxes temperature to a fixed profile and gives the surface its radiation; in earnest this
is the model of another training code.
"""

import sys

import torch
from torch import Tensor, nn


class Relaxation(nn.Module):
    """Interface v2: (column, 557) to (column, 368), physical units, float32."""

    def __init__(self, days: float = 20.0) -> None:
        super().__init__()
        sigma = torch.linspace(0.002, 0.995, 60)
        self.register_buffer("target", torch.clamp(290.0 * sigma**0.19, min=205.0))
        self.rate = 1.0 / (days * 86400.0)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(x.shape[0], 368, dtype=x.dtype, device=x.device)
        out[:, 0:60] = (self.target - x[:, 0:60]) * self.rate
        out[:, 360] = 0.7 * x[:, 541]  # net shortwave from the insolation
        out[:, 361] = 0.85 * x[:, 551]  # downward from upward longwave
        return out


if __name__ == "__main__":
    torch.jit.script(Relaxation()).save(sys.argv[1])
