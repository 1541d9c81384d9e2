"""Exported models: one file from raw physical inputs to physical tendencies.

What E3SM loads through FTorch and the embedded host through `load_emulator`: interface transform,
input transform, network, inverse scaling and microphysics constraint in one module, float32 in and
out, with ``metadata.json`` inside the file. `climsim.export.formats` holds what differs by format.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from climsim.cards import Json, LossCard, ModelCard, TrainingCard, setting
from climsim.constants import EXPORT_ZERO_LEVELS
from climsim.errors import ClimSimError
from climsim.export.comparison import deviation, relative_difference
from climsim.export.config import PRECISIONS, TORCHSCRIPT, ExportConfig
from climsim.export.formats import COLUMNS, Format, Runnable, fitting_format
from climsim.export.module import Emulation, EmulationMember, build_emulation
from climsim.export.probe import Probe, probe_columns, training_columns
from climsim.exported_file import METADATA_NAME, metadata_text
from climsim.files import atomic_path, file_hash, provenance
from climsim.interfaces import Encoding
from climsim.losses import LOSSES
from climsim.plugins import short_name
from climsim.precisions import FLOAT32, FORMER_PRECISIONS
from climsim.processes import agreed
from climsim.products import Kind, claim
from climsim.stage import Progress
from climsim.training.checkpoint import TrainedModel, load_model
from climsim.training.config import RecipeConfig
from climsim.validation import one_of
from climsim.variables import TARGETS, VariableSet, variable

logger = logging.getLogger(__name__)

EXPORTED = Kind("an exported model", lambda path: b"git_revision" in metadata_text(path))
_OF_A_MEMBER = (
    "network",
    "recipe",
    "seed",
    "statistics_hash",
    "config",
    "provenance",
    "step",
    "epoch",
    "training_hours",
    "training_device",
    "validation_loss",
)
"""What an exported file keeps of the card of each checkpoint that it is made of."""
_TOLERANCE = 1.0e-5
_REDUCED_TOLERANCE = 1.0e-2
"""Largest difference between file and Python path, relative to the largest value per variable."""
_ROUNDINGS = 2.0
"""Largest difference of a reduced form's file, in differences of its Python path from float32: a
compiler that rounds elsewhere may err as far to the other side."""
_PROBES = (1, 3)
"""Columns with which an export is tried."""
_TYPICAL_COLUMNS = 64
"""Columns that show how large the values of each variable are."""
_LONGEST_REASON = 300
"""Characters of an exporter's error that a message repeats."""


def run_export(config: ExportConfig, progress: Progress | None = None) -> Path:
    """Export what a configuration names (see `export_model`)."""
    if progress is not None:
        progress(0, 1)
    checkpoints = (config.checkpoint, *config.members)
    path = export_model(
        checkpoints, config.out, config.precision, config.code, config.format, config.columns
    )
    if progress is not None:
        progress(1, 1)
    return path


def export_model(
    checkpoint: str | Path | tuple[str | Path, ...],
    path: str | Path,
    precision: str = FLOAT32,
    code: Sequence[Path] = (),
    format: str = TORCHSCRIPT,
    columns: int = 0,
) -> Path:
    """Write a trained model, or the mean of several, as one file.

    The file is compared with the Python path before it gets its name.

    Args:
        checkpoint: checkpoint, or several of a seed ensemble.
        path: the file to write.
        precision: of the networks, ``"float32"`` or ``"bfloat16"``.
        code: files of users' networks that may be run (see `load_model`).
        format: of the file, a name in `climsim.export.formats.FORMATS`.
        columns: of every call, for a format that takes them; 0 for any number.

    Returns:
        The path.

    Raises:
        ClimSimError: if a checkpoint is unfit, the members do not fit together, the network cannot
            be written in that format, or the file does not reproduce the Python path.
    """
    paths = checkpoint if isinstance(checkpoint, tuple) else (checkpoint,)
    one_of("precision", precision, PRECISIONS, FORMER_PRECISIONS)
    form = fitting_format(format, Path(path), precision, columns)
    claim(path, EXPORTED, {f"checkpoint[{i}]": Path(p) for i, p in enumerate(paths)})
    models = [load_model(p, code) for p in paths]
    _check_together(paths, models)
    members = [EmulationMember(m.network, m.transforms) for m in models]
    exact = build_emulation(members, models[0].confidence, models[0].card.time_step)
    kind, levels = members[0].inputs.encoding, members[0].inputs.n_levels
    made_as = {"precision": precision, "format": format}
    metadata = {**_metadata(paths, models, made_as, kind, levels), "file_format": format}
    metadata |= {**form.facts(), "parameters": sum(p.numel() for p in exact.parameters())}
    trial = _Trial(
        probe=partial(_probe, models[0]),
        n_outputs=exact.n_outputs,
        n_levels=levels,
        tolerance=_TOLERANCE if precision == FLOAT32 else _REDUCED_TOLERANCE,
        like_training=_knows_training(models[0]),
    )
    written = exact
    if precision != FLOAT32:
        again = [load_model(p, code) for p in paths]
        reduced = [EmulationMember(m.network, m.transforms, torch.bfloat16) for m in again]
        written = build_emulation(reduced, models[0].confidence, models[0].card.time_step)
        x = trial.probe(_TYPICAL_COLUMNS)
        with torch.inference_mode():
            expected, found = exact(x), written(x)
        metadata["fast_form"] = off = deviation(expected, found, levels)
        _warn_of_deviation(path, precision, off)
        rounding = relative_difference(expected, found, levels)
        trial = replace(trial, tolerance=max(trial.tolerance, _ROUNDINGS * rounding))
    if columns:
        metadata[COLUMNS] = columns
    _write(written, Path(path), metadata, trial, form)
    return Path(path)


