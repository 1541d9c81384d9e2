"""Predictions of the steps of a split: saved as Zarr while they are scored, and read again.

A saved file holds ``prediction`` (time, column, feature) in the layout of `OUTPUTS`, physical
units, ``confidence`` (time, column, target feature) where the model has a head for it, and
``step``, the indices of the steps in the store. Arrays of other programs are read in the same form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.cards import Json, LossCard, ModelCard, TrainingCard
from climsim.data.store.opened import Store
from climsim.data.store.seal import array_of
from climsim.errors import ClimSimError, some_of
from climsim.evaluation.array_files import shaped_array
from climsim.evaluation.config import ARRAYS
from climsim.evaluation.members import NETWORKS, RECIPES
from climsim.files import atomic_path, file_hash
from climsim.interfaces import V2, Interface
from climsim.products import Kind, attributes_of, noted
from climsim.variables import OUTPUTS, TARGETS

if TYPE_CHECKING:
    from climsim.export.loading import Emulator

FORMAT: Final = "climsim-predictions-1"
_CHUNK_STEPS = 8
_ATTRIBUTES = frozenset({"input_hashes", "model_metadata", "parameters"})
"""What a saved file says, beside its format, and the evaluation reads."""
_AGAIN = "copy the folder whole, or save the predictions again"
_PUBLISHED_NAME = re.compile(
    f"(?P<recipe>{'|'.join(RECIPES)})_(?P<network>{'|'.join(NETWORKS)})_preds"
)
"""Names of the published study's files of predictions."""
_PUBLISHED_KEY = re.compile(r"seed_(\d+)")
"""Names of the arrays in these."""


PREDICTIONS = Kind(
    "a folder of predictions",
    lambda path: noted(path / "zarr.json", "attributes"),
    is_folder=True,
    owns=lambda name: name in ("zarr.json", "step", "prediction", "confidence"),
)


@dataclass(frozen=True)
class StoredPredictions:
    """Outputs of a model as they were saved, taken by the steps of the store.

    Attributes:
        path: of the file.
        card: what the model said about itself.
        metadata: all of it.
        parameters: trainable parameters of the model; NaN where unknown.
        steps: (time,) indices of the steps in the store.
        arrays: predictions, and confidences if there are any, (time, column, feature) each.
    """

    path: Path
    card: ModelCard
    metadata: Mapping[str, Json]
    parameters: float
    steps: NDArray[np.intp]
    arrays: tuple[zarr.Array | Array, ...]

    @property
    def interface(self) -> Interface:
        """What the model took and gave."""
        return self.card.interface

    @property
    def n_levels(self) -> int:
        """Levels of a profile."""
        return self.card.n_levels

    @property
    def confidence(self) -> bool:
        """Whether confidences were saved."""
        return len(self.arrays) > 1

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {int(step): row for row, step in enumerate(self.steps)}

    def outputs(self, steps: NDArray[np.intp]) -> NDArray[np.float32]:
        """Predictions, then confidences (time, column, feature) of some steps.

        Raises:
            ClimSimError: if a step was not saved, or cannot be read.
        """
        missing = [int(step) for step in steps if int(step) not in self._rows]
        if missing:
            raise ClimSimError(
                f"{self.path}: expected predictions of step {missing[0]} of the store, found "
                f"{len(self.steps)} others: save them for the same split and stride"
            )
        rows = [self._rows[int(step)] for step in steps]
        first, chosen = rows[0], np.array(rows) - rows[0]
        with _readable(self.path):
            parts = [np.asarray(a[first : rows[-1] + 1])[chosen] for a in self.arrays]
        return np.concatenate(parts, axis=-1).astype(np.float32, copy=False)


