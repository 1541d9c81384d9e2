"""The registry of architectures, and the one function that builds a network.

Every module of `climsim.networks.architectures` is imported at the first look-up, and each
registers its class; adding a network is adding a file there.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from climsim.constants import N_LEVELS
from climsim.errors import ClimSimError, unknown_name
from climsim.networks.network import Body, ConfidentNetwork, Layout, Network
from climsim.variables import EXPANDED, STANDARD

_Body = TypeVar("_Body", bound=Body)
ENCODINGS = ("standard", "multirep", "expanded")
"""Encodings of the inputs a network can be built for."""
PUBLISHED = "published"
"""Preset with the published hyperparameters: the defaults of every architecture."""


@dataclass(frozen=True)
class Architecture:
    """An entry of the registry.

    Attributes:
        name: published name, used everywhere.
        body: class of the body; takes a `Layout` and hyperparameters by keyword.
        presets: named hyperparameters that differ from the defaults.
    """

    name: str
    body: type[Body]
    presets: Mapping[str, Mapping[str, Any]]

    def hyperparameters(self) -> dict[str, Any]:
        """Every hyperparameter with its default."""
        parameters = inspect.signature(self.body).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def resolve(self, preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Hyperparameters in force: defaults, then the preset, then what is given.

        Raises:
            ClimSimError: if the preset or a hyperparameter is unknown.
        """
        if preset not in self.presets:
            raise unknown_name(f"preset of the network {self.name}", preset, self.presets)
        defaults = self.hyperparameters()
        for key in given:
            if key not in defaults:
                raise unknown_name(f"hyperparameter of the network {self.name}", key, defaults)
        return {**defaults, **self.presets[preset], **given}


_ARCHITECTURES: dict[str, Architecture] = {}


def register(name: str, **presets: Mapping[str, Any]) -> Callable[[type[_Body]], type[_Body]]:
    """Register a body under a name (class decorator).

    Args:
        name: the name users type.
        **presets: hyperparameters of each named preset; ``published`` always exists.

    Raises:
        ClimSimError: if the name is taken.
    """

    def decorate(body: type[_Body]) -> type[_Body]:
        if name in _ARCHITECTURES:
            raise ClimSimError(
                f"network {name!r}: registered twice, by {_ARCHITECTURES[name].body.__module__} "
                f"and {body.__module__}: give one of them another name"
            )
        _ARCHITECTURES[name] = Architecture(name, body, {PUBLISHED: {}, **presets})
        return body

    return decorate


@cache
def _discover() -> None:
    package = importlib.import_module("climsim.networks.architectures")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def network_names() -> tuple[str, ...]:
    """Names of all networks, sorted."""
    _discover()
    return tuple(sorted(_ARCHITECTURES))


def architecture(name: str) -> Architecture:
    """Look an architecture up.

    Raises:
        ClimSimError: if the name is unknown; lists the known ones.
    """
    _discover()
    if name not in _ARCHITECTURES:
        raise unknown_name("network", name, _ARCHITECTURES)
    return _ARCHITECTURES[name]


def input_sizes(inputs: str) -> tuple[int, int]:
    """Profiles and scalars of an encoding of the inputs.

    Args:
        inputs: ``standard``, ``multirep`` (three encodings of the standard profiles;
            ``liq_partition`` has only one) or ``expanded``.

    Raises:
        ClimSimError: if the encoding is unknown.
    """
    if inputs not in ENCODINGS:
        raise unknown_name("inputs", inputs, ENCODINGS)
    if inputs == "expanded":
        return len(EXPANDED.profiles), len(EXPANDED.scalars)
    standard = len(STANDARD.profiles)
    return standard + 2 * (standard - 1) * (inputs == "multirep"), len(STANDARD.scalars)


def build_network(
    name: str,
    inputs: str = "standard",
    confidence: bool = False,
    preset: str = PUBLISHED,
    n_levels: int = N_LEVELS,
    **hyperparameters: Any,
) -> Network:
    """Build a network with fresh weights.

    Args:
        name: a name of the registry, such as ``unet``.
        inputs: encoding of the inputs: ``standard``, ``multirep`` or ``expanded``.
        confidence: whether to add the confidence head.
        preset: ``published`` or ``small``.
        n_levels: levels of a profile.
        **hyperparameters: override those of the preset.

    Returns:
        A module from (column, feature) to (column, feature), or to a tuple of prediction and
        confidence.

    Raises:
        ClimSimError: if the name, the inputs, the preset or a hyperparameter is unknown.
    """
    entry = architecture(name)
    n_profiles, n_scalars = input_sizes(inputs)
    layout = Layout(n_profiles, n_scalars, n_levels, n_heads=2 if confidence else 1)
    resolved = entry.resolve(preset, hyperparameters)
    wrapper = ConfidentNetwork if confidence else Network
    network = wrapper(entry.body(layout, **resolved), layout)
    network.config = {
        "name": name,
        "inputs": inputs,
        "confidence": confidence,
        "n_levels": n_levels,
        **resolved,
    }
    return network
