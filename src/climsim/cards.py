"""What checkpoints and exported files say about themselves.

Of an exported file it is the part of its ``metadata.json`` that is read back, of a checkpoint its
entry ``climsim`` without the statistics, which are tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TypeAlias

import dacite

from climsim.constants import N_LEVELS, PRUNED_LEVELS, TIME_STEP
from climsim.errors import ClimSimError
from climsim.interfaces import INTERFACES, V2, Interface
from climsim.validation import as_number, whole
from climsim.variables import TARGETS

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | int | bool | None"

Settings: TypeAlias = Mapping[str, object]
"""Resolved settings, by key."""
CHECKPOINT_FORMAT = 1
"""Number of the format of the entry of a checkpoint."""
FORMAT = 1
"""Number of the format of ``metadata.json``; a file made elsewhere needs none."""
_NEEDED = ("door", "confidence", "n_levels", "n_inputs", "n_outputs")


def setting(values: Settings, key: str) -> object:
    """Value of a dotted key of nested settings; None where there is none."""
    found: object = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


@dataclass(frozen=True)
class LossCard:
    """The loss in whose units confidences are.

    Attributes:
        name: of the elementwise loss.
        delta: of Huber's loss, in scaled units.
        scale: (target feature,) factor to scaled targets, 0 where pruned.
    """

    name: str
    delta: float
    scale: tuple[float, ...]


@dataclass(frozen=True)
class TrainingCard:
    """One training: what was trained, and for how long.

    Attributes:
        network: name of the network, empty where unknown.
        recipe: name of the recipe, empty where unknown.
        seed: of initialization and shuffling, None where unknown.
        hours: wall hours, None where unknown.
        device: it ran on.
    """

    network: str = ""
    recipe: str = ""
    seed: int | None = None
    hours: float | None = None
    device: str = ""

    @classmethod
    def from_json(cls, values: Mapping[str, Json]) -> TrainingCard:
        """Read what `to_json` wrote."""
        seed, hours = values.get("seed"), values.get("training_hours")
        return cls(
            network=_name(values.get("network")),
            recipe=_name(values.get("recipe")),
            seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
            hours=float(hours) if isinstance(hours, (int, float)) else None,
            device=_name(values.get("training_device")),
        )

    def to_json(self) -> dict[str, Json]:
        """Plain values; what is not known is left out, but for recipe and seed."""
        known: dict[str, Json] = {"network": {"name": self.network}} if self.network else {}
        known |= {"recipe": self.recipe, "seed": self.seed}
        if self.hours is not None:
            known |= {"training_hours": self.hours, "training_device": self.device}
        return known


@dataclass(frozen=True)
class ModelCard:
    """What an exported file takes and gives, and how it came about.

    Attributes:
        interface: what the file takes and gives.
        n_levels: levels of a profile.
        confidence: whether the confidences of the targets follow the outputs.
        time_step: physics time step of the training data [s], None where unknown.
        loss: of the confidences, None where unknown.
        training: of the model, or what the trainings of all its members share.
        members: the single trainings of a file that this package wrote.
    """

    interface: Interface = V2
    n_levels: int = N_LEVELS
    confidence: bool = False
    time_step: float | None = None
    loss: LossCard | None = None
    training: TrainingCard = field(default_factory=TrainingCard)
    members: tuple[TrainingCard, ...] = ()

    @property
    def n_inputs(self) -> int:
        """Features in."""
        return self.interface.variables.size(self.n_levels)

    @property
    def n_outputs(self) -> int:
        """Features out, confidences included."""
        size = self.interface.outputs.size(self.n_levels)
        return size + TARGETS.size(self.n_levels) if self.confidence else size

    @property
    def trainings(self) -> tuple[TrainingCard, ...]:
        """What the wall time of the training is the sum of."""
        known = self.training.hours is not None or not self.members
        return (self.training,) if known else self.members

    @classmethod
    def from_json(cls, values: Mapping[str, Json], where: str) -> ModelCard:
        """Read what `to_json` wrote.

        Args:
            values: content of ``metadata.json``.
            where: the file, for errors.

        Raises:
            ClimSimError: if a needed key is missing, the interface is unknown, or the format is a
                later one.
        """
        missing = [key for key in _NEEDED if key not in values]
        if missing:
            raise ClimSimError(
                f"{where}: expected {', '.join(missing)} in metadata.json, found none: "
                "export it again"
            )
        if values.get("format", FORMAT) != FORMAT:
            raise ClimSimError(
                f"{where}: expected format {FORMAT} in metadata.json, found "
                f"{values['format']!r}: use the version of the package that wrote it"
            )
        interface = INTERFACES.get(str(values["door"]))
        if interface is None:
            raise ClimSimError(
                f"{where}: expected a model with the interface {' or '.join(INTERFACES)}, found "
                f"{values['door']!r}: export it again"
            )
        step, members = values.get("time_step_s"), values.get("members") or ()
        return cls(
            interface=interface,
            n_levels=_whole(values, "n_levels", where),
            confidence=bool(values["confidence"]),
            time_step=float(step) if isinstance(step, (int, float, str)) else None,
            loss=_loss(values.get("loss")),
            training=TrainingCard.from_json(values),
            members=tuple(TrainingCard.from_json(m) for m in members if isinstance(m, Mapping))
            if isinstance(members, Sequence)
            else (),
        )

    def to_json(self) -> dict[str, Json]:
        """Plain values for ``metadata.json``."""
        name = self.interface.name
        written: dict[str, Json] = {
            "format": FORMAT,
            "door": name,
            "variable_combination": f"{name}_conf" if self.confidence else name,
            "confidence": self.confidence,
            "n_levels": self.n_levels,
            "n_inputs": self.n_inputs,
            "n_outputs": self.n_outputs,
            "time_step_s": TIME_STEP if self.time_step is None else self.time_step,
            **self.training.to_json(),
            "members": [member.to_json() for member in self.members],
        }
        if self.loss is not None:
            written["loss"] = {**asdict(self.loss), "scale": list(self.loss.scale)}
        return written


@dataclass(frozen=True)
class NetworkCard:
    """What rebuilds a network.

    Attributes:
        name: of the network, or the reference to a user's.
        inputs: name of the encoding.
        confidence: whether it has a confidence head.
        n_levels: levels of a profile.
        hyperparameters: of the network itself.
        pruned_levels: top levels without moisture and wind tendencies in the prediction.
    """

    name: str
    inputs: str
    confidence: bool
    n_levels: int
    hyperparameters: Settings = field(default_factory=dict)
    pruned_levels: int = PRUNED_LEVELS

    @classmethod
    def from_json(cls, values: Settings) -> NetworkCard:
        """Read what `to_json` wrote.

        Raises:
            dacite.DaciteError: if something is missing or of another type.
        """
        known = {f.name for f in fields(cls)}
        further = {key: value for key, value in values.items() if key not in known}
        return dacite.from_dict(cls, {**values, "hyperparameters": further}, _PLAIN)

    def to_json(self) -> dict[str, Json]:
        """Plain values, the hyperparameters beside the others."""
        values = asdict(self)
        return values | values.pop("hyperparameters")


NO_CLOSURE, WATER, WATER_HEAT = "none", "water", "water_heat"
CLOSURES = (WATER, WATER_HEAT)
"""What a model closes in a column: water; water, with the heat of the vapour taken away."""


@dataclass(frozen=True)
class TransformsCard:
    """What, with their buffers, rebuilds the transforms.

    Attributes:
        kind: name of the encoding.
        n_levels: levels of a profile.
        bounded: whether inputs are clipped to the range of the training data.
        fill_to_zero: whether what is no number after normalization becomes 0.
        closure: what is closed in a column after the targets are physical, or `NO_CLOSURE`.
    """

    kind: str
    n_levels: int
    bounded: bool
    fill_to_zero: bool
    closure: str = NO_CLOSURE


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training was when it wrote a checkpoint, and what it took.

    Attributes:
        epoch: number of the epoch, from 0.
        batches: batches of the epoch that were done.
        step: optimizer steps.
        hours: wall hours over all processes that resumed.
        device: it ran on.
    """

    epoch: int
    batches: int
    step: int
    hours: float
    device: str


