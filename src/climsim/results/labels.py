"""How members and their recipes are written in words: the same in figures, tables and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import xarray

from climsim.evaluation.members import iteration_of, member_of
from climsim.evaluation.online_dataset import FLOOR, REFERENCE
from climsim.results.stability import is_unstable
from climsim.results.study import Study

NETWORK_LABELS: Final = {
    "unet": "U-Net",
    "squeezeformer": "Squeezeformer",
    "pure_resLSTM": "ResLSTM",
    "pao_model": "Pao model",
    "convnext": "ConvNeXt",
    "encdec_lstm": "EncDec LSTM",
}
RECIPE_LABELS: Final = {
    "standard": "standard",
    "conf_loss": "confidence loss",
    "diff_loss": "difference loss",
    "multirep": "multirepresentation",
    "v6": "expanded inputs",
    "": "no recipe",
}

_SERVES_AS: Final = {REFERENCE: "reference", FLOOR: "internal variability"}
"""What a run with full physics is there for, by its role."""


def network_label(name: str) -> str:
    """Name of a network in words; one that is not in the table goes by its own."""
    return (NETWORK_LABELS | RECIPE_LABELS).get(name, name) if name else name


def recipe_label(name: str) -> str:
    """Name of a recipe in words; of a network, where figures compare recipes."""
    recipe, iteration = iteration_of(name)
    label = (RECIPE_LABELS | NETWORK_LABELS).get(recipe, recipe)
    return f"{label}, iteration {iteration}" if iteration else label


def member_label(network: str, recipe: str, seed: int | None = None) -> str:
    """Name of a member, or of all seeds of a network and recipe, in words."""
    parts = [network_label(network)]
    if recipe:
        parts.append(recipe_label(recipe))
    if seed is not None and seed >= 0:
        parts.append(f"seed {seed}")
    return ", ".join(parts)


def full_physics_name(run: xarray.Dataset | xarray.DataArray) -> str:
    """Name in words of a run with full physics, by its record: MMF1, or reference.

    Args:
        run: metrics of the run, with the coordinate ``network``.
    """
    return str(run["network"].values).replace("_", " ")


def full_physics_label(run: xarray.Dataset | xarray.DataArray) -> str:
    """The same with what the run is there for: MMF1 (reference), MMF2 (internal variability).

    Args:
        run: metrics of the run, with the coordinates ``network`` and ``role``.
    """
    name, purpose = full_physics_name(run), _SERVES_AS[str(run["role"].values)]
    return name if name == purpose else f"{name} ({purpose})"


def label_of(member: xarray.Dataset | xarray.DataArray, seed: bool = False) -> str:
    """Network and recipe of one member, in words; a dagger marks a run that became unstable.

    Args:
        member: metrics of it, with the coordinates ``network``, ``recipe`` and ``seed``.
        seed: whether to name the seed too.
    """
    number = int(member["seed"].values) if seed else None
    name = member_label(str(member["network"].values), str(member["recipe"].values), number)
    return f"{name} †" if isinstance(member, xarray.Dataset) and _died(member) else name


def _name_of_row(row: xarray.DataArray) -> str:
    """Name in words of one row of metrics: a member, or a run with full physics."""
    if "role" in row.coords and str(row["role"].values) in _SERVES_AS:
        return full_physics_label(row)
    return label_of(row, seed=True)


def _died(member: xarray.Dataset) -> bool:
    """Whether metrics of one member are of a run that became unstable."""
    return "status" in member and is_unstable(member)


def has_seed(label: str) -> bool:
    """Whether the label of a product is that of a member, with its seed."""
    return member_of(label).seed >= 0


def network_of(label: str) -> str:
    """Network in the label of a member."""
    return member_of(label).network


def member_names(study: Study, others: Iterable[str] = ()) -> dict[str, str]:
    """Name in words of every member and run by its label: the same in all tables and sentences.

    Where one member ran more than once, its label (the folder of the run) follows in brackets.

    Args:
        study: its metrics.
        others: further labels, of members without metrics.
    """
    names: dict[str, str] = {}
    for data, axis in ((study.offline, "member"), (study.online, "run")):
        if data is None:
            continue
        for one in data["network"]:
            names.setdefault(str(one[axis].values), _name_of_row(one))
    for label in others:
        member = member_of(label)
        names.setdefault(label, member_label(member.network, member.recipe, member.seed))
    often = Counter(names.values())
    return {
        label: name if often[name] == 1 else f"{name} ({label})" for label, name in names.items()
    }
