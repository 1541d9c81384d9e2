"""What names a member of the study: network, recipe, seed, and the label of its products."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from climsim.cards import ModelCard, TrainingCard
from climsim.exported_file import training_of_file
from climsim.names import as_name, check_name

NETWORKS = ("unet", "squeezeformer", "pure_resLSTM", "pao_model", "convnext", "encdec_lstm")
"""The networks of the published study, in the order of its figures."""
RECIPES = ("standard", "conf_loss", "diff_loss", "multirep", "v6")
"""The recipes of the published study, in the order of its figures."""

_VISITED = re.compile(r"(?P<recipe>.+)_visited(?P<iteration>[1-9][0-9]*)")
_LABEL = re.compile(r"(?P<network>[^-/]+)-(?P<recipe>[^-/]+)-(?P<seed>[0-9]+)")


@dataclass(frozen=True)
class Member:
    """One trained model, or a run with full physics (``MMF1``, ``reference``).

    Attributes:
        network: published name of the network.
        recipe: published name of the recipe.
        seed: seed of initialization and shuffling; -1 where there is none.
    """

    network: str
    recipe: str
    seed: int

    @property
    def label(self) -> str:
        """Name of the member in files and tables."""
        parts = (self.network, self.recipe, str(self.seed) if self.seed >= 0 else "")
        return "-".join(part for part in parts if part)


def recipe_of_iteration(recipe: str, iteration: int) -> str:
    """Name of a recipe in an iteration of training on visited states.

    Args:
        recipe: name of the recipe.
        iteration: number of times that its members were trained on states that they visited.
    """
    return f"{recipe}_visited{iteration}" if iteration else recipe


def iteration_of(recipe: str) -> tuple[str, int]:
    """The recipe and the iteration that a name of `recipe_of_iteration` says."""
    match = _VISITED.fullmatch(recipe)
    return (match["recipe"], int(match["iteration"])) if match else (recipe, 0)


def member_of(name: str, training: TrainingCard | None = None) -> Member:
    """Identify a member from what its product says, else from the product's name.

    Args:
        name: name of the file or folder, such as ``unet-standard-7``.
        training: what the product says of its training.

    Returns:
        The member; ``name`` itself becomes the network of a product that says nothing.

    Raises:
        ClimSimError: if the product gives a network or recipe that cannot be a name.
    """
    label = as_name(name)
    match = _LABEL.fullmatch(label)
    network, recipe, seed = match.groups() if match else (label, "", "-1")
    known = training or TrainingCard()
    for key in ("network", "recipe"):
        if getattr(known, key):
            check_name(getattr(known, key), f"{name}: {key} in its metadata")
    number = int(seed) if known.seed is None else known.seed
    return Member(known.network or network, known.recipe or recipe, number)


def member_of_model(card: ModelCard, name: str) -> Member:
    """Identify the member that an exported file holds (see `member_of`)."""
    return member_of(name, card.named_by)


def member_of_file(path: Path) -> Member:
    """Identify the member that an exported file holds, without loading its network.

    Args:
        path: of the file; where it is gone, of another kind or says nothing, its name counts.
    """
    return member_of(path.stem, training_of_file(path))


def values_of(members: Iterable[Member]) -> dict[str, list[str | int]]:
    """Network, recipe and seed of each of some members."""
    chosen = list(members)
    return {field.name: [getattr(one, field.name) for one in chosen] for field in fields(Member)}


def training_of(cards: Sequence[ModelCard]) -> tuple[float, str]:
    """Wall time of the training of a model, or of an ensemble, and what it ran on.

    Returns:
        Sum of the hours, NaN where any is unknown, and the devices without repetition.
    """
    trainings = [training for card in cards for training in card.trainings]
    hours = sum(float("nan") if t.hours is None else t.hours for t in trainings)
    devices = dict.fromkeys(t.device for t in trainings)
    return hours, ", ".join(device for device in devices if device)
