"""The registry of architectures, and the one function that builds a network.

Every module of `climsim.networks.architectures` is imported at the first look-up, and each
registers its class; adding a network is adding a file there. A network of a user is named by its
file, ``path/to/file.py:Class``, or is an entry point of an installed package in the group
``climsim.networks``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from climsim.constants import N_LEVELS, PRUNED_LEVELS
from climsim.errors import ClimSimError, unknown_name
from climsim.interfaces import encoding
from climsim.networks.network import Body, ConfidentNetwork, Layout, Network
from climsim.plugins import absolute_reference, reason
from climsim.registry import Registry

_Body = TypeVar("_Body", bound=Body)
PUBLISHED = "published"
"""Preset with the published hyperparameters: the defaults of every architecture."""
SMALL = "small"
"""Preset that trains in minutes."""


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
    presets: Mapping[str, Mapping[str, object]]

    def hyperparameters(self) -> dict[str, object]:
        """Every hyperparameter with its default."""
        parameters = inspect.signature(self.body).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def resolve(self, preset: str, given: Mapping[str, object]) -> dict[str, object]:
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


def _of_user(name: str, body: object) -> Architecture:
    """The entry of a class that a user brings, with the presets it was registered with, if any."""
    if not (isinstance(body, type) and issubclass(body, Body)):
        raise ClimSimError(
            f"network {name!r}: expected a subclass of climsim.networks.Body, found "
            f"{getattr(body, '__name__', body)!r}: derive the class from Body"
        )
    registered = (a.presets for a in NETWORKS.shipped().values() if a.body is body)
    # One that was registered without presets has one size, which stands for both.
    presets = {SMALL: {}, **next(registered, {PUBLISHED: {}})}
    return Architecture(name, body, presets)


NETWORKS: Registry[Architecture] = Registry(
    "network",
    package="climsim.networks.architectures",
    entry_points="climsim.networks",
    adapt=_of_user,
)
"""Every network, by the name that users type."""


def register(name: str, **presets: Mapping[str, object]) -> Callable[[type[_Body]], type[_Body]]:
    """Register a body under a name (class decorator).

    Args:
        name: the name users type.
        **presets: hyperparameters of each named preset; ``published`` always exists.

    Raises:
        ClimSimError: if the name is taken.
    """

    def decorate(body: type[_Body]) -> type[_Body]:
        entry = Architecture(name, body, {PUBLISHED: {}, **presets})
        NETWORKS.add(name, entry, body.__module__)
        return body

    return decorate


def build_network(
    name: str,
    inputs: str = "standard",
    confidence: bool = False,
    preset: str = PUBLISHED,
    n_levels: int = N_LEVELS,
    pruned_levels: int = PRUNED_LEVELS,
    **hyperparameters: object,
) -> Network:
    """Build a network with fresh weights.

    Args:
        name: a name of the registry, such as ``unet``, or ``path/to/file.py:Class``.
        inputs: encoding of the inputs: ``standard``, ``multirep`` or ``expanded``.
        confidence: whether to add the confidence head.
        preset: ``published`` or ``small``.
        n_levels: levels of a profile.
        pruned_levels: top levels without moisture and wind tendencies in the prediction.
        **hyperparameters: override those of the preset.

    Returns:
        A module from (column, feature) to (column, feature), or to a tuple of prediction and
        confidence.

    Raises:
        ClimSimError: if the name, the inputs, the preset or a hyperparameter is unknown.
    """
    entry = NETWORKS.find(name)
    seen = encoding(inputs)
    heads = 2 if confidence else 1
    targets = seen.targets
    sizes = len(targets.profiles), len(targets.scalars)
    layout = Layout(seen.profiles, seen.scalars, n_levels, *sizes, n_heads=heads)
    resolved = entry.resolve(preset, hyperparameters)
    wrapper = ConfidentNetwork if confidence else Network
    body = entry.body(layout, **resolved)
    if name not in NETWORKS:
        _check_body(name, body, layout)
    network = wrapper(body, layout, pruned_levels, targets)
    network.config = {
        "name": absolute_reference(name),
        "inputs": inputs,
        "confidence": confidence,
        "n_levels": n_levels,
        "pruned_levels": pruned_levels,
        **resolved,
    }
    return network


def _check_body(name: str, body: nn.Module, layout: Layout) -> None:
    """Try the body of a user's network before anything is trained: shapes and TorchScript.

    Raises:
        ClimSimError: if it fails, gives other shapes than the layout says, or does not compile.
    """
    x = torch.zeros(2, layout.n_levels, layout.n_channels)
    profiles = (2, layout.n_heads, layout.n_profile_targets, layout.n_levels)
    expected = (profiles, (2, layout.n_heads, layout.n_scalar_targets))
    training = body.training
    try:
        with torch.no_grad():
            output = body.eval()(x)
        found = tuple(tuple(part.shape) for part in output)
    except (Exception, SystemExit) as error:
        raise _refused(name, f"forward on an input of shape {tuple(x.shape)}", error) from error
    if found != expected:
        raise ClimSimError(
            f"network {name!r}: expected profiles (column, head, feature, level) and scalars "
            f"(column, head, feature) of shapes {expected} for 2 columns, found {found}: "
            "fix its forward"
        )
    try:
        torch.jit.script(body)
    except (Exception, SystemExit) as error:
        raise _refused(name, "a forward that compiles with torch.jit.script", error) from error
    body.train(training)


def _refused(name: str, expected: str, error: BaseException) -> ClimSimError:
    return ClimSimError(
        f"network {name!r}: expected {expected}, found {type(error).__name__}: {reason(error)}: "
        "fix its forward"
    )
