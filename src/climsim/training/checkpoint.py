"""Checkpoint files: written whole, read without running code, complete without the store.

Beside Lightning's own entries a checkpoint holds ``state_dict`` (network and the buffers of the
transforms) and ``climsim``: what rebuilds the modules, the resolved configuration, the statistics
and what made it.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict, Unpack, cast

import numpy as np
import torch
from torch import Tensor, nn

from climsim.cards import Settings
from climsim.checkpoint_cards import CheckpointCard, NetworkCard
from climsim.data.statistics.statistics import VariableStatistics
from climsim.errors import ClimSimError, some_of
from climsim.exported_file import form_of
from climsim.files import atomic_path
from climsim.integrity import check_zip
from climsim.networks import Network, build_network
from climsim.networks.registry import PUBLISHED
from climsim.plugins import allowed_reference
from climsim.products import Kind, archived
from climsim.system import refusal
from climsim.transforms import Transforms
from climsim.transforms.build import empty_transforms, transforms_card

KEY = "climsim"
_PICKLED_KEY = b"X" + len(KEY).to_bytes(4, "little") + KEY.encode()
CHECKPOINT = Kind(
    "a checkpoint of this package",
    # The key as the pickle in the file spells it, behind its length.
    lambda path: _PICKLED_KEY in archived(path, "/data.pkl"),
)
_DAMAGED = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
BEST_NAME, LAST_NAME = "best.ckpt", "last.ckpt"
"""In the folder of a training: the one of the least validation loss, and the last."""
STATISTICS_FIELDS = ("mean", "std", "min", "max", "column_mean", "column_std", "positive_mean")
"""Rows of each table of statistics in a checkpoint."""


@dataclass(frozen=True)
class CheckpointEntry:
    """The ``climsim`` entry of a checkpoint.

    Attributes:
        card: what the checkpoint is and how it came about.
        statistics: by variable, (field, level) or (field, 1), float64; empty where unknown.
        statistics_fields: names of the rows.
    """

    card: CheckpointCard
    statistics: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    statistics_fields: tuple[str, ...] = STATISTICS_FIELDS

    @classmethod
    def from_entry(cls, entry: Settings, where: str) -> CheckpointEntry:
        """Read what `to_entry` gave.

        Raises:
            ClimSimError: if it is something else.
        """
        card = CheckpointCard.from_json(entry, where)
        rows, tables = entry.get("statistics_fields"), entry.get("statistics")
        return cls(
            card,
            tables if isinstance(tables, Mapping) else {},
            tuple(map(str, rows)) if isinstance(rows, list | tuple) else STATISTICS_FIELDS,
        )

    def to_entry(self) -> dict[str, object]:
        """Plain values and tensors only."""
        return {
            **self.card.to_json(),
            "statistics_fields": list(self.statistics_fields),
            "statistics": dict(self.statistics),
        }


class CheckpointContent(TypedDict):
    """What of a checkpoint this package reads; Lightning keeps more in it.

    Attributes:
        climsim: entry of this package.
        state_dict: weights by name.
        callbacks: states of the callbacks of a training, by their keys.
    """

    climsim: dict[str, object]
    state_dict: dict[str, Tensor]
    callbacks: NotRequired[dict[str, dict[str, object]]]


def read_checkpoint(path: str | Path) -> CheckpointContent:
    """Read a checkpoint without running code from it.

    Raises:
        ClimSimError: if it is missing, damaged or no checkpoint of this package.
    """
    path = Path(path)
    if not path.is_file():
        best = path / BEST_NAME if path.is_dir() else None
        advice = f"give {best}" if best and best.is_file() else "train first or give another path"
        raise ClimSimError(f"{path}: no such checkpoint: {advice}")
    if (form := form_of(path)) is not None:
        raise ClimSimError(
            f"{path}: expected a checkpoint, found an exported model ({form}): give the checkpoint "
            "that it was exported from, such as best.ckpt of its training"
        )
    try:
        check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:100]
        raise refusal(error, path) or ClimSimError(
            f"{path}: expected a checkpoint, found a damaged or foreign file ({reason}): use "
            "another one"
        ) from error
    if not isinstance(content, dict) or KEY not in content or "state_dict" not in content:
        raise ClimSimError(
            f"{path}: expected a checkpoint of this package, found a file without {KEY!r}: "
            "import published weights with `climsim checkpoint import`"
        )
    entry = content[KEY] if isinstance(content[KEY], dict) else {}
    CheckpointCard.from_json(entry, str(path))
    state = content["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ClimSimError(
            f"{path}: expected weights by name, found something else: use another checkpoint"
        )
    return cast(CheckpointContent, content)


def read_entry(path: str | Path) -> CheckpointEntry:
    """Read what a checkpoint says about itself (see `read_checkpoint`)."""
    return CheckpointEntry.from_entry(read_checkpoint(path)["climsim"], str(path))


class Facts(TypedDict, total=False):
    """Fields of `CheckpointCard` beside what every model has.

    Attributes:
        recipe: name of the recipe.
        seed: of initialization and shuffling.
        statistics_hash: of the statistics that normalize.
        time_step_s: physics time step of the data [s].
        emulated_processes: that the model replaces.
        parameters: trainable parameters of the network.
        imported: whether the weights were trained elsewhere.
        validation_loss: of the weights.
    """

    recipe: str
    seed: int | None
    statistics_hash: str | None
    time_step_s: float | None
    emulated_processes: frozenset[str]
    parameters: int | None
    imported: bool
    validation_loss: float | None


def describe_model(
    network: Settings,
    transforms: Transforms,
    config: Settings,
    made_by: Mapping[str, str],
    statistics: Mapping[str, VariableStatistics] | None = None,
    **facts: Unpack[Facts],
) -> CheckpointEntry:
    """Describe a model for its checkpoint.

    Args:
        network: arguments of `climsim.build_network`, ``name`` included.
        transforms: those of the model.
        config: resolved configuration of the run.
        made_by: provenance (see `climsim.files.provenance`).
        statistics: statistics by variable name, if known.
        **facts: further fields of `CheckpointCard`, such as ``seed``.
    """
    card = CheckpointCard(
        network=NetworkCard.from_json(network),
        transforms=transforms_card(transforms),
        config=dict(config),
        provenance=dict(made_by),
        **facts,
    )
    return CheckpointEntry(card, {n: _table(v) for n, v in (statistics or {}).items()})


def _table(values: VariableStatistics) -> Tensor:
    """Statistics of one variable, (field, level) or (field, 1), float64.

    One tensor, not one per field: a checkpoint holds some seventy variables and is written often.
    """
    rows = [np.atleast_1d(getattr(values, f)) for f in STATISTICS_FIELDS]
    return torch.as_tensor(np.stack(np.broadcast_arrays(*rows)).astype(np.float64))


@dataclass(frozen=True)
class TrainedModel:
    """A network with its transforms, in evaluation mode, and what is known about it.

    Attributes:
        network: from network input to scaled targets (and confidence).
        transforms: between physical vectors and the network.
        about: what the checkpoint says about itself.
    """

    network: Network
    transforms: Transforms
    about: CheckpointEntry

    @property
    def card(self) -> CheckpointCard:
        """What the checkpoint is and how it came about."""
        return self.about.card

    @property
    def confidence(self) -> bool:
        """Whether the network has a confidence head."""
        return self.card.network.confidence

    def predict(self, physical: Tensor) -> Tensor:
        """Physical inputs (column, feature) to physical targets (column, feature)."""
        with torch.inference_mode():
            output = self.network(self.transforms.inputs.encode(physical))
            scaled = output[0] if isinstance(output, tuple) else output
            return self.transforms.physical(physical, scaled)


def save_model(
    path: str | Path, network: nn.Module, transforms: Transforms, about: CheckpointEntry
) -> Path:
    """Write weights that were not trained here (imported ones) as a checkpoint to export.

    Args:
        path: where.
        network: the network.
        transforms: its transforms.
        about: made by `describe_model`.
    """
    state: dict[str, Tensor] = {}
    for prefix, module in _parts(network, transforms).items():
        state |= {f"{prefix}.{k}": v for k, v in module.state_dict().items()}
    with atomic_path(path) as temporary:
        torch.save({"state_dict": state, KEY: about.to_entry()}, temporary)
    return Path(path)


def load_model(path: str | Path, code: Sequence[Path] = ()) -> TrainedModel:
    """Rebuild the model of a checkpoint, on the CPU, in evaluation mode.

    Args:
        path: the checkpoint.
        code: files of users' networks that may be run; a checkpoint names such a file by its path,
            and could name any.

    Raises:
        ClimSimError: if the file is missing, damaged, does not fit its own description, or names
            code that may not be run.
    """
    content = read_checkpoint(path)
    about = CheckpointEntry.from_entry(content["climsim"], str(path))
    card = about.card
    hashes = json.loads(card.provenance.get("input_hashes", "{}"))
    name = allowed_reference(card.network.name, code, str(path), hashes.get("network", ""))
    try:
        network = build_network(
            name,
            card.network.inputs,
            confidence=card.network.confidence,
            preset=PUBLISHED,
            n_levels=card.network.n_levels,
            pruned_levels=card.network.pruned_levels,
            **card.network.hyperparameters,
        )
        transforms = empty_transforms(card.transforms)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ClimSimError(
            f"{path}: describes a network that cannot be built ({' '.join(str(error).split())}): "
            "use another checkpoint"
        ) from error
    state = content["state_dict"]
    for prefix, module in _parts(network, transforms).items():
        load_weights(path, module, _part(state, prefix))
        module.eval().requires_grad_(False)
    return TrainedModel(network, transforms, about)


def _parts(network: nn.Module, transforms: Transforms) -> dict[str, nn.Module]:
    """Modules of a model, by the prefix of their weights and buffers in a checkpoint."""
    parts = {"network": network, "inputs": transforms.inputs, "targets": transforms.targets}
    return parts if transforms.closure is None else {**parts, "closure": transforms.closure}


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}


def start_from(path: str | Path, network: nn.Module, transforms: Transforms) -> None:
    """Take the weights of a checkpoint over as a start: those of the network and of the closure.

    Statistics and the vertical coordinate stay; a checkpoint without a closure leaves its weights.

    Raises:
        ClimSimError: listing what does not fit.
    """
    state = read_checkpoint(path)["state_dict"]
    load_weights(path, network, _part(state, "network"))
    learned = _part(state, "closure").get("learned")
    if transforms.closure is not None and learned is not None:
        initial = transforms.closure.state_dict()
        load_weights(path, transforms.closure, {**initial, "learned": learned})


def load_weights(path: str | Path, module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict, naming everything that does not fit in one line.

    Raises:
        ClimSimError: listing missing, extra and misshapen tensors.
    """
    expected, later = module.state_dict(), getattr(module, "later_buffers", ())
    problems = [f"missing {k}" for k in expected if k not in state and k not in later]
    problems += [f"extra {k}" for k in state if k not in expected]
    problems += [
        f"{k} of shape {tuple(v.shape)} instead of {tuple(expected[k].shape)}"
        for k, v in state.items()
        if k in expected and v.shape != expected[k].shape
    ]
    if problems:
        raise ClimSimError(
            f"{path}: the weights do not fit the {type(module).__name__}: {some_of(problems)}: "
            "use a checkpoint of the same network, recipe and level count"
        )
    module.load_state_dict(dict(state))
