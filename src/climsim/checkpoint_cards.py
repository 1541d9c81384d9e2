"""What checkpoints say about themselves: their entry ``climsim`` without the statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

import dacite

from climsim.cards import Json, Settings
from climsim.constants import PRUNED_LEVELS, TIME_STEP
from climsim.errors import ClimSimError
from climsim.processes import EMULATED_ATTRIBUTE, as_attribute, read_processes
from climsim.validation import as_number

CHECKPOINT_FORMAT = 1
"""Number of the format of the entry of a checkpoint."""


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


NO_CLOSURE, WATER, WATER_HEAT, WATER_CLOUD = "none", "water", "water_heat", "water_cloud"
WATER_SATURATED = "water_saturated"
CLOSURES = (WATER, WATER_HEAT, WATER_CLOUD, WATER_SATURATED)
"""What a model closes in a column.

Water; water, with the heat of the vapour taken away; water, with condensate never negative; water,
with vapour above saturation condensed.
"""


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
        emulated_processes: that the model replaces, empty where unknown.
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
    emulated_processes: frozenset[str] = frozenset()
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
            ClimSimError: if the format is another one, a process is unknown, or something is
                missing or of another type.
        """
        if values.get("format") != CHECKPOINT_FORMAT:
            raise ClimSimError(
                f"{where}: expected checkpoint format {CHECKPOINT_FORMAT}, found "
                f"{values.get('format')!r}: use the version of the package that wrote it"
            )
        progress = {name: values[key] for name, key in _PROGRESS.items() if key in values}
        processes = read_processes(values.get(EMULATED_ATTRIBUTE), where)
        known = {**values, "progress": progress or None, EMULATED_ATTRIBUTE: processes}
        try:
            card = dacite.from_dict(cls, known, _PLAIN)
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
        values |= as_attribute(values.pop(EMULATED_ATTRIBUTE))
        return {
            "format": CHECKPOINT_FORMAT,
            **values,
            "network": self.network.to_json(),
            **{_PROGRESS[name]: value for name, value in progress.items()},
        }


def _network(value: object) -> object:
    return NetworkCard.from_json(value) if isinstance(value, Mapping) else value


_PLAIN = dacite.Config(type_hooks={float: as_number, NetworkCard: _network})
"""Whole numbers count as numbers; hyperparameters stand beside what every network has."""
