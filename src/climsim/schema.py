"""Shipped configurations for Hydra: keys and defaults from the dataclasses, choices from files.

A dataclass is the only place that states a key and its default. What Hydra composes is made from
there, as plain values: the frozen dataclasses have tuples, paths and URLs, which are built after
composition (`climsim.configuration.build_config`). Files in ``climsim.conf`` hold choices only,
each what it changes: networks, recipes, optimizers, hosts, experiments. Where one names a key of
an open dictionary, as those of a host do, ``${default:module:Class}`` takes its default from there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import Node, OmegaConf

from climsim.errors import unknown_name
from climsim.keys import MISSING, Hint, Values, has_default, hints, nested
from climsim.overrides import OPTIONS_OF, split_values
from climsim.stages import STAGES, load

CONFIG_MODULE = "climsim.conf"
EXPERIMENT = "experiment"
_REFERENCE = re.compile(r"\$\{default:([\w.:]+)\}")


@dataclass(frozen=True)
class Schema:
    """A configuration that can be composed.

    Attributes:
        name: of the stage, or `EXPERIMENT`.
        command: words of the command that it configures.
        config: ``module:name`` of its dataclass.
        choices: groups of files in ``climsim.conf``, and the default choice of each.
    """

    name: str
    command: str
    config: str
    choices: Mapping[str, str]

    @property
    def cls(self) -> type:
        """The dataclass."""
        found: type = load(self.config)
        return found

    def register(self) -> None:
        """Make the configuration known to Hydra, under its name."""
        OmegaConf.register_new_resolver("default", _default_of_key, replace=True)
        # Later ones win: a choice replaces what the dataclass says.
        groups = [{group: choice} for group, choice in self.choices.items()]
        node = {"defaults": ["_self_", *groups], **defaults(self.cls)}
        ConfigStore.instance().store(name=self.name, node=node)

    def choices_of_groups(self) -> dict[str, list[str]]:
        """For each group, such as ``"network"``, the names of its shipped files."""
        root = resources.files(CONFIG_MODULE)
        return {
            group: sorted(file.name.removesuffix(".yaml") for file in (root / group).iterdir())
            for group in self.choices
        }

    def further_keys(self, overrides: Sequence[str] = ()) -> list[str]:
        """Options of what is chosen whether its file names them or not, as dotted keys.

        Args:
            overrides: as given, among which a choice may be; else the default ones count.
        """
        found = (
            f"{options}.{field}"
            for options, classes in self.option_classes(overrides).items()
            for cls in classes
            for field in hints(cls)
        )
        return list(dict.fromkeys(found))

    def option_classes(self, overrides: Sequence[str] = ()) -> dict[str, tuple[type, ...]]:
        """For each key of options, such as ``host_options``, the classes of what is chosen.

        Args:
            overrides: as given, among which a choice may be; else the default ones count.
        """
        given = dict(text.partition("=")[::2] for text in overrides)
        return {
            options: tuple(
                cls
                for choice in split_values(given.get(group, self.choices[group]))
                for cls in option_classes(group, choice)
            )
            for group, options in OPTIONS_OF.items()
            if group in self.choices
        }


SCHEMAS = {
    EXPERIMENT: Schema(
        EXPERIMENT,
        EXPERIMENT,
        "climsim.workflow.config:ExperimentConfig",
        {"slurm": "default", "experiment": "demo"},
    ),
    **{s.name: Schema(s.name, s.command, s.config, s.choices) for s in STAGES},
}


def option_classes(group: str, choice: str) -> tuple[type, ...]:
    """Classes of the options of a choice: those that its shipped file takes defaults from.

    Args:
        group: such as ``"host"``.
        choice: name of a file of the group; any other, such as code of a user, has none.
    """
    file = resources.files(CONFIG_MODULE) / group / f"{choice}.yaml"
    text = file.read_text() if file.is_file() else ""
    return tuple(load(reference) for reference in dict.fromkeys(_REFERENCE.findall(text)))


def stands_alone(cls: type) -> bool:
    """Whether a class of options holds nothing else, so that they alone build it."""
    return all(has_default(field) for field in dataclasses.fields(cls))


def defaults(cls: type) -> Values:
    """Plain nested values of a configuration, ``???`` for those the user must give."""
    known = hints(cls)
    return {field.name: _default(field, known[field.name]) for field in dataclasses.fields(cls)}


def _default_of_key(reference: str, *, _node_: Node) -> object:
    """What ``${default:module:Class}`` stands for: the default that the class has for the key."""
    return defaults(load(reference))[str(_node_._key())]


def _default(field: dataclasses.Field[object], hint: Hint) -> object:
    inner = nested(hint)
    if inner is not None and field.default is dataclasses.MISSING:
        return defaults(inner)
    if field.default is not dataclasses.MISSING:
        return _plain(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _plain(field.default_factory())
    return MISSING


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def schema(name: str) -> Schema:
    """The configuration of that name.

    Raises:
        ClimSimError: if there is none.
    """
    if name not in SCHEMAS:
        raise unknown_name("configuration", name, SCHEMAS)
    return SCHEMAS[name]
