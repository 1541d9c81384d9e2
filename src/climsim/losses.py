"""Losses of the recipes: an elementwise loss, with a difference and a confidence term by choice.

All tensors are (column, feature) in the layout of the targets, scaled and pruned; every mean runs
over columns and features, pruned ones included (they add zero).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from climsim.arrays import Array
from climsim.cards import ModelCard
from climsim.constants import N_LEVELS
from climsim.errors import ClimSimError, unknown_name
from climsim.plugins import reason
from climsim.registry import Registry
from climsim.variables import TARGETS, VariableSet

Elementwise = Callable[[Tensor, Tensor], Tensor]


class Described(Protocol):
    """A model that may say what it was trained with."""

    card: ModelCard


Factory = Callable[[float], Elementwise]
"""Makes an elementwise loss; it is called with Huber's delta."""


def _of_user(name: str, loss: object) -> Factory:
    """The factory of a function that a user brings, which knows no delta."""
    if not callable(loss):
        raise ClimSimError(
            f"loss {name!r}: expected a function of prediction and target, found "
            f"{type(loss).__name__}: name a function"
        )
    function: Elementwise = loss
    return lambda delta: function


LOSSES: Registry[Factory] = Registry("loss", entry_points="climsim.losses", adapt=_of_user)
"""Factories of elementwise losses."""


@LOSSES.register("huber")
def _huber(delta: float) -> Elementwise:
    """``e^2 / 2`` up to |e| = delta, ``delta (|e| - delta / 2)`` beyond."""
    return lambda p, t: torch.nn.functional.huber_loss(p, t, reduction="none", delta=delta)


@LOSSES.register("mse")
def _mse(delta: float) -> Elementwise:
    """``e^2``."""
    return lambda p, t: torch.nn.functional.mse_loss(p, t, reduction="none")


@LOSSES.register("l1")
def _l1(delta: float) -> Elementwise:
    """``|e|``."""
    return lambda p, t: torch.nn.functional.l1_loss(p, t, reduction="none")


def elementwise_loss(name: str, delta: float = 1.0) -> Elementwise:
    """Look an elementwise loss up.

    Args:
        name: ``"huber"``, ``"mse"``, ``"l1"``, the name of an entry point, or
            ``path/to/file.py:function``; a user's function maps (prediction, target) to the loss
            of every element.
        delta: threshold of the Huber loss, where its parabola turns into a line, in scaled units.

    Raises:
        ClimSimError: if the name is unknown or names no function.
    """
    return LOSSES.find(name)(delta)


def recorded_loss(name: str, delta: float) -> Elementwise:
    """The loss that an exported model names: of the package, as a file must not choose what runs.

    Args:
        name: of the loss.
        delta: threshold of the Huber loss, in scaled units.

    Raises:
        ClimSimError: if the package has no such loss.
    """
    if name not in LOSSES:
        raise unknown_name("loss in the metadata of a model", name, LOSSES)
    return elementwise_loss(name, delta)


@dataclass(frozen=True)
class TrainingLoss:
    """Elementwise loss of a training between physical targets, ``L(scale y^, scale y)``.

    Attributes:
        scale: (target feature,) factor to scaled targets; 0 for pruned features.
        elementwise: loss of each element of (prediction, target), both scaled.
    """

    scale: Array
    elementwise: Elementwise

    @classmethod
    def of(cls, model: Described) -> TrainingLoss | None:
        """The loss that an exported model records.

        Returns:
            None where the file does not name one (a user's own loss is not part of the file).
        """
        loss = model.card.loss
        if loss is None:
            return None
        return cls(np.asarray(loss.scale), recorded_loss(loss.name, loss.delta))

    def __call__(self, prediction: Array, truth: Array) -> Array:
        """Loss of each target.

        Args:
            prediction: (..., target feature) physical, in the layout of `TARGETS`.
            truth: likewise.

        Returns:
            (..., target feature) float64, in units of the training loss.
        """
        scaled = (
            torch.from_numpy(np.asarray(values, dtype=np.float64) * self.scale)
            for values in (prediction, truth)
        )
        return self.elementwise(*scaled).numpy()


