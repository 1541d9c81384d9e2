"""Configuration of a training run: plain, frozen, validated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from climsim.checkpoint_cards import CLOSURES, NO_CLOSURE, WATER_SATURATED
from climsim.constants import GRAVITY
from climsim.data.store.address import StoreAddress
from climsim.devices import AUTO, check_device
from climsim.interfaces import ENCODINGS
from climsim.names import check_name
from climsim.plugins import absolute_reference, is_reference
from climsim.precisions import BFLOAT16, FLOAT16, FLOAT32, FORMER_PRECISIONS
from climsim.pruning import PruningConfig
from climsim.stage import Stage
from climsim.training.schedules import SCHEDULES
from climsim.training.stages import TRAIN
from climsim.validation import Checks, require
from climsim.variables import TARGETS

PRECISIONS = {FLOAT32: "32-true", BFLOAT16: "bf16-mixed", FLOAT16: "16-mixed"}
"""Precisions of the network, and what Lightning calls them; transforms stay in float32."""
NOISE_SCHEDULES = ("constant", "linear", "cosine")
_AMPLITUDES = ("temperature", "humidity", "cloud", "wind", "forcing", "memory")
"""Keys of noise by group of inputs."""
LOGGERS = ("tensorboard", "wandb", "mlflow", "none")


@dataclass(frozen=True)
class NetworkConfig:
    """Which network.

    Attributes:
        name: name in the registry, or ``path/to/file.py:Class``.
        hyperparameters: those that differ from the preset.
    """

    name: str = "unet"
    hyperparameters: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_reference(self.name):
            check_name(self.name, "network.name")
        object.__setattr__(self, "name", absolute_reference(self.name))


@dataclass(frozen=True)
class NoiseConfig:
    """Noise on the inputs of training, in standard deviations of each input and level.

    Attributes:
        temperature: amplitude on the temperature.
        humidity: on the humidity.
        cloud: on condensate, liquid and ice.
        wind: on both winds.
        forcing: on the large-scale forcing of this and earlier steps.
        memory: on the physics tendencies of earlier steps.
        schedule: how the amplitudes change: ``"constant"``, ``"linear"`` or ``"cosine"``.
        decay_epochs: epochs (fractions allowed) after which the last two have arrived at ``floor``.
        floor: share of the amplitudes that stays.
    """

    temperature: float = 0.0
    humidity: float = 0.0
    cloud: float = 0.0
    wind: float = 0.0
    forcing: float = 0.0
    memory: float = 0.0
    schedule: str = "constant"
    decay_epochs: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        check = Checks(self, "recipe.noise")
        check.at_least(0, *_AMPLITUDES)
        check.one_of(NOISE_SCHEDULES, "schedule")
        check.positive("decay_epochs")
        check.between(0, 1, "floor")

    @property
    def present(self) -> bool:
        """Whether there is any."""
        amplitudes = (self.temperature, self.humidity, self.cloud, self.wind)
        return any((*amplitudes, self.forcing, self.memory))


@dataclass(frozen=True)
class RecipeConfig:
    """What the network sees and what it is trained for.

    Attributes:
        name: name of the recipe.
        inputs: ``"standard"`` (published as v2_rh_mc), ``"multirep"``, ``"expanded"`` (v6), or one
            of the other published sets: ``"v1"``, ``"v2"``, ``"v2_rh"``, ``"v3"``, ``"v4"``,
            ``"v5"``, ``"v7"``.
        loss: elementwise loss under every term: a name, or ``path/to/file.py:function``.
        delta: threshold of the Huber loss, in scaled units.
        difference: whether to add the loss of vertical differences.
        confidence: whether to train a confidence head.
        closure: budget that the model closes in every column: ``"none"``, ``"water"``,
            ``"water_heat"``, which also warms where it takes vapour away, ``"water_cloud"``,
            which also borrows condensate within the column for levels that would be left with less
            than none, or ``"water_saturated"``, which also condenses what vapour would be left
            above saturation.
        gravity: of the model that produced the data, for the mass of layers in the closure [m s-2].
        noise: on the inputs, in training only.
    """

    name: str = "standard"
    inputs: str = "standard"
    loss: str = "huber"
    delta: float = 1.0
    difference: bool = False
    confidence: bool = False
    closure: str = NO_CLOSURE
    gravity: float = GRAVITY
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def __post_init__(self) -> None:
        check_name(self.name, "recipe.name")
        check = Checks(self, "recipe")
        check.one_of(ENCODINGS, "inputs")
        check.positive("delta", "gravity")
        check.one_of((NO_CLOSURE, *CLOSURES), "closure")
        require(
            "recipe.closure",
            self.closure,
            self.closure == NO_CLOSURE or ENCODINGS[self.inputs].predicts_all_water,
            f"{NO_CLOSURE} with recipe.inputs={self.inputs}",
            "its targets hold no cloud water",
        )
        require(
            "recipe.closure",
            self.closure,
            self.closure != WATER_SATURATED or ENCODINGS[self.inputs].knows_saturation,
            f"another closure with recipe.inputs={self.inputs}",
            "they hold no relative humidity, or the targets no total condensate",
        )
        require(
            "recipe.confidence",
            self.confidence,
            not self.confidence or ENCODINGS[self.inputs].targets is TARGETS,
            f"false with recipe.inputs={self.inputs}",
            "a climate model takes confidences of liquid and ice together only",
        )
        object.__setattr__(self, "loss", absolute_reference(self.loss))


@dataclass(frozen=True)
class TrainDataConfig:
    """What is trained on.

    Attributes:
        store: prepared store: a folder, or a URL that fsspec reads.
        statistics: file of statistics, or folder of those published with ClimSim; computed from the
            training split if not given.
        foreign_statistics: whether the statistics may be those of another store, as those of the
            weather alone where the store also holds states that a model visited.
        batch_size: columns in a batch, per process.
        clip_margin: if given, physical inputs are moved into the training range widened by this
            share of it on each side, in training and in the exported model; none lets all through.
        prefetch: batches read ahead by a thread.
        gpu_share: share of the memory of a GPU up to which the data are kept there whole, so that
            no batch has to be transferred; 0 transfers every batch from the store.
    """

    store: StoreAddress
    statistics: Path | None = None
    foreign_statistics: bool = False
    batch_size: int = 1024
    clip_margin: float | None = None
    prefetch: int = 4
    gpu_share: float = 0.4

    def __post_init__(self) -> None:
        check = Checks(self, "data")
        check.whole("batch_size", least=1)
        check.whole("prefetch")
        check.between(0, 1, "gpu_share")
        check.at_least(0, "clip_margin")
        require(
            "data.foreign_statistics",
            self.foreign_statistics,
            not self.foreign_statistics or self.statistics is not None,
            "false without data.statistics",
        )


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights move.

    Attributes:
        name: ``"adamw"``, ``"adam"``, ``"soap"``, or ``path/to/file.py:function`` of parameters
            and these settings.
        learning_rate: before the schedule.
        weight_decay: decoupled; under ``adam`` added to the gradient, and 0 in ``optimizer=adam``.
        betas: decay of the moments; none for the optimizer's own.
        precondition_every: steps between SOAP's updates of its preconditioner.
    """

    name: str = "adamw"
    learning_rate: float = 1.0e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] | None = None
    precondition_every: int = 10

    def __post_init__(self) -> None:
        check = Checks(self, "optimizer")
        check.positive("learning_rate")
        check.at_least(0, "weight_decay")
        check.whole("precondition_every", least=1)
        betas = self.betas
        holds = betas is None or (len(betas) == 2 and all(0 <= beta < 1 for beta in betas))
        require("optimizer.betas", betas, holds, "null or two numbers in [0, 1)")
        object.__setattr__(self, "name", absolute_reference(self.name))


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes.

    Attributes:
        name: ``"step"`` (published), ``"constant"``, ``"cosine"``, ``"warmup_cosine"``,
            ``"cosine_annealing"``, ``"plateau"``, or ``path/to/file.py:Class``.
        factor: by which step and plateau multiply.
        every_epochs: epochs between steps.
        warmup_epochs: epochs (fractions allowed) of linear rise under ``warmup_cosine``.
        floor: share of the learning rate at the end of a cosine, and the least under plateau.
        patience: epochs without improvement before plateau acts.
        threshold: share by which a loss must lie below the best to be an improvement to plateau.
        t_max: epochs in which ``cosine_annealing`` goes from the highest to the lowest rate; it
            then rises again.
        eta_min: lowest learning rate of ``cosine_annealing``.
    """

    name: str = "step"
    factor: float = 0.05
    every_epochs: int = 3
    warmup_epochs: float = 1.0
    floor: float = 0.0
    patience: int = 2
    threshold: float = 1.0e-4
    t_max: int = 2
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        check = Checks(self, "schedule")
        if not is_reference(self.name):
            check.one_of(SCHEDULES.names(), "name")
        object.__setattr__(self, "name", absolute_reference(self.name))
        check.whole("every_epochs", "t_max", least=1)
        check.whole("patience")
        check.at_least(0, "warmup_epochs", "threshold", "eta_min")
        require("schedule.factor", self.factor, 0 < self.factor <= 1, "a number in (0, 1]")
        require("schedule.floor", self.floor, 0 <= self.floor < 1, "a number in [0, 1)")


@dataclass(frozen=True)
class TrainerConfig:
    """How long, where and how exactly.

    Attributes:
        epochs: passes over the training split.
        devices: devices (processes) per node.
        nodes: nodes.
        accelerator: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        precision: ``"float32"``, ``"bfloat16"`` or ``"float16"`` (the last two mixed), or
            ``"auto"``: float32 on a CPU, on a GPU what was measured to be fastest for the network.
        tf32: whether float32 products on a GPU (matrices, convolutions, LSTMs) may use TF32.
        gradient_clip: largest norm of the gradient; 0 for no limit.
        compile: whether to compile the network; falls back to eager where that fails. None: on a
            GPU where it was measured to be faster.
        threads: torch threads; 0 for torch's own choice.
        keep_best: checkpoints kept, by validation loss.
        save_every_steps: steps between checkpoints to resume from; 0 for epoch ends only.
        early_stop_patience: epochs without improvement before training ends; 0 for never.
        early_stop_step: last batch of an epoch, counted from 0, in training and in validation, as
            published; 0 or less for all of them.
        warm_start: checkpoint whose weights training starts from.
        logger: ``"tensorboard"``, ``"wandb"``, ``"mlflow"`` or ``"none"``.
        log_every_steps: steps between log entries.
    """

    epochs: int = 12
    devices: int = 1
    nodes: int = 1
    accelerator: str = AUTO
    precision: str = AUTO
    tf32: bool = True
    gradient_clip: float = 0.0
    compile: bool | None = None
    threads: int = 0
    keep_best: int = 15
    save_every_steps: int = 500
    early_stop_patience: int = 0
    early_stop_step: int = -1
    warm_start: Path | None = None
    logger: str = "tensorboard"
    log_every_steps: int = 50

    def __post_init__(self) -> None:
        check = Checks(self, "trainer")
        check.whole("epochs", "devices", "nodes", "keep_best", "log_every_steps", least=1)
        check.whole("threads", "save_every_steps", "early_stop_patience")
        check.whole("early_stop_step", least=-1)
        check.at_least(0, "gradient_clip")
        check_device(check.key("accelerator"), self.accelerator)
        check.one_of((AUTO, *PRECISIONS), "precision", renamed=FORMER_PRECISIONS)
        check.one_of(LOGGERS, "logger")


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
        pruning: what is zero near the model top, and how inputs are clipped.
        stage: that such a configuration is of.
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
    pruning: PruningConfig = field(default_factory=PruningConfig)
    stage: ClassVar[Stage] = TRAIN

    def __post_init__(self) -> None:
        Checks(self).whole("seed")
        require("seed", self.seed, self.seed < 2**31, "a whole number below 2^31")
        # Here, not above: networks load torch, and help on the keys does without.
        from climsim.training.choices import check_choices

        check_choices(self)

    @property
    def further_files(self) -> Mapping[str, Path]:
        """Files that it reads beside store, statistics, warm start and code, by their keys."""
        return {}

    def resolved(self) -> dict[str, object]:
        """Every setting as plain nested values (paths and URLs as text), for records."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    # A text of another class, such as a URL, would need its class to be read from a checkpoint.
    return str(value) if isinstance(value, str | Path) else value
