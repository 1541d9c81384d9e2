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
from typing import Any

import dacite
import numpy as np
import torch
from torch import Tensor, nn

from climsim.constants import TIME_STEP
from climsim.errors import ClimSimError
from climsim.files import atomic_path
from climsim.integrity import check_zip
from climsim.networks import build_network
from climsim.plugins import allowed_reference
from climsim.products import Kind, archived
from climsim.system import refusal
from climsim.transforms import Transforms
from climsim.transforms.build import describe_transforms, empty_transforms

KEY = "climsim"
_PICKLED_KEY = b"X" + len(KEY).to_bytes(4, "little") + KEY.encode()
CHECKPOINT = Kind(
    "a checkpoint of this package",
    # The key as the pickle in the file spells it, behind its length.
    lambda path: _PICKLED_KEY in archived(path, "/data.pkl"),
)
FORMAT = 1
_DAMAGED = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
STATISTICS_FIELDS = ("mean", "std", "min", "max", "column_mean", "column_std", "positive_mean")
"""Rows of each table of statistics in a checkpoint."""


@dataclass(frozen=True)
class _NetworkForm:
    """What every checkpoint says of its network; hyperparameters stand beside it."""

    name: str
    inputs: str
    confidence: bool
    n_levels: int


@dataclass(frozen=True)
class _TransformsForm:
    """What every checkpoint says of its transforms."""

    kind: str
    n_levels: int
    bounded: bool
    fill_to_zero: bool


@dataclass(frozen=True)
class _Form:
    """What every checkpoint says of itself."""

    network: _NetworkForm
    transforms: _TransformsForm
    config: dict[str, object]
    provenance: dict[str, str]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Raises:
        ClimSimError: if it is missing, damaged or no checkpoint of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise ClimSimError(f"{path}: no such checkpoint: train first or give another path")
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
    about = content[KEY] if isinstance(content[KEY], dict) else {}
    if about.get("format") != FORMAT:
        raise ClimSimError(
            f"{path}: expected checkpoint format {FORMAT}, found {about.get('format')!r}: "
            "use the version of the package that wrote it"
        )
    _check_form(path, about, content["state_dict"])
    return content


def _check_form(path: Path, about: Mapping[str, object], state: object) -> None:
    """Refuse a description or weights of another form than training writes."""
    try:
        form = dacite.from_dict(_Form, about)
    except dacite.DaciteError as error:
        raise ClimSimError(
            f"{path}: expected the description of a checkpoint, found another form ({error}): use "
            "another checkpoint"
        ) from error
    if min(form.network.n_levels, form.transforms.n_levels) < 1:
        raise ClimSimError(
            f"{path}: expected 1 or more levels, found fewer: use another checkpoint"
        )
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ClimSimError(
            f"{path}: expected weights by name, found something else: use another checkpoint"
        )


def describe_model(
    network: Mapping[str, Any],
    transforms: Transforms,
    config: Mapping[str, Any],
    made_by: Mapping[str, str],
    statistics: Mapping[str, Any] | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """The ``climsim`` entry of a checkpoint.

    Args:
        network: arguments of `climsim.build_network`, ``name`` included.
        transforms: those of the model.
        config: resolved configuration of the run.
        made_by: provenance (see `climsim.files.provenance`).
        statistics: statistics by variable name, if known.
        **facts: further plain values, such as ``seed``.

    Returns:
        Plain values and tensors only.
    """
    return {
        "format": FORMAT,
        "network": dict(network),
        "transforms": describe_transforms(transforms),
        "config": dict(config),
        "provenance": dict(made_by),
        "statistics_fields": list(STATISTICS_FIELDS),
        "statistics": {n: _table(v) for n, v in statistics.items()} if statistics else {},
        **facts,
    }


def _table(values: Any) -> Tensor:
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
        about: the ``climsim`` entry of the checkpoint.
        validation_loss: of the weights, None where unknown.
    """

    network: nn.Module
    transforms: Transforms
    about: dict[str, Any] = field(repr=False)
    validation_loss: float | None = None

    @property
    def time_step(self) -> float:
        """Physics time step of the data [s]; that of the published data where it is not known."""
        return float(self.about.get("time_step_s", TIME_STEP))

    @property
    def confidence(self) -> bool:
        """Whether the network has a confidence head."""
        return bool(self.about["network"].get("confidence", False))

    def predict(self, physical: Tensor) -> Tensor:
        """Physical inputs (column, feature) to physical targets (column, feature)."""
        with torch.inference_mode():
            output = self.network(self.transforms.inputs.encode(physical))
            return self.transforms.targets.decode(output[0] if self.confidence else output)


def save_model(
    path: str | Path, network: nn.Module, transforms: Transforms, about: dict[str, Any]
) -> Path:
    """Write weights that were not trained here (imported ones) as a checkpoint to export.

    Args:
        path: where.
        network: the network.
        transforms: its transforms.
        about: made by `describe_model`.
    """
    state: dict[str, Tensor] = {}
    parts = (("network", network), ("inputs", transforms.inputs), ("targets", transforms.targets))
    for prefix, module in parts:
        state |= {f"{prefix}.{k}": v for k, v in module.state_dict().items()}
    with atomic_path(path) as temporary:
        torch.save({"state_dict": state, KEY: about}, temporary)
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
    about = content[KEY]
    hashes = json.loads(about.get("provenance", {}).get("input_hashes", "{}"))
    arguments = dict(about["network"])
    arguments["name"] = allowed_reference(
        arguments["name"], code, str(path), hashes.get("network", "")
    )
    try:
        network: nn.Module = build_network(**arguments)
        transforms = empty_transforms(about["transforms"])
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ClimSimError(
            f"{path}: describes a network that cannot be built ({' '.join(str(error).split())}): "
            "use another checkpoint"
        ) from error
    state = content["state_dict"]
    load_weights(path, network, _part(state, "network"))
    load_weights(path, transforms.inputs, _part(state, "inputs"))
    load_weights(path, transforms.targets, _part(state, "targets"))
    for module in (network, transforms.inputs, transforms.targets):
        module.eval().requires_grad_(False)
    return TrainedModel(network, transforms, about, about.get("validation_loss"))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}


def network_weights(path: str | Path) -> dict[str, Tensor]:
    """Weights of the network of a checkpoint, by name."""
    return _part(read_checkpoint(path)["state_dict"], "network")


def load_weights(path: str | Path, module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict, naming everything that does not fit in one line.

    Raises:
        ClimSimError: listing missing, extra and misshapen tensors.
    """
    own = module.state_dict()
    problems = [f"missing {k}" for k in own if k not in state]
    problems += [f"extra {k}" for k in state if k not in own]
    problems += [
        f"{k} of shape {tuple(v.shape)} instead of {tuple(own[k].shape)}"
        for k, v in state.items()
        if k in own and v.shape != own[k].shape
    ]
    if problems:
        raise ClimSimError(
            f"{path}: the weights do not fit the {type(module).__name__}: {'; '.join(problems)}: "
            "use a checkpoint of the same network, recipe and level count"
        )
    module.load_state_dict(dict(state))
