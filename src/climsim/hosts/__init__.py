"""Climate models that an emulator can be coupled to, one adapter each.

A host is one module or package in this folder, or one file of a user, named as
``path/to/file.py:build_host``. One that is stepped from here has a function
``build_host(options)`` that takes the host's settings (a mapping) and returns an object of the
protocol `climsim.hosts.base`; one that runs in batch has ``run_batch(config, progress)``,
``run_batch_members(configs)`` and ``RUN_KEYS``, which keys of a run it acts on. On a host that is
stepped the run loop acts on all of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from climsim.errors import ClimSimError, unknown_name
from climsim.hosts.base import Host, RunKeys
from climsim.plugins import is_reference, load_reference

_SEAM = "base"


def host_names() -> tuple[str, ...]:
    """Names of the hosts, found by module; importing none of them."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != _SEAM))


def batch_runner(name: str) -> Callable[..., Any] | None:
    """The function that runs a case of a host in batch; None for one that is stepped from here.

    Raises:
        ClimSimError: if there is no such host.
    """
    return _optional(name, "run_batch")


def batch_members_runner(name: str) -> Callable[..., Any] | None:
    """The function that runs the members of an ensemble in batch; None for a stepped host.

    Raises:
        ClimSimError: if there is no such host.
    """
    return _optional(name, "run_batch_members")


def require_taken(name: str, config: object) -> None:
    """Refuse a configuration with a key that its host would silently drop.

    Args:
        name: of the host.
        config: of a run or an ensemble.

    Raises:
        ClimSimError: naming the key.
    """
    if batch_runner(name) is not None:
        keys: RunKeys = _module(name).RUN_KEYS
        keys.require(config, name)


def _optional(name: str, function: str) -> Callable[..., Any] | None:
    return None if is_reference(name) else getattr(_module(name), function, None)


def build_host(name: str, options: Mapping[str, Any]) -> Host:
    """Build a host by the name of its module.

    Args:
        name: of the module or package in this folder, or a reference to a function of a file.
        options: settings of the host, by key.

    Raises:
        ClimSimError: if there is no such host, or it runs in batch.
    """
    if is_reference(name):
        own: Host = load_reference(name, "host")(options)
        return own
    factory = getattr(_module(name), "build_host", None)
    if factory is None:
        raise ClimSimError(
            f"host {name!r}: it runs in batch and is not stepped from here: use `online run`"
        )
    host: Host = factory(options)
    return host


def _module(name: str) -> ModuleType:
    if name not in host_names():
        raise unknown_name("host", name, host_names())
    return importlib.import_module(f"{__name__}.{name}")
