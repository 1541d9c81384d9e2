"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from pytorch_optimizer import SOAP
from torch import nn

from climsim.errors import ClimSimError
from climsim.registry import Registry
from climsim.training.config import OptimizerConfig

Parameters = Iterable[nn.Parameter]
Builder = Callable[[Parameters, OptimizerConfig], torch.optim.Optimizer]
"""Makes an optimizer of parameters and the settings of all optimizers."""
_ADAM_BETAS = (0.9, 0.999)
_SOAP_BETAS = (0.95, 0.95)


def _of_user(name: str, builder: object) -> Builder:
    """The builder that a user brings, checked for what it builds."""
    if not callable(builder):
        raise ClimSimError(
            f"optimizer {name!r}: expected a function of parameters and settings, found "
            f"{type(builder).__name__}: name a function"
        )

    def build(parameters: Parameters, config: OptimizerConfig) -> torch.optim.Optimizer:
        built: object = builder(parameters, config)
        if not isinstance(built, torch.optim.Optimizer):
            raise ClimSimError(
                f"optimizer {name!r}: expected a torch.optim.Optimizer, found "
                f"{type(built).__name__}: return one"
            )
        return built

    return build


OPTIMIZERS: Registry[Builder] = Registry(
    "optimizer", entry_points="climsim.optimizers", adapt=_of_user
)
"""Builders of optimizers, by the name that users type."""


@OPTIMIZERS.register("adam")
def _adam(parameters: Parameters, config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        parameters,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        betas=config.betas or _ADAM_BETAS,
    )


@OPTIMIZERS.register("adamw")
def _adamw(parameters: Parameters, config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        betas=config.betas or _ADAM_BETAS,
    )


@OPTIMIZERS.register("soap")
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
        ClimSimError: for an unknown name, or where a user's function builds something else.
    """
    return OPTIMIZERS.find(config.name)(parameters, config)
