"""The registry of architectures, and the one function that builds a network.

Every module of `climsim.networks.architectures` is imported at the first look-up, and each
registers its class; adding a network is adding a file there. A network of a user is named by its
file, ``path/to/file.py:Class``, or is an entry point of an installed package in the group
``climsim.networks``.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
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
from climsim.validation import TYPE_NAMES, as_number, refused, whole

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
            ClimSimError: if the preset or a hyperparameter is unknown, or one of another type; a
                size in a network of the package is at least 1.
        """
        if preset not in self.presets:
            raise unknown_name(f"preset of the network {self.name}", preset, self.presets)
        defaults = self.hyperparameters()
        types, least = self._types(), 1 if self.name in NETWORKS else None
        fitted = {}
        for key, value in given.items():
            if key not in defaults:
                raise unknown_name(f"hyperparameter of the network {self.name}", key, defaults)
            # A whole number may stand where a number is expected.
            fitted[key] = as_number(value) if types.get(key) is float else value
            _check_type(self.name, key, fitted[key], types.get(key), least)
        return {**defaults, **self.presets[preset], **fitted}

    def build(self, layout: Layout, hyperparameters: Mapping[str, object]) -> Body:
        """Build the body.

        Args:
            layout: sizes of inputs and outputs.
            hyperparameters: in force (see `resolve`).

        Raises:
            ClimSimError: if a network of the package cannot be built from them. Errors in code of a
                user are left as they are: they name its line.
        """
        try:
            return self.body(layout, **hyperparameters)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if self.name not in NETWORKS:
                raise
            values = ", ".join(f"{key}={value}" for key, value in hyperparameters.items())
            raise ClimSimError(
                f"network {self.name!r}: expected hyperparameters that fit together, found "
                f"{values} ({type(error).__name__}: {reason(error)}): change them"
            ) from error

    def _types(self) -> dict[str, object]:
        """Annotation of every hyperparameter; none where code of a user gives no readable ones."""
        try:
            return typing.get_type_hints(self.body.__init__)
        except (NameError, TypeError, AttributeError):
            return {}


def _check_type(network: str, key: str, value: object, hint: object, least: int | None) -> None:
    """Refuse a plain value, or a list of them, of another type; all that is not plain passes."""
    where = f"hyperparameter {key} of the network {network}"
    if typing.get_origin(hint) is Sequence:
        (hint,) = typing.get_args(hint)
        if not isinstance(value, list | tuple):
            raise refused(where, f"list of {TYPE_NAMES.get(hint, 'values')}", value)
        for index, part in enumerate(value):
            _check_type(network, f"{key}[{index}]", part, hint, least)
        return
    plain = as_number(value) if hint is float else value
    if hint in TYPE_NAMES and type(plain) is not hint:
        raise refused(where, TYPE_NAMES[hint], value)
    if hint is int and least is not None:
        whole(where, value, least)


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
    layout = _layout(inputs, confidence, n_levels)
    resolved = entry.resolve(preset, hyperparameters)
    wrapper = ConfidentNetwork if confidence else Network
    body = entry.build(layout, resolved)
    if name not in NETWORKS:
        _check_body(name, body, layout)
    network = wrapper(body, layout, pruned_levels, encoding(inputs).targets)
    network.config = {
        "name": absolute_reference(name),
        "inputs": inputs,
        "confidence": confidence,
        "n_levels": n_levels,
        "pruned_levels": pruned_levels,
        **resolved,
    }
    return network


def check_network(
    name: str, inputs: str, confidence: bool, preset: str, hyperparameters: Mapping[str, object]
) -> None:
    """Refuse what `build_network` would refuse, as far as it is known without data and weights.

    A network of the package is built without memory for its weights, which takes milliseconds;
    one of a user is only looked up, as its code may need the number of levels of the data.

    Args:
        name: as for `build_network`, like all others.
        inputs: encoding of the inputs.
        confidence: whether there is a confidence head.
        preset: named hyperparameters.
        hyperparameters: that override those of the preset.

    Raises:
        ClimSimError: for an unknown name, or hyperparameters that the network does not take.
    """
    entry = NETWORKS.find(name)
    layout, resolved = _layout(inputs, confidence, N_LEVELS), entry.resolve(preset, hyperparameters)
    if name in NETWORKS:
        with torch.device("meta"):
            entry.build(layout, resolved)


def _layout(inputs: str, confidence: bool, n_levels: int) -> Layout:
    """Sizes of what a network gets and gives."""
    seen = encoding(inputs)
    sizes = len(seen.targets.profiles), len(seen.targets.scalars)
    heads = 2 if confidence else 1
    return Layout(seen.profiles, seen.scalars, n_levels, *sizes, n_heads=heads)


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
