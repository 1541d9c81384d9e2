"""Climate models that an emulator can be coupled to, one adapter each.

A host is one module or package in this folder, or what users bring: an entry point of an installed
package, or an object of one file, named as ``path/to/file.py:build_host``. A module has ``HOST``:
for a host that is stepped from here a function that takes the host's settings and returns a
`climsim.hosts.base.SteppedHost`, and for one that runs in batch a
`climsim.hosts.batch.BatchRunner`, which says on which keys of a run it acts. On a host that is
stepped the run loop acts on all of them.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Final

from climsim.errors import ClimSimError
from climsim.hosts.base import HostFactory, Options, SteppedHost
from climsim.hosts.batch import BatchRunner
from climsim.plugins import is_reference
from climsim.registry import Registry
from climsim.runs.fields import require_hourly_fields

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from climsim.runs.config import RunConfig

REFERENCE_RUNS: Final = ("reference", "reference_perturbed")
"""Names of the two runs of a stepped host with its own physics."""
_OF_EVERY_HOST = (
    *("name", "grid", "dt", "source", "date", "step_number"),
    *("inputs", "step_physics", "step_emulated", "health", "save", "restore"),
)
"""Parts of `SteppedHost` that every run uses."""
Host = HostFactory | BatchRunner
"""What makes a host that is stepped, or runs one in batch."""


def _of_user(name: str, host: object) -> Host:
    """The host that a user brings."""
    if isinstance(host, BatchRunner):
        return host
    if not callable(host):
        raise ClimSimError(
            f"host {name!r}: expected a function that builds a host from its settings, or a runner "
            f"in batch, found {type(host).__name__}: name a function"
        )
    factory: HostFactory = host
    return factory


def _of_module(module: ModuleType) -> tuple[str, Host]:
    """The host that a module of this folder offers as ``HOST``."""
    host: Host = module.HOST
    return module.__name__.rpartition(".")[2], host


HOSTS: Registry[Host] = Registry(
    "host",
    package=__name__,
    entry_points="climsim.hosts",
    adapt=_of_user,
    entry_of=_of_module,
    leave_out=("base", "batch", "members", "settings"),
    lazy=True,
)
"""Every host, by the name that users type."""


def batch_runner(name: str) -> BatchRunner | None:
    """The runner of a host in batch; None for a host that is stepped from here.

    Args:
        name: of the module or package in this folder, or a reference to a function of a file.

    Raises:
        ClimSimError: if there is no such host.
    """
    # A file of a user holds hosts that are stepped; its code runs when such a host is built.
    host = None if is_reference(name) else HOSTS.find(name)
    return host if isinstance(host, BatchRunner) else None


def reference_runs(name: str) -> tuple[str, str]:
    """Names of the two runs of a host with its own physics, the second from a perturbed start.

    Args:
        name: of the host.

    Raises:
        ClimSimError: if there is no such host.
    """
    runner = batch_runner(name)
    return REFERENCE_RUNS if runner is None else runner.reference_runs


def require_taken(name: str, config: DataclassInstance) -> None:
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


def check_run(config: RunConfig) -> None:
    """Refuse a run that its host would refuse, as far as that is known before anything is made.

    Args:
        config: of a run or an ensemble; its model may not exist yet.

    Raises:
        ClimSimError: naming the key.
    """
    require_taken(config.host, config)
    runner = batch_runner(config.host)
    if runner is not None:
        runner.check(config)
    else:
        require_hourly_fields(config.hourly_fields)


def build_host(name: str, options: Options) -> SteppedHost:
    """Build a host that is stepped from here.

    Args:
        name: of the module or package in this folder, or a reference to a function of a file.
        options: settings of the host, by key.

    Raises:
        ClimSimError: if there is no such host, or it runs in batch.
    """
    host = HOSTS.find(name)
    if isinstance(host, BatchRunner):
        raise ClimSimError(
            f"host {name!r}: it runs in batch and is not stepped from here: use `online run`"
        )
    built = host(options)
    # `dir` first: a property may have no value before a state is restored.
    missing = [n for n in _OF_EVERY_HOST if n not in dir(built) and not hasattr(built, n)]
    if missing:
        raise ClimSimError(
            f"host {name!r}: expected its function to return a host, found {type(built).__name__} "
            f"without {', '.join(missing)}: see climsim.hosts.base.SteppedHost"
        )
    return built
