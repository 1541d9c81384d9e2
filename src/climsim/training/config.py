"""Configuration of a training run: plain, frozen, validated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climsim.data.store.address import StoreAddress
from climsim.errors import ClimSimError
from climsim.interfaces import ENCODINGS
from climsim.names import check_name
from climsim.plugins import absolute_reference, is_reference

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
"""Precision of the network, by name, as Lightning spells it; transforms stay in float32."""
LOGGERS = ("tensorboard", "wandb", "mlflow", "none")
SCHEDULES = ("step", "constant", "cosine", "warmup_cosine", "plateau")


def _require(key: str, value: Any, holds: bool, expected: str) -> None:
    if not holds:
        raise ClimSimError(f"{key}: expected {expected}, found {value!r}")


def _require_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    _require(key, value, value in choices, f"one of {', '.join(choices)}")


@dataclass(frozen=True)
class NetworkConfig:
    """Which network.

    Attributes:
        name: name in the registry, or ``path/to/file.py:Class``.
        hyperparameters: those that differ from the preset.
    """

    name: str = "unet"
    hyperparameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_reference(self.name):
            check_name(self.name, "network.name")
        object.__setattr__(self, "name", absolute_reference(self.name))


@dataclass(frozen=True)
class RecipeConfig:
    """What the network sees and what it is trained for.

    Attributes:
        name: name of the recipe.
        inputs: ``"standard"``, ``"multirep"`` or ``"expanded"``.
        loss: elementwise loss under every term: a name, or ``path/to/file.py:function``.
        delta: of Huber, in scaled units.
        difference: whether to add the loss of vertical differences.
        confidence: whether to train a confidence head.
    """

    name: str = "standard"
    inputs: str = "standard"
    loss: str = "huber"
    delta: float = 1.0
    difference: bool = False
    confidence: bool = False

    def __post_init__(self) -> None:
        check_name(self.name, "recipe.name")
        _require_choice("recipe.inputs", self.inputs, tuple(ENCODINGS))
        _require("recipe.delta", self.delta, self.delta > 0, "a positive number")
        object.__setattr__(self, "loss", absolute_reference(self.loss))


@dataclass(frozen=True)
class TrainDataConfig:
    """What is trained on.

    Attributes:
        store: prepared store: a folder, or a URL that fsspec reads.
        statistics: file of statistics, or folder of those published with ClimSim; computed from the
            training split if not given.
        batch_size: columns in a batch, per process.
        clip_margin: if given, physical inputs are moved into the training range widened by this
            share of it on each side, in training and in the exported model; none lets all through.
        prefetch: batches read ahead by a thread.
    """

    store: StoreAddress
    statistics: Path | None = None
    batch_size: int = 1024
    clip_margin: float | None = None
    prefetch: int = 4

    def __post_init__(self) -> None:
        _require("data.batch_size", self.batch_size, self.batch_size >= 1, "at least 1")
        _require("data.prefetch", self.prefetch, self.prefetch >= 0, "at least 0")
        margin = self.clip_margin
        _require("data.clip_margin", margin, margin is None or margin >= 0, "at least 0")


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights move.

    Attributes:
        name: ``"adamw"`` or ``"soap"``.
        learning_rate: before the schedule.
        weight_decay: decoupled.
        betas: decay of the moments; none for the optimizer's own.
        precondition_every: steps between SOAP's updates of its preconditioner.
    """

    name: str = "adamw"
    learning_rate: float = 1.0e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] | None = None
    precondition_every: int = 10

    def __post_init__(self) -> None:
        rate = self.learning_rate
        _require("optimizer.learning_rate", rate, rate > 0, "a positive number")
        _require("optimizer.weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")
        betas = self.betas
        _require("optimizer.betas", betas, betas is None or len(betas) == 2, "none or two numbers")
        every = self.precondition_every
        _require("optimizer.precondition_every", every, every >= 1, "at least 1")


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes.

    Attributes:
        name: ``"step"`` (published), ``"constant"``, ``"cosine"``, ``"warmup_cosine"`` or
            ``"plateau"``.
        factor: by which step and plateau multiply.
        every_epochs: epochs between steps.
        warmup_epochs: epochs (fractions allowed) of linear rise under ``warmup_cosine``.
        floor: share of the learning rate at the end of a cosine, and the least under plateau.
        patience: epochs without improvement before plateau acts.
    """

    name: str = "step"
    factor: float = 0.05
    every_epochs: int = 3
    warmup_epochs: float = 1.0
    floor: float = 0.0
    patience: int = 2

    def __post_init__(self) -> None:
        _require_choice("schedule.name", self.name, SCHEDULES)
        _require("schedule.factor", self.factor, 0 < self.factor <= 1, "a number in (0, 1]")
        _require("schedule.every_epochs", self.every_epochs, self.every_epochs >= 1, "at least 1")
        warmup = self.warmup_epochs
        _require("schedule.warmup_epochs", warmup, warmup >= 0, "at least 0")
        _require("schedule.floor", self.floor, 0 <= self.floor < 1, "a number in [0, 1)")
        _require("schedule.patience", self.patience, self.patience >= 0, "at least 0")


@dataclass(frozen=True)
class TrainerConfig:
    """How long, where and how exactly.

    Attributes:
        epochs: passes over the training split.
        devices: devices (processes) per node.
        nodes: nodes.
        accelerator: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        precision: ``"32"``, ``"bf16"`` or ``"16"`` (mixed).
        tf32: whether float32 matrix products on a GPU may use TF32.
        gradient_clip: largest norm of the gradient; 0 for no limit.
        compile: whether to compile the network; falls back to eager where that fails.
        threads: torch threads; 0 for torch's own choice.
        keep_best: checkpoints kept, by validation loss.
        save_every_steps: steps between checkpoints to resume from; 0 for epoch ends only.
        early_stop_patience: epochs without improvement before training ends; 0 for never.
        warm_start: checkpoint whose weights training starts from.
        logger: ``"tensorboard"``, ``"wandb"``, ``"mlflow"`` or ``"none"``.
        log_every_steps: steps between log entries.
    """

    epochs: int = 12
    devices: int = 1
    nodes: int = 1
    accelerator: str = "auto"
    precision: str = "32"
    tf32: bool = True
    gradient_clip: float = 0.0
    compile: bool = False
    threads: int = 0
    keep_best: int = 15
    save_every_steps: int = 500
    early_stop_patience: int = 0
    warm_start: Path | None = None
    logger: str = "tensorboard"
    log_every_steps: int = 50

    def __post_init__(self) -> None:
        for key in ("epochs", "devices", "nodes", "keep_best", "log_every_steps"):
            _require(f"trainer.{key}", getattr(self, key), getattr(self, key) >= 1, "at least 1")
        for key in ("gradient_clip", "threads", "save_every_steps", "early_stop_patience"):
            _require(f"trainer.{key}", getattr(self, key), getattr(self, key) >= 0, "at least 0")
        _require_choice("trainer.accelerator", self.accelerator, ("auto", "cpu", "gpu"))
        _require_choice("trainer.precision", self.precision, tuple(PRECISIONS))
        _require_choice("trainer.logger", self.logger, LOGGERS)


@dataclass(frozen=True)
class TrainConfig:
    """One member: a network, a recipe and a seed, trained on a store.

    Attributes:
        data: what is trained on.
        out: folder of the checkpoints and the log.
        seed: of initialization, shuffling and dropout.
        preset: hyperparameters of the network, ``"published"`` or ``"small"``.
        network: which network.
        recipe: inputs and loss.
        optimizer: how weights move.
        schedule: how the learning rate changes.
        trainer: how long, where and how exactly.
    """

    data: TrainDataConfig
    out: Path
    seed: int = 7
    preset: str = "published"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        _require("seed", self.seed, 0 <= self.seed < 2**31, "a number in 0..2^31-1")

    def resolved(self) -> dict[str, Any]:
        """Every setting as plain nested values (paths and URLs as text), for records."""
        return _plain(dataclasses.asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    # A text of another class, such as a URL, would need its class to be read from a checkpoint.
    return str(value) if isinstance(value, str | Path) else value