class PredictionFile:
    """A file of predictions that is being written, see `saving`."""

    def __init__(self, group: zarr.Group, steps: NDArray[np.intp]) -> None:
        """Keep the group; its arrays are made with the first block, which knows their sizes."""
        self._group, self._steps, self._done = group, steps, 0
        # Kept, as an array that is opened again no longer writes all of its chunks.
        self._arrays: dict[str, zarr.Array] = {}
        _create(group, "step", steps.shape, steps.shape, "i8")[:] = steps

    def write(self, outputs: Array, size: int) -> None:
        """Write the outputs (time, column, feature) of the next steps.

        Args:
            outputs: predictions, then confidences if there are any.
            size: number of predicted features.
        """
        parts = {"prediction": outputs[..., :size], "confidence": outputs[..., size:]}
        end = self._done + len(outputs)
        for name, values in parts.items():
            if not values.shape[-1]:
                continue
            if name not in self._arrays:
                shape = (self._steps.size, *values.shape[1:])
                chunks = (min(_CHUNK_STEPS, self._steps.size), *values.shape[1:])
                self._arrays[name] = _create(self._group, name, shape, chunks, "f4")
            self._arrays[name][self._done : end] = values
        self._done = end


def _create(
    group: zarr.Group, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str
) -> zarr.Array:
    """A new array; all of its chunks are written, so one that is missing was lost."""
    return group.create_array(
        name, shape=shape, chunks=chunks, dtype=dtype, config={"write_empty_chunks": True}
    )


@contextmanager
def saving(
    path: Path, steps: NDArray[np.intp], attributes: Mapping[str, Json]
) -> Iterator[PredictionFile]:
    """Write predictions of some steps block by block; the file is there when all are written.

    Args:
        path: of the Zarr folder.
        steps: (time,) indices of the steps in the store.
        attributes: what says what made it.
    """
    with atomic_path(path) as temporary:
        group = zarr.open_group(temporary, mode="w")
        group.attrs.update({"format": FORMAT, **attributes})
        yield PredictionFile(group, steps)


def is_predictions(path: Path) -> bool:
    """Whether a path holds predictions, by its form, and no model."""
    return path.is_dir() or path.suffix in ARRAYS


def identity_of(path: Path) -> str:
    """Hash of a model, or of the document that says what predictions are of."""
    return file_hash(path / "zarr.json" if path.is_dir() else path)


def parameters_of(models: Sequence[Emulator | StoredPredictions]) -> float:
    """Trainable parameters of all models; NaN where one is unknown."""
    return sum(m.parameters for m in models)


def model_attributes(models: Sequence[Emulator | StoredPredictions]) -> dict[str, Json]:
    """What saved predictions say about the model, so that they can be scored in its place.

    Those of an ensemble are of its mean, which has no confidence.
    """
    metadata = dict(models[0].metadata)
    if len(models) > 1:
        metadata |= {"confidence": False, "loss": None}
    return {
        "model_metadata": json.dumps(metadata, default=str),
        "parameters": parameters_of(models),
    }


@dataclass(frozen=True)
class ConfidenceArray:
    """Confidences of another program, which belong to an array of predictions.

    Attributes:
        path: file with an array (time, column, target feature) or (sample, target feature) of
            predicted losses, in the layout of `TARGETS`.
        loss: in whose units they are.
    """

    path: Path
    loss: LossCard


def load_predictions(
    path: Path,
    store: Store,
    steps: NDArray[np.intp],
    key: str = "",
    confidences: ConfidenceArray | None = None,
) -> StoredPredictions:
    """Open predictions that `saving` wrote, or an array of another program.

    The published study's names of files (``conf_loss_unet_preds.npz``) and arrays (``seed_7``) say
    which member it is.

    Args:
        path: Zarr folder, or ``.npy``, ``.npz`` or ``.h5`` file with an array (time, column,
            feature) or (sample, feature) of outputs in physical units.
        store: the data that they are predictions of.
        steps: (time,) steps of the store that an array of another program is of.
        key: name of the array in an ``.npz`` or ``.h5`` file; not needed where it is the only one.
        confidences: that belong to the array; under the same name where their file holds several.

    Raises:
        ClimSimError: if it is neither, not whole, or of another store or size.
    """
    if path.is_dir():
        return _stored(path, store)
    levels = store.n_levels
    sizes = {path: OUTPUTS.size(levels)}
    if confidences is not None:
        sizes[confidences.path] = TARGETS.size(levels)
    arrays = tuple(
        shaped_array(file, key, (steps.size, store.n_columns, size)) for file, size in sizes.items()
    )
    card = ModelCard(
        interface=V2,
        n_levels=levels,
        confidence=confidences is not None,
        loss=None if confidences is None else confidences.loss,
        training=_published_training(path.stem, key),
    )
    metadata = {**card.to_json(), "source": path.name}
    return StoredPredictions(
        path=path,
        card=card,
        metadata=metadata,
        parameters=float("nan"),
        steps=steps,
        arrays=arrays,
    )


