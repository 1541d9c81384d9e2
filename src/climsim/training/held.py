"""What the folder of a run holds, and whether a configuration may continue it.

A checkpoint says what it was trained with: settings are compared by value, data and files by their
content, so that a store that moved is the same data and another store at the same path is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from climsim.cards import Settings, setting
from climsim.data.statistics.statistics import Statistics, compute_statistics
from climsim.data.store.opened import Store
from climsim.errors import ClimSimError
from climsim.files import file_hash, read_json
from climsim.plugins import is_reference, reference_file
from climsim.products import Kind, noted
from climsim.training.callbacks import best_of, has_stopped_early, link_best
from climsim.training.checkpoint import BEST_NAME, LAST_NAME, CheckpointEntry, read_checkpoint
from climsim.training.config import TrainConfig
from climsim.training.result import TrainResult
from climsim.training.schedules import SCHEDULES
from climsim.training.stages import TRAIN

RECORD_NAME = "training.json"
TRAINING = Kind(
    "the folder of a training",
    lambda path: noted(path / RECORD_NAME, "status", "config"),
    is_folder=True,
)
_BY_CONTENT = {
    "store": "data.store",
    "statistics": "data.statistics",
    "network": "network.name",
    "loss": "recipe.loss",
    "optimizer": "optimizer.name",
    "schedule": "schedule.name",
    "warm_start": "trainer.warm_start",
}
"""Keys of the inputs, by their role; the hash of each is in the checkpoint."""
_CODE = ("network", "loss", "optimizer", "schedule")
"""Roles that code of the user can take."""


@dataclass(frozen=True)
class HeldRun:
    """A run that a folder holds.

    Attributes:
        folder: its folder.
        config: its resolved configuration.
        inputs: hash of each input by its role.
        epochs: epochs begun or done.
        stopped: whether it stopped early; it would stop there again.
        best: the one of its checkpoints that ``best.ckpt`` links; None where unknown.
        result: what it made, where it is complete.
    """

    folder: Path
    config: Settings
    inputs: Mapping[str, str]
    epochs: int
    stopped: bool
    best: Path | None
    result: TrainResult | None

    @classmethod
    def read(cls, folder: Path) -> HeldRun | None:
        """Read what a folder holds; None where nothing is trained yet.

        Raises:
            ClimSimError: if its checkpoint is damaged.
        """
        found = [folder / name for name in (LAST_NAME, BEST_NAME) if (folder / name).exists()]
        if not found:
            return None
        content = read_checkpoint(found[0])
        card = CheckpointEntry.from_entry(content["climsim"], str(found[0])).card
        if card.progress is None or "input_hashes" not in card.provenance:
            raise ClimSimError(
                f"{found[0]}: expected a checkpoint of a training, found one without "
                "progress or inputs: choose another `out`"
            )
        inputs = json.loads(card.provenance["input_hashes"])
        record = read_json(folder / RECORD_NAME) if (folder / RECORD_NAME).exists() else {}
        complete = record.get("status") == "complete"
        result = TrainResult.from_json(record.get("result"), folder) if complete else None
        states = content.get("callbacks", {})
        return cls(
            folder,
            config=card.config,
            inputs=inputs,
            epochs=card.progress.epoch + 1,
            stopped=has_stopped_early(states),
            best=best_of(states, folder),
            result=result,
        )

    @property
    def planned_epochs(self) -> int:
        """Epochs that the run was asked for."""
        return int(str(setting(self.config, "trainer.epochs")))

    def check(self, config: TrainConfig, store: Store) -> None:
        """Refuse a configuration that would make another model.

        Args:
            config: the configuration.
            store: its data.

        Raises:
            ClimSimError: naming the settings or data that differ.
        """
        # A setting that is not there came with a later version, whose default was used; one of
        # another kind of training is missing as a whole.
        usual = type(config)(config.data, config.out).resolved()
        known = {*self.config, *(key.name for key in fields(TrainConfig))}
        defaults = {key: value for key, value in usual.items() if key in known}
        held = _completed(self.config, defaults)
        changed = _differences(held, config.resolved(), _free_keys(config))
        if changed:
            raise ClimSimError(
                f"{self.folder}: holds a run with other settings ({', '.join(changed)}): give "
                "its settings to continue it, or choose another `out`"
            )
        inputs = input_hashes(config, store, self._statistics_now(config, store))
        changed = list(self._other_inputs(config, inputs))
        if changed:
            raise ClimSimError(
                f"{self.folder}: was trained on other data ({', '.join(changed)}): give the data "
                "it was trained on, wherever they lie now, or choose another `out`"
            )
        self._check_epochs(config)

    def _statistics_now(self, config: TrainConfig, store: Store) -> str:
        """Hash of the statistics; not computed where they follow from the store as before."""
        path = config.data.statistics
        if path is None and setting(self.config, "data.statistics") is None:
            return self.inputs["statistics"]
        if path is not None and path.is_dir():
            return file_hash(path)
        statistics = compute_statistics(store) if path is None else Statistics.open(path)
        return statistics.fingerprint

    def is_complete(self, config: TrainConfig) -> bool:
        """Whether nothing is left to train."""
        if self.result is None:
            return False
        return self.stopped or config.trainer.epochs <= self.result.epochs

    def require_best(self) -> None:
        """Link ``best.ckpt`` again where it is gone.

        Raises:
            ClimSimError: if the checkpoint that it linked is gone too.
        """
        link = self.folder / BEST_NAME
        if link.is_file():
            return
        if self.best is None or not self.best.is_file():
            raise ClimSimError(
                f"{link}: expected the best checkpoint of a finished training, found neither it "
                f"nor {self.best or 'what it linked'}: put one of them back, or train again in "
                "another `out`"
            )
        link_best(self.best, self.folder)

    def _other_inputs(self, config: TrainConfig, inputs: Mapping[str, str]) -> Iterator[str]:
        values = config.resolved()
        given: dict[str, object] = {r: setting(values, key) for r, key in _BY_CONTENT.items()}
        given |= config.further_files
        for role in sorted(self.inputs.keys() | inputs.keys()):
            before, now = self.inputs.get(role, "none"), inputs.get(role, "none")
            if before != now:
                key = _BY_CONTENT.get(role, role)
                yield f"{key}={given.get(role)} is {now[:12]} instead of {before[:12]}"

    def _check_epochs(self, config: TrainConfig) -> None:
        before, now = self.planned_epochs, config.trainer.epochs
        if now < before and now < self.epochs:
            raise ClimSimError(
                f"{self.folder}: trainer.epochs={now}, but {self.epochs} epochs are trained "
                f"already: give at least {self.epochs}, or choose another `out`"
            )
        if now != before and SCHEDULES.find(config.schedule.name).follows_length:
            raise ClimSimError(
                f"{self.folder}: trainer.epochs={now} instead of {before}: with "
                f"schedule.name={config.schedule.name} the learning rates so far depended on the "
                f"number of epochs: choose another `out`, with "
                f"trainer.warm_start={self.folder / BEST_NAME} to start from these weights"
            )


def input_hashes(config: TrainConfig, store: Store, statistics: str) -> dict[str, str]:
    """Hash of each input of a run, by its role.

    Args:
        config: the run.
        store: its data.
        statistics: hash of its statistics.

    Raises:
        ClimSimError: if a file is missing.
    """
    inputs = {"store": store.fingerprint, "statistics": statistics}
    values = config.resolved()
    for role in _CODE:
        name = str(setting(values, _BY_CONTENT[role]))
        if is_reference(name):
            inputs[role] = file_hash(reference_file(name))
    warm = config.trainer.warm_start
    if warm is not None:
        inputs["warm_start"] = file_hash(warm)
    return inputs | {role: file_hash(path) for role, path in config.further_files.items()}


def _free_keys(config: TrainConfig) -> frozenset[str]:
    """Settings that may change between the runs of one training, or are compared apart."""
    stage = config.stage
    return frozenset((*stage.may_change, *stage.needs, stage.makes, "trainer.epochs"))


def _completed(held: Settings, defaults: Settings) -> dict[str, object]:
    """Settings with those that are missing, at any depth, from the defaults."""
    result = {**defaults, **held}
    for key, value in defaults.items():
        known = held.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            result[key] = _completed(known, value)
    return result


def _differences(old: Settings, new: Settings, free: frozenset[str], prefix: str = "") -> list[str]:
    result = []
    for key in sorted(old.keys() | new.keys()):
        name, before, after = f"{prefix}{key}", old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            result += _differences(before, after, free, f"{name}.")
        elif TRAIN.present(name, before) != after and name not in free:
            result.append(f"{name}={after} instead of {before}")
    return result
