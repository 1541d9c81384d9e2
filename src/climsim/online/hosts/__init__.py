"""Climate models that an emulator can be coupled to, one adapter each.

A host is one module or package in this folder with a function ``build_host(options)`` that takes
the host's settings (a mapping) and returns an object of the protocol `climsim.online.hosts.base`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from climsim.errors import ClimSimError, unknown_name
from climsim.online.hosts.base import Host

_SEAM = "base"
_FACTORY = "build_host"


def host_names() -> tuple[str, ...]:
    """Names of the hosts, found by module; importing none of them."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != _SEAM))


def build_host(name: str, options: Mapping[str, Any]) -> Host:
    """Build a host by the name of its module.

    Args:
        name: of the module or package in this folder.
        options: settings of the host, by key.

    Raises:
        ClimSimError: if there is no such host, or it cannot be stepped from here.
    """
    if name not in host_names():
        raise unknown_name("host", name, host_names())
    module = importlib.import_module(f"{__name__}.{name}")
    factory = getattr(module, _FACTORY, None)
    if factory is None:
        raise ClimSimError(
            f"host {name!r}: it prepares cases and is not stepped from here: see its own command"
        )
    host: Host = factory(options)
    return host
