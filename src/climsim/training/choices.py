"""What a training run names, looked up before there are any data."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

from climsim.errors import ClimSimError
from climsim.losses import LOSSES
from climsim.networks.registry import check_network
from climsim.training.optimization import OPTIMIZERS
from climsim.training.schedules import SCHEDULES

if TYPE_CHECKING:
    from climsim.training.config import TrainConfig

_PACKAGES: Final = ("wandb", "mlflow")
"""Loggers that are packages of their own, which not every machine has."""


def check_choices(config: TrainConfig) -> None:
    """Refuse a network, preset, hyperparameter, loss, optimizer, schedule or logger that is not.

    A study checks the settings of every stage before the first one runs; what is refused only by
    the job itself is refused once hours of data are there.

    Args:
        config: the run.

    Raises:
        ClimSimError: naming what is unknown, or cannot be loaded.
    """
    network, recipe = config.network, config.recipe
    given = network.hyperparameters
    check_network(network.name, recipe.inputs, recipe.confidence, config.preset, given)
    LOSSES.find(recipe.loss)
    OPTIMIZERS.find(config.optimizer.name)
    SCHEDULES.find(config.schedule.name)
    name = config.trainer.logger
    if name in _PACKAGES and importlib.util.find_spec(name) is None:
        raise ClimSimError(
            f"trainer.logger={name}: expected the package {name!r}, found none installed: "
            f"`pip install {name}`, or choose tensorboard"
        )
