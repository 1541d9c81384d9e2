"""What names a member of the study: network, recipe, seed, and the label of its products."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from climsim.names import as_name, check_name

NETWORKS = ("unet", "squeezeformer", "pure_resLSTM", "pao_model", "convnext", "encdec_lstm")
"""The networks of the published study, in the order of its figures."""
RECIPES = ("standard", "conf_loss", "diff_loss", "multirep", "v6")
"""The recipes of the published study, in the order of its figures."""

_LABEL = re.compile(r"(?P<network>[^-/]+)-(?P<recipe>[^-/]+)-(?P<seed>[0-9]+)")


@dataclass(frozen=True)
class Member:
    """One trained model, or a run with the full physics (network ``mmf``).

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


def member_of(metadata: Mapping[str, Any], name: str) -> Member:
    """Identify a member from what its product says, else from the product's name.

    Args:
        metadata: what the model file or run record says; nested mappings are searched for
            ``network``, ``recipe`` and ``seed``.
        name: name of the file or folder, such as ``unet-standard-7``.

    Returns:
        The member; ``name`` itself becomes the network of a product that says nothing.

    Raises:
        ClimSimError: if the product gives a network or recipe that cannot be a name.
    """
    label = as_name(name)
    match = _LABEL.fullmatch(label)
    guess: dict[str, Any] = match.groupdict() if match else {"network": label}
    found = {key: _search(metadata, key) for key in ("network", "recipe", "seed")}
    for key in ("network", "recipe"):
        if found[key]:
            check_name(str(found[key]), f"{name}: {key} in its metadata")
    merged = guess | {key: value for key, value in found.items() if value is not None}
    # A file that holds several members (a seed ensemble) has no seed of its own.
    several = len(metadata.get("members") or ()) > 1
    seed = "" if several else str(merged.get("seed", ""))
    return Member(
        str(merged["network"]),
        str(merged.get("recipe", "")),
        int(seed) if seed.lstrip("-").isdigit() else -1,
    )


def training_of(files: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """Wall time of the training of a model, or of an ensemble, and what it ran on.

    Args:
        files: what each model file says about itself. ``training_hours`` and ``training_device``
            stand at its top, or with each of its ``members``.

    Returns:
        Sum of the hours, NaN where any is unknown, and the devices without repetition.
    """
    trained = [
        one
        for facts in files
        for one in ([facts] if "training_hours" in facts else facts.get("members") or [facts])
    ]
    hours = sum(float(one.get("training_hours") or "nan") for one in trained)
    devices = dict.fromkeys(str(one.get("training_device") or "") for one in trained)
    return hours, ", ".join(device for device in devices if device)


def _search(values: Mapping[str, Any], key: str) -> str | int | None:
    found = values.get(key)
    if isinstance(found, Mapping):
        found = found.get("name")
    if isinstance(found, (str, int)) and not isinstance(found, bool):
        return found
    for child in values.values():
        if isinstance(child, Mapping) and (deep := _search(child, key)) is not None:
            return deep
    return None
