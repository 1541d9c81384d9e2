"""What exported files say about themselves: the part of ``metadata.json`` that is read back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TypeAlias

from climsim.constants import N_LEVELS, TIME_STEP
from climsim.errors import ClimSimError
from climsim.interfaces import INTERFACES, V2, Interface
from climsim.processes import EMULATED_ATTRIBUTE, as_attribute, read_processes
from climsim.validation import whole
from climsim.variables import TARGETS

_log = logging.getLogger(__name__)
Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | int | bool | None"

Settings: TypeAlias = Mapping[str, object]
"""Resolved settings, by key."""
FORMAT = 1
"""Number of the format of ``metadata.json``; a file made elsewhere needs none."""
_NEEDED = ("door", "confidence", "n_levels", "n_inputs", "n_outputs")


def setting(values: Settings, key: str) -> object:
    """Value of a dotted key of nested settings; None where there is none."""
    found: object = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def flatten(value: object, prefix: str = "") -> dict[str, object]:
    """Turn nested dictionaries into one with dotted keys; an inner empty one stays a value."""
    if not isinstance(value, dict) or (prefix and not value):
        return {prefix.removesuffix("."): value}
    result: dict[str, object] = {}
    for key, child in value.items():
        result |= flatten(child, f"{prefix}{key}.")
    return result


@dataclass(frozen=True)
class LossCard:
    """The loss in whose units confidences are.

    Attributes:
        name: of the elementwise loss.
        delta: threshold of the Huber loss, in scaled units.
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
        emulated_processes: that the model replaces, empty where unknown.
        loss: of the confidences, None where unknown.
        training: of the model, or what the trainings of all its members share.
        members: the single trainings of a file that this package wrote.
    """

    interface: Interface = V2
    n_levels: int = N_LEVELS
    confidence: bool = False
    time_step: float | None = None
    emulated_processes: frozenset[str] = frozenset()
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
    def named_by(self) -> TrainingCard:
        """Training that names the model: its own, with seed -1 for the mean of several."""
        return self.training if len(self.members) <= 1 else replace(self.training, seed=-1)

    @property
    def trainings(self) -> tuple[TrainingCard, ...]:
        """What the wall time of the training is the sum of."""
        known = self.training.hours is not None or not self.members
        return (self.training,) if known else self.members

    def compare_time_step(self, whose: str, time_step: float) -> None:
        """Warn of a model whose data had another physics time step than what it meets.

        Args:
            whose: the host or the data that it meets, in words.
            time_step: of these [s].
        """
        if self.time_step is not None and self.time_step != time_step:
            _log.warning(
                "the model was trained on steps of %g s, %s has steps of %g s: its tendencies are "
                "averages over its own step, and it splits liquid and ice for that step",
                self.time_step,
                whose,
                time_step,
            )

    @classmethod
    def from_json(cls, values: Mapping[str, Json], where: str) -> ModelCard:
        """Read what `to_json` wrote.

        Args:
            values: content of ``metadata.json``.
            where: the file, for errors.

        Raises:
            ClimSimError: if a needed key is missing, the interface or a process is unknown, or the
                format is a later one.
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
            emulated_processes=read_processes(values.get(EMULATED_ATTRIBUTE), where),
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
            **as_attribute(self.emulated_processes),
            **self.training.to_json(),
            "members": [member.to_json() for member in self.members],
        }
        if self.loss is not None:
            written["loss"] = {**asdict(self.loss), "scale": list(self.loss.scale)}
        return written


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