def _check_loss(name: str, loss: Elementwise, n_features: int) -> None:
    """Try a user's loss before anything is trained with it: one differentiable value per element.

    Raises:
        ClimSimError: if it fails, gives another shape, or lets no gradient through.
    """
    prediction = torch.full((2, n_features), 0.5, requires_grad=True)
    try:
        found = loss(prediction, torch.zeros(2, n_features))
        shape, differentiable = tuple(found.shape), found.requires_grad
    except (Exception, SystemExit) as error:
        raise ClimSimError(
            f"loss {name!r}: expected a loss of two tensors of shape {tuple(prediction.shape)}, "
            f"found {type(error).__name__}: {reason(error)}: fix the function"
        ) from error
    if shape != (2, n_features) or not differentiable:
        raise ClimSimError(
            f"loss {name!r}: expected a differentiable tensor of shape {tuple(prediction.shape)}, "
            f"one value per element, found shape {shape}"
            f"{'' if differentiable else ' without a gradient'}: do not take the mean, and compute "
            "it from the prediction with torch"
        )


@dataclass(frozen=True)
class LossTerms:
    """What a batch costs.

    Attributes:
        total: what training minimizes.
        plain: mean elementwise loss of the prediction, comparable between recipes.
    """

    total: Tensor
    plain: Tensor


class RecipeLoss(nn.Module):
    """``mean L(y^, y)``, plus the terms of the recipe.

    Difference term: ``mean L(d y^, d y)``, d = first differences along the levels of each profile.
    Confidence term: ``mean L(c^, stop_gradient(L(y^, y)))``, elementwise.
    Source: Lin et al. 2025 (arXiv 2511.20963).
    """

    def __init__(
        self,
        loss: str = "huber",
        delta: float = 1.0,
        difference: bool = False,
        confidence: bool = False,
        n_levels: int = N_LEVELS,
        targets: VariableSet = TARGETS,
    ) -> None:
        """Choose the terms.

        Args:
            loss: elementwise loss under all terms.
            delta: threshold of the Huber loss, in scaled units.
            difference: whether to add the difference term.
            confidence: whether to add the confidence term.
            n_levels: levels of a profile.
            targets: what is predicted.
        """
        super().__init__()
        self.elementwise = elementwise_loss(loss, delta)
        if loss not in LOSSES:
            _check_loss(loss, self.elementwise, targets.size(n_levels))
        self.difference = difference
        self.confidence = confidence
        self.n_levels = n_levels
        self._profiles = len(targets.profiles) * n_levels

    def level_differences(self, values: Tensor) -> Tensor:
        """First differences along levels, (column, profile, level - 1), downward."""
        profiles = values[:, : self._profiles]
        return profiles.reshape(values.shape[0], -1, self.n_levels).diff(dim=2)

    def forward(
        self, prediction: Tensor, target: Tensor, confidence: Tensor | None = None
    ) -> LossTerms:
        """Compute the loss of a batch.

        Args:
            prediction: (column, feature), scaled.
            target: (column, feature), scaled.
            confidence: (column, feature) in units of the loss, where the recipe has it.

        Raises:
            ClimSimError: if the recipe needs a confidence and the network gives none.
        """
        errors = self.elementwise(prediction, target)
        plain = errors.mean()
        total = plain
        if self.difference:
            predicted, true = self.level_differences(prediction), self.level_differences(target)
            total = total + self.elementwise(predicted, true).mean()
        if self.confidence:
            if confidence is None:
                raise ClimSimError(
                    "loss with confidence: expected a network with a confidence head, found none: "
                    "build it with confidence=True"
                )
            total = total + self.elementwise(confidence, errors.detach()).mean()
        return LossTerms(total, plain)
