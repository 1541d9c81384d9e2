"""Offline evaluation: one pass of an exported model over the steps of a split."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.cards import Json
from climsim.data.store.opened import Store, open_store
from climsim.errors import ClimSimError
from climsim.evaluation.block import Block
from climsim.evaluation.confidence import loss_of_confidence
from climsim.evaluation.config import OfflineConfig
from climsim.evaluation.members import Member, member_of_model, training_of
from climsim.evaluation.non_finite import NonFinite
from climsim.evaluation.offline_dataset import offline_dataset
from climsim.evaluation.offline_score import accumulate
from climsim.evaluation.predictions import (
    PREDICTIONS,
    ConfidenceArray,
    PredictionFile,
    StoredPredictions,
    identity_of,
    is_predictions,
    is_saved,
    load_predictions,
    made_by,
    model_attributes,
    parameters_of,
    saving,
)
from climsim.evaluation.regions import surface_members
from climsim.evaluation.saved import open_metrics
from climsim.evaluation.sums import Accumulator
from climsim.files import provenance, stored_attributes
from climsim.interfaces import INTERFACES, Interface
from climsim.losses import TrainingLoss
from climsim.netcdf import write_netcdf
from climsim.physics.condensate import rearrange
from climsim.processes import agreed
from climsim.products import Kind, attributes_of, claim
from climsim.stage import Progress
from climsim.variables import OUTPUTS, TARGETS

if TYPE_CHECKING:
    from climsim.export.loading import Emulator

logger = logging.getLogger(__name__)

OFFLINE_METRICS = Kind(
    "a file of offline metrics",
    lambda path: {"member", "git_revision"} <= attributes_of(path).keys(),
)
_BLOCK_COLUMNS = 16384
"""Most columns that are read and accumulated at once: 56 MB for each array of float64 [1]."""


class Model(Protocol):
    """What is evaluated: physical inputs at the climate model's interface to physical outputs.

    Attributes:
        interface: what it takes and gives.
        n_levels: number of levels.
    """

    interface: Interface
    n_levels: int

    def __call__(self, vector: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Outputs (column, feature) of inputs (column, feature)."""
        ...


Source = Model | StoredPredictions
"""Where outputs come from."""


def evaluate_offline(config: OfflineConfig, progress: Progress | None = None) -> Path:
    """Score an exported model on a split and save the metrics as netCDF.

    A file that the same model, data and configuration already made is kept as it is.

    Args:
        config: what is scored.
        progress: called with (steps done, steps in all).

    Returns:
        Path of the metrics.

    Raises:
        ClimSimError: if the model and the store do not fit together, the split is empty, or, with
            the metrics written, the model returned values that are no finite numbers.
    """
    _claim(config)
    store = open_store(config.store)
    # The path of the product is no property of it, so it stays out of what makes it equal.
    # Nor does it matter how they are described.
    unnamed = ("out", "allow_nan", "save_predictions")
    settings = {k: v for k, v in asdict(config).items() if k not in unnamed}
    files = [path for path, _ in config.sources]
    beside = filter(None, (config.confidences, config.loss_of))
    hashes = {str(path): identity_of(path) for path in (*files, *beside)}
    hashes["store"] = store.fingerprint
    attributes = provenance(settings, hashes)
    saved = config.save_predictions is None or is_saved(config.save_predictions, attributes, store)
    if saved and _is_current(config.out, attributes):
        logger.info("%s: already there, made from the same model and data", config.out)
        require_finite(config)
        return config.out
    models = _load(store, config)
    check_models(models, store, config)
    compare_data(models, store, config)
    about = attributes | model_attributes(models)
    with _keeping(config, models, store, about) as keep:
        sums = stream(models, store, config, progress, keep)
    found = [member_of_model(m.card, p.stem) for m, p in zip(models, files, strict=True)]
    dataset = offline_dataset(sums, store.grid)
    dataset.attrs |= attributes | member_attributes(ensemble_of(found), models[0].metadata, config)
    dataset.attrs["parameters"] = parameters_of(models)
    dataset.attrs["models"] = sum(max(1, len(m.card.members)) for m in models)
    hours, device = training_of([m.card for m in models])
    dataset.attrs |= {"training_hours": hours, "training_device": device}
    write_netcdf(dataset, config.out, checked=True)
    require_finite(config)
    return config.out


def _claim(config: OfflineConfig) -> None:
    """Make sure that metrics and predictions replace nothing but older ones, and no input."""
    inputs = {
        "model": config.model,
        "store": config.store,
        **{str(path): path for path in config.members},
        "confidences": config.confidences,
        "loss_of": config.loss_of,
    }
    claim(config.out, OFFLINE_METRICS, inputs)
    if config.save_predictions is not None:
        beside = inputs | {"out": config.out}
        claim(config.save_predictions, PREDICTIONS, beside, key="save_predictions")