def _warn_of_deviation(path: str | Path, precision: str, off: Mapping[str, float]) -> None:
    """Log the largest difference of a reduced form from float32."""
    name, most = max(off.items(), key=lambda item: item[1])
    logger.warning(
        "%s: %s networks differ from float32 by up to %s: see fast_form in %s",
        path,
        precision,
        f"{most:.2g} ({name}, r.m.s.)",
        METADATA_NAME,
    )


def _probe(model: TrainedModel, columns: int) -> Tensor:
    """Columns to try a model on: like those of training, where the checkpoint knows them."""
    inputs = model.transforms.inputs
    given = inputs.encoding.interface.variables
    if not _knows_training(model):
        return probe_columns(given, inputs.n_levels, columns)
    about = model.about
    return training_columns(given, about.statistics, about.statistics_fields, columns)


def _knows_training(model: TrainedModel) -> bool:
    """Whether the checkpoint holds the statistics of every input; an imported one does not."""
    given = model.transforms.inputs.encoding.interface.variables
    return all(name in model.about.statistics for name in given.names)


def _check_together(paths: tuple[str | Path, ...], models: list[TrainedModel]) -> None:
    """Members of an ensemble must share interface, levels, confidence, time step and closure."""

    def shape(model: TrainedModel) -> tuple[str, str, int, bool, float, str]:
        inputs, card = model.transforms.inputs, model.card
        interface, targets = inputs.encoding.interface.name, inputs.encoding.targets.name
        closed = card.transforms.closure
        return interface, targets, inputs.n_levels, model.confidence, card.time_step, closed

    for path, model in zip(paths, models, strict=True):
        model.transforms.inputs.encoding.require_coupled(str(path))
        if shape(model) != shape(models[0]):
            raise ClimSimError(
                f"{path}: expected interface, targets, levels, confidence, time step and closure "
                f"{shape(models[0])} as in {paths[0]}, found {shape(model)}: export members of "
                "one kind together"
            )
        if model.confidence and _training_loss(model) != _training_loss(models[0]):
            raise ClimSimError(
                f"{path}: expected the training loss and the scales of the targets of {paths[0]}, "
                "as confidences are in their units, found others: export members of one loss and "
                "one file of statistics together"
            )


def _processes(paths: tuple[str | Path, ...], models: list[TrainedModel]) -> frozenset[str]:
    """Processes that all members replace; refuses members that replace different ones."""
    said = {str(p): m.card.emulated_processes for p, m in zip(paths, models, strict=True)}
    return agreed(said, "export members of one kind together")


def _metadata(
    paths: tuple[str | Path, ...],
    models: list[TrainedModel],
    made_as: Mapping[str, str],
    kind: Encoding,
    levels: int,
) -> dict[str, Json]:
    first = models[0]
    losses = [m.card.validation_loss for m in models]
    hashes = {str(p): file_hash(p) for p in paths}
    card = ModelCard(
        interface=kind.interface,
        n_levels=levels,
        confidence=first.confidence,
        time_step=first.card.time_step,
        emulated_processes=_processes(paths, models),
        loss=_training_loss(first),
        training=_training(models),
    )
    return {
        **card.to_json(),
        "inputs": _layout(kind.interface.variables, levels),
        "outputs": _layout(kind.interface.outputs, levels),
        "zero_levels": EXPORT_ZERO_LEVELS,
        "precision": made_as["precision"],
        "probes": "training" if _knows_training(first) else "synthetic",
        "encoding": kind.name,
        "closure": first.card.transforms.closure,
        "inputs_bounded": first.transforms.inputs.bounded,
        "network": {**first.card.network.to_json(), "name": card.training.network},
        "validation_loss": losses[0] if len(losses) == 1 else losses,
        "statistics_hash": first.card.statistics_hash,
        "training_git_revision": first.card.provenance.get("git_revision"),
        "members": [_member_facts(m) for m in models],
        **provenance({"checkpoints": list(hashes), **made_as}, hashes),
    }


