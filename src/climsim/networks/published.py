"""Loading published checkpoints: names mapped, every misfit reported, no code unpickled.

A ``.mdlus`` file is a tar archive (zip in newer releases) that holds ``args.json`` and a
``model.pt`` state dict; a plain state dict is accepted too.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from climsim.errors import ClimSimError
from climsim.integrity import check_zip
from climsim.interfaces import ENCODINGS
from climsim.networks.network import Network
from climsim.networks.registry import NETWORKS, build_network
from climsim.system import refusal

_MEMBER = "model.pt"
_WRAPPERS = ("module.", "model.", "_orig_mod.")
"""Prefixes that data-parallel, training and compiling wrappers put before every name."""

_UNREADABLE = (
    pickle.UnpicklingError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint file without running code from it.

    Args:
        path: a ``.mdlus`` archive (tar or zip) or a file written by `torch.save`.

    Returns:
        Tensors on the CPU, by published name.

    Raises:
        ClimSimError: if the file is missing, holds no state dict, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ClimSimError(f"{path}: no such file: expected a .mdlus archive or a state dict")
    try:
        weights = _open_weights(path)
        if zipfile.is_zipfile(weights):
            check_zip(weights)
        weights.seek(0)
        loaded = torch.load(weights, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise refusal(error, path) or ClimSimError(
            f"{path}: expected a state dict of tensors, found something that cannot be read "
            f"safely ({reason}): save the model's state_dict() and import that"
        ) from error
    return _tensors(path, loaded)


def _open_weights(path: Path) -> io.BytesIO:
    """The bytes of the weights: the member of an archive, or the file itself."""
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                stream = archive.extractfile(member) if member.isfile() else None
                if Path(member.name).name == _MEMBER and stream is not None:
                    return io.BytesIO(stream.read())
            names = ", ".join(archive.getnames()[:8])
        raise ClimSimError(
            f"{path}: expected an archive with the file {_MEMBER} (no link), found {names}"
        )
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as package:
            for name in package.namelist():
                if Path(name).name == _MEMBER:
                    return io.BytesIO(package.read(name))
    return io.BytesIO(path.read_bytes())


def _tensors(path: Path, loaded: object) -> dict[str, Tensor]:
    """The state dict inside what was loaded, wrappers' prefixes removed."""
    for key in ("state_dict", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not loaded:
        raise ClimSimError(f"{path}: expected a state dict, found {type(loaded).__name__}")
    odd = [str(k) for k, v in loaded.items() if not isinstance(v, Tensor)]
    if odd:
        raise ClimSimError(f"{path}: expected only tensors, found other values at {', '.join(odd)}")
    state = {str(k): v for k, v in loaded.items()}
    for prefix in _WRAPPERS:
        if all(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
    return state


def published_names(network: Network) -> dict[str, tuple[str, ...]]:
    """The published names of every tensor of a network, by its own name (without ``body.``).

    A tensor with several published names is their concatenation along the first axis.
    """
    prefixes = network.body.published_prefixes()
    longest_first = sorted(prefixes, key=len, reverse=True)
    result = {}
    for name in network.body.state_dict():
        prefix = next((p for p in longest_first if name == p or name.startswith(p + ".")), "")
        published = prefixes.get(prefix, "")
        parts = (published,) if isinstance(published, str) else published
        result[name] = tuple(part + name[len(prefix) :] for part in parts)
    return result


def published_tensors(network: Network) -> dict[str, Tensor]:
    """The state of a network as a published checkpoint holds it (without its constants)."""
    tensors = network.body.state_dict()
    result = dict[str, Tensor]()
    for key, names in published_names(network).items():
        parts = tensors[key].chunk(len(names)) if len(names) > 1 else (tensors[key],)
        result.update(zip(names, parts, strict=True))
    return result


def load_published(
    source: str | Path | Mapping[str, Tensor],
    name: str,
    inputs: str = "standard",
    confidence: bool = False,
    **hyperparameters: Any,
) -> Network:
    """Build a network with the weights of a published checkpoint.

    Args:
        source: a ``.mdlus`` archive, a file with a state dict, or a state dict.
        name: published name of the architecture.
        inputs: ``standard``, ``multirep`` or ``expanded``.
        confidence: whether the checkpoint has a confidence head.
        **hyperparameters: those that differ from the published ones, which may differ from the
            defaults of new models.

    Returns:
        The network, in evaluation mode.

    Raises:
        ClimSimError: if the checkpoint does not fit; lists every missing, extra and misshapen
            tensor.
    """
    if isinstance(source, Mapping):
        where, state = "state dict", dict(source)
    else:
        where, state = str(source), read_state(source)
    options = {**NETWORKS.find(name).body.published_options, **hyperparameters}
    network = build_network(name, inputs, confidence, **options)
    constants = network.body.published_constants()
    expected = {**published_tensors(network), **constants}
    problems = _misfits(expected, constants, state)
    if problems:
        raise ClimSimError(
            f"{where}: does not fit the network {name} (inputs={inputs}, confidence={confidence}; "
            f"{_remedy(state)}): {'; '.join(problems)}"
        )
    weights = {
        key: torch.cat([state[n] for n in names]) if len(names) > 1 else state[names[0]]
        for key, names in published_names(network).items()
    }
    network.body.load_state_dict(weights)
    return network.eval()


def _misfits(
    expected: Mapping[str, Tensor], constants: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> list[str]:
    """Every reason why a state dict does not fit, in words."""
    missing = sorted(k for k in expected if k not in state and k not in constants)
    extra = sorted(k for k in state if k not in expected)
    shared = sorted(k for k in expected if k in state)
    misshapen = [
        f"{k} expected {tuple(expected[k].shape)}, found {tuple(state[k].shape)}"
        for k in shared
        if expected[k].shape != state[k].shape
    ]
    changed = [
        k
        for k in shared
        if k in constants
        and constants[k].shape == state[k].shape
        and not torch.allclose(constants[k], state[k].float(), atol=1e-6)
    ]
    problems = []
    for what, keys in (
        ("missing", missing),
        ("extra", extra),
        ("misshapen", misshapen),
        ("not the constant it should be", changed),
    ):
        if keys:
            problems.append(f"{len(keys)} {what}: {', '.join(keys)}")
    return problems


def _remedy(state: Mapping[str, Tensor]) -> str:
    """What to do about a checkpoint that does not fit: the published models it fits, if any."""
    fits = []
    shapes = {k: v.shape for k, v in state.items()}
    for name in NETWORKS.names():
        options = NETWORKS.find(name).body.published_options
        for inputs in ENCODINGS:
            for confidence in (False, True):
                with torch.device("meta"):
                    network = build_network(name, inputs, confidence, **options)
                    constants = network.body.published_constants()
                tensors = {**published_tensors(network), **constants}
                if {k: v.shape for k, v in tensors.items()} == shapes:
                    fits.append(f"network={name} inputs={inputs} confidence={confidence}")
    return f"it fits {' or '.join(fits)}" if fits else "check network, recipe and hyperparameters"