def _load(store: Store, config: OfflineConfig) -> list[Emulator | StoredPredictions]:
    """Models, or predictions in their place."""
    from climsim.export.loading import load_emulator

    steps, beside = store.steps(config.split)[:: config.stride], _confidences(config)
    return [
        load_predictions(path, store, steps, key, beside)
        if is_predictions(path)
        else load_emulator(path)
        for path, key in config.sources
    ]


def _confidences(config: OfflineConfig) -> ConfidenceArray | None:
    """The confidences that belong to an array of predictions, if there are any."""
    from climsim.export.loading import load_emulator

    if config.confidences is None or config.loss_of is None:
        return None
    loss = load_emulator(config.loss_of).card.loss
    if loss is None:
        raise ClimSimError(
            f"loss_of: {config.loss_of}: expected a model that says what its training loss was, "
            "found none: give one of `climsim export` with a confidence head"
        )
    return ConfidenceArray(config.confidences, loss)


@contextmanager
def _keeping(
    config: OfflineConfig, models: Sequence[Source], store: Store, about: Mapping[str, Json]
) -> Iterator[PredictionFile | None]:
    """Where predictions are kept while they are scored, if they are to be."""
    if config.save_predictions is None:
        yield None
        return
    with saving(config.save_predictions, scored_steps(models, store, config), about) as file:
        yield file


def require_finite(config: OfflineConfig) -> None:
    """Refuse metrics of values that are no finite numbers, unless they are allowed.

    Raises:
        ClimSimError: naming the outputs and how many columns are affected.
    """
    problems = json.loads(str(stored_attributes(config.out).get("problems", "[]")))
    if not problems:
        return
    text = f"{config.out}: {'; '.join(problems)}"
    if not config.allow_nan:
        raise ClimSimError(
            f"{text}: its scores are NaN: train and export the model again or check the store; "
            "allow_nan=true accepts it"
        )
    logger.warning("%s", text)


def check_models(models: Sequence[Source], store: Store, config: OfflineConfig) -> None:
    """Refuse models that do not fit the store or each other.

    Raises:
        ClimSimError: naming the file, what it has and what was expected.
    """
    for (path, _), model in zip(config.sources, models, strict=True):
        if model.interface not in INTERFACES.values():
            raise ClimSimError(
                f"{path}: the model has interface {model.interface.name!r}, expected one of "
                f"{', '.join(INTERFACES)}: export it again"
            )
        if model.n_levels != store.n_levels:
            raise ClimSimError(
                f"{config.store}: the store has {store.n_levels} levels, the model {path} "
                f"expects {model.n_levels}: evaluate it on data of its own level count"
            )
        if model.interface != models[0].interface:
            raise ClimSimError(
                f"{path}: interface {model.interface.name!r}, expected "
                f"{models[0].interface.name!r} as of {config.model}: "
                "score ensembles of one interface"
            )


def compare_data(
    models: Sequence[Emulator | StoredPredictions], store: Store, config: OfflineConfig
) -> None:
    """Warn of a model of another time step than the store's.

    Raises:
        ClimSimError: if a model replaces other processes than the tendencies of the store are of.
    """
    said = {f"store {config.store}": store.emulated_processes}
    said |= {
        str(path): model.card.emulated_processes
        for (path, _), model in zip(config.sources, models, strict=True)
    }
    agreed(said, "evaluate it on data of what it was trained to replace")
    for model in models:
        model.card.compare_time_step(f"the store {config.store}", store.time_step)


def ensemble_of(members: Sequence[Member]) -> Member:
    """Name of a member, or of several: what they share, without a seed."""
    if len(members) == 1:
        return members[0]
    networks, recipes = {m.network for m in members}, {m.recipe for m in members}
    network = networks.pop() if len(networks) == 1 else "ensemble"
    return Member(network, recipes.pop() if len(recipes) == 1 else "", -1)


def member_attributes(
    member: Member, metadata: Mapping[str, Json], config: OfflineConfig
) -> dict[str, object]:
    """Attributes that say which member the metrics belong to."""
    return {
        "Conventions": "CF-1.11",
        "title": f"Offline skill of {member.label} on the {config.split} split",
        "network": member.network,
        "recipe": member.recipe,
        "seed": member.seed,
        "member": member.label,
        "split": config.split,
        "model_metadata": json.dumps(metadata, sort_keys=True, default=str),
    }


def scored_steps(models: Sequence[Source], store: Store, config: OfflineConfig) -> NDArray[np.intp]:
    """Indices of the steps in the store that are scored.

    Raises:
        ClimSimError: if there are none.
    """
    memory = models[0].interface.steps_of_memory
    steps = store.steps(config.split, memory=memory)[:: config.stride]
    if not steps.size:
        raise ClimSimError(
            f"{config.store}: the split {config.split!r} has no step with {memory} "
            "gapless steps before it: prepare a longer record or choose another split"
        )
    return steps


