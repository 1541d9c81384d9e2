"""Climate models that an emulator can be coupled to, one adapter each.

A host is one module or package in this folder, or one file of a user, named as
``path/to/file.py:build_host``. Its module offers ``HOST``: for a host that is stepped from here a
function that takes the host's settings and returns a `climsim.hosts.base.SteppedHost`, and for one
that runs in batch a `climsim.hosts.batch.BatchRunner`, which says on which keys of a run it acts.
On a host that is stepped the run loop acts on all of them.
"""

from __future__ import annotations

import importlib
import pkgutil

from climsim.errors import ClimSimError, unknown_name
from climsim.hosts.base import HostFactory, Options, SteppedHost
from climsim.hosts.batch import BatchRunner
from climsim.plugins import is_reference, load_reference

_INTERFACES = frozenset({"base", "batch"})


def host_names() -> tuple[str, ...]:
    """Names of the hosts, found by module; importing none of them."""
    return tuple(
        sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _INTERFACES)
    )


def batch_runner(name: str) -> BatchRunner | None:
    """The runner of a host in batch; None for a host that is stepped from here.

    Args:
        name: of the module or package in this folder, or a reference to a function of a file.

    Raises:
        ClimSimError: if there is no such host.
    """
    host = None if is_reference(name) else _shipped(name)
    return host if isinstance(host, BatchRunner) else None


def require_taken(name: str, config: object) -> None:
    """Refuse a configuration with a key that its host would silently drop.

    Args:
        name: of the host.
        config: of a run or an ensemble.

    Raises:
        ClimSimError: naming the key.
    """
    runner = batch_runner(name)
    if runner is not None:
        runner.keys.require(config, name)


def build_host(name: str, options: Options) -> SteppedHost:
    """Build a host that is stepped from here.

    Args:
        name: of the module or package in this folder, or a reference to a function of a file.
        options: settings of the host, by key.

    Raises:
        ClimSimError: if there is no such host, or it runs in batch.
    """
    if is_reference(name):
        factory: HostFactory = load_reference(name, "host")
        return factory(options)
    host = _shipped(name)
    if isinstance(host, BatchRunner):
        raise ClimSimError(
            f"host {name!r}: it runs in batch and is not stepped from here: use `online run`"
        )
    return host(options)


def _shipped(name: str) -> HostFactory | BatchRunner:
    if name not in host_names():
        raise unknown_name("host", name, host_names())
    host: HostFactory | BatchRunner = importlib.import_module(f"{__name__}.{name}").HOST
    return host
