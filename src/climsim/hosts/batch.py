"""The interface to a climate model that runs in batch: its cases are submitted, not stepped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from climsim.errors import ClimSimError
from climsim.runs.config import RunConfig
from climsim.runs.record import RunRecord
from climsim.stage import Progress

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class RunKeys:
    """Which keys of a run a host that runs in batch acts on; it refuses all others by name.

    Attributes:
        taken: dotted names of the keys of `RunConfig` and `EnsembleConfig`.
        refused: by dotted name of a key that the host cannot act on, why, or what does it there.
    """

    taken: frozenset[str]
    refused: Mapping[str, str]

    def require(self, config: DataclassInstance, host: str) -> None:
        """Refuse a configuration that sets what the host does not act on.

        Args:
            config: dataclass of a run or an ensemble.
            host: name of the host, for the message.

        Raises:
            ClimSimError: naming the key.
        """
        for name, (value, default) in leaf_keys(config).items():
            if name in self.taken or value == default:
                continue
            reason = self.refused.get(name, "it does not act on this key")
            raise ClimSimError(
                f"{name}={value}: the host {host} cannot take it ({reason}): leave it at {default}"
            )


def leaf_keys(config: DataclassInstance, prefix: str = "") -> dict[str, tuple[object, object]]:
    """Value and default of every key of a configuration, nested ones by dotted name.

    Args:
        config: dataclass.
        prefix: of the names.
    """
    found: dict[str, tuple[object, object]] = {}
    for key in fields(config):
        value, name = getattr(config, key.name), f"{prefix}{key.name}"
        if is_dataclass(value) and not isinstance(value, type):
            found |= leaf_keys(value, f"{name}.")
        else:
            made = None if key.default_factory is MISSING else key.default_factory()
            found[name] = (value, made if key.default is MISSING else key.default)
    return found


@runtime_checkable
class BatchRunner(Protocol):
    """A climate model that runs in batch."""

    @property
    def keys(self) -> RunKeys:
        """Which keys of a run it acts on."""
        ...

    @property
    def reference_runs(self) -> tuple[str, str]:
        """Names of the two runs with its own physics, the second from a perturbed start."""
        ...

    def check(self, config: RunConfig) -> None:
        """Refuse a run whose settings do not fit, before anything is made of it.

        Args:
            config: of a run or an ensemble; its model may not exist yet.

        Raises:
            ClimSimError: naming the key.
        """
        ...

    def run(self, config: RunConfig, progress: Progress | None = None) -> RunRecord:
        """Bring the case of a run one stage further.

        Args:
            config: of the run.
            progress: called with (steps done, steps in all).

        Returns:
            The record, also in ``record.json`` of the folder of the run.
        """
        ...

    def run_members(self, configs: Sequence[RunConfig]) -> list[RunRecord]:
        """Bring the case of each of several runs one stage further.

        Returns:
            Their records, in order.
        """
        ...
