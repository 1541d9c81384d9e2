"""Optimizers by name, and learning rates as functions of progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pytorch_optimizer import SOAP
from torch import nn

from climsim.errors import ClimSimError, unknown_name
from climsim.training.config import OptimizerConfig, ScheduleConfig

Parameters = Iterable[nn.Parameter]
Builder = Callable[[Parameters, OptimizerConfig], torch.optim.Optimizer]
_BUILDERS: dict[str, Builder] = {}
_SOAP_BETAS = (0.95, 0.95)


def register_optimizer(name: str) -> Callable[[Builder], Builder]:
    """Register a builder of an optimizer.

    Raises:
        ClimSimError: if the name is taken.
    """

    def add(builder: Builder) -> Builder:
        if name in _BUILDERS:
            raise ClimSimError(f"optimizer {name!r}: registered twice: give one another name")
        _BUILDERS[name] = builder
        return builder

    return add


@register_optimizer("adamw")
def _adamw(parameters: Parameters, config: OptimizerConfig) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"betas": config.betas} if config.betas else {}
    return torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, **options
    )


@register_optimizer("soap")
def _soap(parameters: Parameters, config: OptimizerConfig) -> torch.optim.Optimizer:
    return SOAP(
        parameters,
        lr=config.learning_rate,
        betas=config.betas or _SOAP_BETAS,
        weight_decay=config.weight_decay,
        precondition_frequency=config.precondition_every,
    )


def build_optimizer(parameters: Parameters, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer of a configuration.

    Raises:
        ClimSimError: for an unknown name.
    """
    if config.name not in _BUILDERS:
        raise unknown_name("optimizer", config.name, _BUILDERS)
    return _BUILDERS[config.name](parameters, config)


def learning_rate_factor(config: ScheduleConfig, epoch: float, epochs: int) -> float:
    """Factor on the learning rate, a pure function of progress (so that resuming is exact).

    Args:
        config: the schedule; plateau counts as constant here, see `Plateau`.
        epoch: epochs done, with a fraction.
        epochs: epochs of the whole run.

    Returns:
        [1]. step: ``factor^floor(epoch / every)``; cosine: from 1 to ``floor`` over the run, after
        a linear rise over ``warmup_epochs`` under ``warmup_cosine``.
    """
    if config.name == "step":
        return config.factor ** int(epoch // config.every_epochs)
    if config.name in ("cosine", "warmup_cosine"):
        warmup = config.warmup_epochs if config.name == "warmup_cosine" else 0.0
        if epoch < warmup:
            return epoch / warmup
        share = min(1.0, (epoch - warmup) / max(epochs - warmup, 1e-9))
        return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * share))
    return 1.0


class Plateau:
    """Multiplies its factor when the validation loss has not improved for some epochs."""

    def __init__(self, config: ScheduleConfig) -> None:
        """Start at factor 1.

        Args:
            config: factor, patience and floor.
        """
        self.config = config
        self.factor = 1.0
        self.best = math.inf
        self.bad_epochs = 0

    def update(self, loss: float) -> None:
        """Take the validation loss of an epoch into account."""
        if self.config.name != "plateau":
            return
        if loss < self.best:
            self.best, self.bad_epochs = loss, 0
            return
        self.bad_epochs += 1
        if self.bad_epochs > self.config.patience:
            self.factor = max(self.config.floor, self.factor * self.config.factor)
            self.bad_epochs = 0

    def state(self) -> dict[str, float]:
        """What resuming needs."""
        return {"factor": self.factor, "best": self.best, "bad_epochs": self.bad_epochs}

    def restore(self, state: dict[str, float]) -> None:
        """Take a saved state over."""
        self.factor, self.best = state["factor"], state["best"]
        self.bad_epochs = int(state["bad_epochs"])