def _published_training(stem: str, key: str) -> TrainingCard:
    """The member that a file and an array of the published study are of, by their names."""
    name, number = _PUBLISHED_NAME.fullmatch(stem), _PUBLISHED_KEY.fullmatch(key)
    if name is None:
        return TrainingCard()
    return TrainingCard(name["network"], name["recipe"], int(number[1]) if number else None)


def is_saved(path: Path, attributes: Mapping[str, str], store: Store) -> bool:
    """Whether predictions are there, whole, and made by what attributes of `provenance` say."""
    if not made_by(attributes_of(path), attributes):
        return False
    try:
        _stored(path, store)
    except ClimSimError:
        return False
    return True


def made_by(found: Mapping[str, object], attributes: Mapping[str, str]) -> bool:
    """Whether the attributes of a product say that it was made of the same as another."""
    return all(
        found.get(key) == attributes[key]
        for key in ("configuration", "input_hashes", "climsim_version")
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Refuse, in one line, saved predictions of which a part cannot be read."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ClimSimError(f"{path}: damaged ({error}): {_AGAIN}") from error


def _stored(path: Path, store: Store) -> StoredPredictions:
    try:
        group = zarr.open_group(path, mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise ClimSimError(f"{path}: expected saved predictions, found no Zarr group") from error
    about = _about(group, path, store)
    metadata = json.loads(about["model_metadata"])
    card = ModelCard.from_json(metadata, str(path))
    with _readable(path):
        steps = np.asarray(_whole(group, path, "step")[...]).astype(np.intp)
    sizes = {"prediction": OUTPUTS.size(card.n_levels)}
    if card.confidence:
        sizes["confidence"] = TARGETS.size(card.n_levels)
    return StoredPredictions(
        path=path,
        card=card,
        metadata=metadata,
        parameters=float(about["parameters"]),
        steps=steps,
        arrays=tuple(
            _whole(group, path, name, (steps.size, store.n_columns, size))
            for name, size in sizes.items()
        ),
    )


def _about(group: zarr.Group, path: Path, store: Store) -> dict[str, str]:
    """What saved predictions say about themselves.

    Raises:
        ClimSimError: if they are something else, or of another store.
    """
    about = {name: str(value) for name, value in group.attrs.items()}
    if about.get("format") != FORMAT or not about.keys() >= _ATTRIBUTES:
        raise ClimSimError(
            f"{path}: expected predictions of `evaluate offline save_predictions=`, found format "
            f"{about.get('format')!r} with {some_of(sorted(about)) or 'nothing'}"
        )
    if json.loads(about["input_hashes"]).get("store") != store.fingerprint:
        raise ClimSimError(
            f"{path}: expected predictions of the data in {store.path}, found those of another "
            "store: give the store that they were saved for, or save them for this one"
        )
    return about


def _whole(
    group: zarr.Group, path: Path, name: str, shape: tuple[int, ...] | None = None
) -> zarr.Array:
    """An array of saved predictions, unread.

    Raises:
        ClimSimError: if it is not there, of another shape or lacks a part.
    """
    with _readable(path):
        array = array_of(group, name)
        found = array.nchunks_initialized
    if shape is not None and array.shape != shape:
        raise ClimSimError(
            f"{path}: expected the array {name} of shape {shape}, found {array.shape}: {_AGAIN}"
        )
    if found < array.nchunks:
        # Zarr would give zeros for it.
        raise ClimSimError(
            f"{path}: expected {array.nchunks} chunks of the array {name}, found {found}: {_AGAIN}"
        )
    return array