def stream(
    models: Sequence[Source],
    store: Store,
    config: OfflineConfig,
    progress: Progress | None = None,
    keep: PredictionFile | None = None,
) -> Accumulator[Block]:
    """Run models over a split block by block and accumulate the statistics of their mean.

    Args:
        models: what is evaluated; several make an ensemble.
        store: the data.
        config: split, stride and batch size.
        progress: called with (steps done, steps in all).
        keep: where the predictions are kept.

    Returns:
        The sums that the registered scores are formulas on.

    Raises:
        ClimSimError: if the split is empty or the model returns the wrong shape.
    """
    steps = scored_steps(models, store, config)
    sums: Accumulator[Block] = Accumulator.zero()
    single, size = len(models) == 1, OUTPUTS.size(store.n_levels)
    loss = loss_of_confidence(models[0]) if single else None
    done = 0
    for indices in _blocks(steps, store):
        inputs = store.vectors(models[0].interface.variables, indices)
        outputs = [_outputs(model, inputs, indices, config, store.n_levels) for model in models]
        if not single:
            # Confidences are of single models: their mean says nothing about the loss of the mean.
            outputs = [output[..., :size] for output in outputs]
        if keep is not None:
            keep.write(outputs[0] if single else np.mean(outputs, axis=0), size)
        sums = sums + _evaluate_block(models, store, indices, (inputs, outputs), loss)
        done += indices.size
        if progress:
            progress(done, int(steps.size))
    return sums


def _blocks(steps: NDArray[np.intp], store: Store) -> Iterator[NDArray[np.intp]]:
    """Split sorted indices where chunks of the store begin, or earlier where memory asks for it."""
    longest = max(1, _BLOCK_COLUMNS // store.n_columns)
    for chunk in np.split(steps, np.flatnonzero(np.diff(steps // store.block_steps)) + 1):
        yield from np.split(chunk, range(longest, chunk.size, longest))


def _evaluate_block(
    models: Sequence[Source],
    store: Store,
    indices: NDArray[np.intp],
    seen: tuple[Array, list[Array]],
    loss: TrainingLoss | None,
) -> Accumulator[Block]:
    """The sums of one block of steps, from the inputs and the outputs of each model."""
    interface, (inputs, outputs) = models[0].interface, seen
    truth = store.vectors(interface.outputs, indices)
    fields = interface.variables.fields(inputs, store.n_levels)
    size = truth.shape[-1]
    members = np.stack([output[..., :size] for output in outputs])
    prediction = members.mean(axis=0)
    losses = None
    if loss is not None:
        pair = (x.astype(np.float64) for x in (prediction, truth))
        targets = (rearrange(x, OUTPUTS, TARGETS, store.n_levels) for x in pair)
        losses = (outputs[0][..., size:], loss(*targets))
    block = Block(
        grid=store.grid,
        truth=truth,
        prediction=prediction,
        surface_pressure=fields["state_ps"],
        longwave_up=fields["cam_in_LWUP"],
        surfaces=surface_members(*(fields[f"cam_in_{n}FRAC"] for n in ("LAND", "OCN", "ICE")))[1:],
        losses=losses,
        members=members if len(models) > 1 else None,
        non_finite=NonFinite.of(outputs, truth, inputs),
    )
    return accumulate(block)


def _outputs(
    model: Source, inputs: Array, indices: NDArray[np.intp], config: OfflineConfig, levels: int
) -> Array:
    """Outputs (time, column, feature): as stored, or of the inputs, batch by batch."""
    if isinstance(model, StoredPredictions):
        return model.outputs(indices)
    batch = config.batch_columns
    samples = inputs.reshape(-1, inputs.shape[-1])
    starts = range(0, samples.shape[0], batch)
    parts = [predict(model, samples[start : start + batch], levels) for start in starts]
    return np.concatenate(parts).reshape(*inputs.shape[:2], -1)


def predict(model: Model, inputs: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Physical outputs of a batch, checked for their shape.

    Args:
        model: what is evaluated.
        inputs: (column, feature) vectors at its interface.
        levels: number of levels.

    Returns:
        (column, feature) in the layout of `OUTPUTS`, then confidences if there are any.

    Raises:
        ClimSimError: if the model returns another shape.
    """
    size = OUTPUTS.size(levels)
    outputs = model(np.ascontiguousarray(inputs))
    if outputs.ndim != 2 or outputs.shape[0] != inputs.shape[0] or outputs.shape[1] < size:
        raise ClimSimError(
            f"the model returned shape {outputs.shape}, expected ({inputs.shape[0]}, {size}) or "
            "more features: export it again"
        )
    return outputs


def _is_current(path: Path, attributes: dict[str, str]) -> bool:
    if not path.exists():
        return False
    with open_metrics(path) as dataset:
        return made_by(dataset.attrs, attributes)
