"""Which models or predictions are scored offline, on which data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from climsim.data.store.address import StoreAddress
from climsim.errors import ClimSimError
from climsim.evaluation.predictions import ARRAYS
from climsim.validation import Checks


@dataclass(frozen=True)
class OfflineConfig:
    """What is scored, on which data.

    Attributes:
        model: exported model file, or predictions to be scored in its place: what
            `save_predictions` wrote, or an ``.npy``, ``.npz`` or ``.h5`` array (time, column,
            feature) of outputs in physical units, of the split's steps.
        store: prepared store: a folder, or a URL that fsspec reads.
        out: netCDF file to write.
        members: further model files; the mean of all is scored, and the ensemble by its CRPS.
        split: split that is scored.
        batch_columns: columns that the model sees at once.
        stride: every n-th step of the split is scored, n being this number.
        save_predictions: Zarr folder for the predictions and confidences of the steps that are
            scored; None keeps none.
        predictions_key: names of the arrays where `model` is an ``.npz`` or ``.h5`` of several;
            more than one make an ensemble.
        confidences: file of an array (time, column, target feature) of predicted losses that
            belong to the array of `model`, under the same name; None where there are none.
        loss_of: exported model in units of whose training loss these are.
        allow_nan: whether scores that are NaN because the model or the store holds no finite
            numbers are accepted; otherwise they end in an error once the metrics are written.
    """

    model: Path
    store: StoreAddress
    out: Path
    members: tuple[Path, ...] = ()
    split: str = "test"
    batch_columns: int = 4096
    stride: int = 1
    save_predictions: Path | None = None
    predictions_key: tuple[str, ...] = ()
    confidences: Path | None = None
    loss_of: Path | None = None
    allow_nan: bool = False

    def __post_init__(self) -> None:
        Checks(self).whole("batch_columns", "stride", least=1)
        if (self.confidences is None) != (self.loss_of is None):
            raise ClimSimError(
                "confidences, loss_of: expected both or none: give the array, and an exported "
                "model in units of whose training loss it is"
            )

    @property
    def sources(self) -> list[tuple[Path, str]]:
        """Files whose mean is scored, each with the name of an array in it; empty for models."""
        return [
            (path, key)
            for path in (self.model, *self.members)
            for key in (self.predictions_key if path.suffix in ARRAYS else ()) or ("",)
        ]