_PROGRESS = {
    "epoch": "epoch",
    "batches": "batches",
    "step": "step",
    "hours": "training_hours",
    "device": "training_device",
}
"""Key in a checkpoint of each field of `TrainingProgress`."""


@dataclass(frozen=True)
class CheckpointCard:
    """What a checkpoint is, and how it came about.

    Attributes:
        network: what rebuilds it.
        transforms: likewise.
        config: resolved configuration of the run that made it.
        provenance: version, revision and input hashes of that run.
        recipe: name of the recipe, empty where unknown.
        seed: of initialization and shuffling, None where unknown.
        statistics_hash: of the statistics that normalize, None where unknown.
        time_step_s: physics time step of the data [s], None where unknown.
        parameters: trainable parameters of the network, None where unknown.
        imported: whether the weights were trained elsewhere.
        validation_loss: of the weights, None where unknown.
        progress: of the training, None where the weights were not trained here.
    """

    network: NetworkCard
    transforms: TransformsCard
    config: Settings
    provenance: dict[str, str]
    recipe: str = ""
    seed: int | None = None
    statistics_hash: str | None = None
    time_step_s: float | None = None
    parameters: int | None = None
    imported: bool = False
    validation_loss: float | None = None
    progress: TrainingProgress | None = None

    @property
    def time_step(self) -> float:
        """Physics time step of the data [s]; that of the published data where it is not known."""
        return TIME_STEP if self.time_step_s is None else self.time_step_s

    @classmethod
    def from_json(cls, values: Settings, where: str) -> CheckpointCard:
        """Read what `to_json` wrote.

        Args:
            values: entry of a checkpoint.
            where: the file, for errors.

        Raises:
            ClimSimError: if the format is another one, or something is missing or of another type.
        """
        if values.get("format") != CHECKPOINT_FORMAT:
            raise ClimSimError(
                f"{where}: expected checkpoint format {CHECKPOINT_FORMAT}, found "
                f"{values.get('format')!r}: use the version of the package that wrote it"
            )
        progress = {name: values[key] for name, key in _PROGRESS.items() if key in values}
        try:
            card = dacite.from_dict(cls, {**values, "progress": progress or None}, _PLAIN)
        except dacite.DaciteError as error:
            raise ClimSimError(
                f"{where}: expected the description of a checkpoint, found another form ({error}): "
                "use another checkpoint"
            ) from error
        if min(card.network.n_levels, card.transforms.n_levels) < 1:
            raise ClimSimError(
                f"{where}: expected 1 or more levels, found fewer: use another checkpoint"
            )
        return card

    def to_json(self) -> dict[str, Json]:
        """Plain values for the entry; what is not known is left out, but for recipe and seed."""
        values = {
            name: value
            for name, value in asdict(self).items()
            if value is not None or name in ("seed", "validation_loss")
        }
        progress = values.pop("progress", {})
        return {
            "format": CHECKPOINT_FORMAT,
            **values,
            "network": self.network.to_json(),
            **{_PROGRESS[name]: value for name, value in progress.items()},
        }


def _network(value: object) -> object:
    return NetworkCard.from_json(value) if isinstance(value, Mapping) else value


def _name(value: Json) -> str:
    """A name, or that of a part that says more about itself."""
    if isinstance(value, Mapping):
        value = value.get("name")
    return value if isinstance(value, str) else ""


def _whole(values: Mapping[str, Json], key: str, where: str) -> int:
    value = values[key]
    whole(f"{where}: {key} in metadata.json", value, 1, "export it again")
    assert isinstance(value, int)
    return value


def _loss(value: Json) -> LossCard | None:
    known = value if isinstance(value, Mapping) else {}
    name, delta, scale = known.get("name"), known.get("delta"), known.get("scale")
    if not isinstance(scale, Sequence) or not isinstance(delta, (int, float)):
        return None
    factors = tuple(float(x) for x in scale if isinstance(x, (int, float)))
    return LossCard(str(name), float(delta), factors)


_PLAIN = dacite.Config(type_hooks={float: as_number, NetworkCard: _network})
"""Whole numbers count as numbers; hyperparameters stand beside what every network has."""
