"""What a training run made, as its folder records it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import dacite

from climsim.errors import ClimSimError
from climsim.training.checkpoint import BEST_NAME, LAST_NAME

_CAST = dacite.Config(cast=[float])


@dataclass(frozen=True)
class TrainResult:
    """What a training run made.

    Attributes:
        best_checkpoint: checkpoint of the lowest validation loss.
        last_checkpoint: checkpoint at the end.
        validation_loss: of the best checkpoint.
        epochs: epochs trained.
        steps: optimizer steps taken.
        training_hours: wall time, over all processes that resumed [h]; NaN where not recorded.
        training_device: what it ran on.
    """

    best_checkpoint: Path
    last_checkpoint: Path
    validation_loss: float
    epochs: int
    steps: int
    training_hours: float = math.nan
    training_device: str = ""

    @classmethod
    def from_json(cls, values: object, folder: Path) -> TrainResult:
        """Read what the record of a folder says; the checkpoints lie where the folder is now.

        Args:
            values: entry ``result`` of the record.
            folder: of the run.

        Raises:
            ClimSimError: if it is something else.
        """
        known = values if isinstance(values, Mapping) else {}
        held = {field.name: known[field.name] for field in fields(cls) if field.name in known}
        here = {"best_checkpoint": folder / BEST_NAME, "last_checkpoint": folder / LAST_NAME}
        try:
            return dacite.from_dict(cls, {**held, **here}, _CAST)
        except (dacite.DaciteError, TypeError, ValueError) as error:
            raise ClimSimError(
                f"{folder}: expected the record of a complete training, found another form "
                f"({error}): choose another `out`"
            ) from error

    def __str__(self) -> str:
        return (
            f"{self.best_checkpoint} (validation loss {self.validation_loss:.5g}, "
            f"{self.epochs} epochs, {self.steps} steps, {self.training_hours:.2g} h on "
            f"{self.training_device or 'an unknown device'})"
        )