def _training(models: list[TrainedModel]) -> TrainingCard:
    """Training of all members together; hours and devices only where all are known."""
    first = models[0].card
    card = TrainingCard(short_name(first.network.name), first.recipe, first.seed)
    trainings = [m.card.progress for m in models if m.card.progress is not None]
    if len(trainings) < len(models):
        return card
    devices = sorted({training.device for training in trainings})
    hours = sum(training.hours for training in trainings)
    return replace(card, hours=hours, device=", ".join(devices))


def _member_facts(model: TrainedModel) -> dict[str, Json]:
    """What the card of a checkpoint says of a member, but for what the whole file says."""
    values = model.card.to_json()
    return {key: values[key] for key in _OF_A_MEMBER if key in values}


def _training_loss(model: TrainedModel) -> LossCard | None:
    """The elementwise loss and the scale of each target (0 where pruned): units of confidence.

    Nothing where liquid and ice are predicted apart, which has no confidence, and for a user's
    loss: its code is not in the file, which must run anywhere.
    """
    settings = model.card.config
    name = str(setting(settings, "recipe.loss") or "huber")
    if name not in LOSSES or model.transforms.inputs.encoding.targets is not TARGETS:
        return None
    targets = model.transforms.targets
    scale = (targets.scale * targets.kept).tolist()
    delta = setting(settings, "recipe.delta")
    return LossCard(
        name, delta if isinstance(delta, int | float) else RecipeConfig.delta, tuple(scale)
    )


def _layout(variables: VariableSet, levels: int) -> list[Json]:
    return [
        {"name": n, "units": variable(n).unit, "levels": levels if variable(n).profile else 1}
        for n in variables.names
    ]


@dataclass(frozen=True)
class _Trial:
    """How a file is compared with the Python path.

    Attributes:
        probe: columns to try it on.
        n_outputs: features that it gives.
        n_levels: levels of a profile.
        tolerance: largest relative difference.
        like_training: whether the columns are like those of training, where all is finite.
    """

    probe: Probe
    n_outputs: int
    n_levels: int
    tolerance: float
    like_training: bool


def _write(
    emulation: Emulation, path: Path, metadata: Mapping[str, Json], trial: _Trial, form: Format
) -> None:
    """Write a file under a temporary name and try it before it gets its own."""
    with atomic_path(path) as temporary:
        text = json.dumps(metadata, indent=1, default=str)
        try:
            with warnings.catch_warnings(action="ignore"):  # What matters shows in the trial below.
                columns = int(metadata.get(COLUMNS, 0))  # type: ignore[arg-type]
                form.write(emulation.eval(), temporary, text, columns)
        except (ClimSimError, OSError, MemoryError):
            raise
        except Exception as error:  # exporters raise whatever they like
            raise ClimSimError(
                f"{path}: the network cannot be written as {form.form} ({_cause(error)}): choose "
                "another format"
            ) from error
        _try(path, form.load(temporary, "cpu"), emulation, trial, form)


def _cause(error: BaseException) -> str:
    """What was wrong in the first place; what exporters raise because of it fills pages."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _try(path: Path, model: Runnable, eager: Emulation, trial: _Trial, form: Format) -> None:
    """Compare with the Python path: shape, type and values, columns first in memory and last."""
    with torch.inference_mode():
        typical = eager(trial.probe(_TYPICAL_COLUMNS))
    for columns in _PROBES:
        x = trial.probe(columns)
        with torch.inference_mode():
            expected, found = eager(x), model(x.T.contiguous().T)
        shape = (columns, trial.n_outputs)
        if tuple(found.shape) != shape or found.dtype != torch.float32:
            raise ClimSimError(
                f"{path}: expected output of shape {shape} float32, found {tuple(found.shape)} "
                f"{found.dtype}: the network does not fit the interface"
            )
        worst = relative_difference(expected, found, trial.n_levels, typical)
        if not worst <= trial.tolerance:
            raise ClimSimError(
                f"{path}: expected the file to reproduce the Python path to {trial.tolerance:g}, "
                f"found {worst:.2g} as {form.form}: choose another format or precision"
            )
        if trial.like_training and not torch.isfinite(found).all():
            raise ClimSimError(
                f"{path}: expected finite outputs on columns like those of training, found NaN or "
                "infinity: the weights are broken, export another checkpoint"
            )
