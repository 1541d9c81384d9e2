"""Opening the model of a run or a collection, and refusing a model and a host that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from climsim.hosts.base import SteppedHost, require_fit, require_methods
from climsim.interfaces import Interface
from climsim.online.memory import needed_fields
from climsim.online.model import CoupledModel, open_model, require_spinup
from climsim.runs.coupling import CouplerOptions


class Coupled(Protocol):
    """A configuration of work in which a model may drive a host."""

    @property
    def model(self) -> Path | None:
        """The exported model; None for the host's own physics."""
        ...

    @property
    def device(self) -> str:
        """Where it runs."""
        ...

    @property
    def threads(self) -> int:
        """Of the model on a CPU."""
        ...

    @property
    def coupler(self) -> CouplerOptions:
        """Rules of the coupling."""
        ...


def open_fitting_model(
    config: Coupled, host: SteppedHost, taken: frozenset[str], purpose: str
) -> CoupledModel | None:
    """Open the model, and refuse what does not fit before the first step.

    Args:
        config: names the model.
        host: that it drives.
        taken: fields of the host that the work itself takes.
        purpose: of those, for the message.

    Raises:
        ClimSimError: if the host does not provide what is taken, or the model does not fit it.
    """
    if config.model is None:
        require_fit(host, taken, frozenset(), purpose)
        return None
    model = open_model(config.model, host, config.device, config.threads)
    model.card.compare_time_step("the host", host.dt)
    require_fitting(model.interface, host, config.coupler, taken)
    return model


def require_fitting(
    interface: Interface,
    host: SteppedHost,
    coupler: CouplerOptions,
    taken: frozenset[str],
) -> None:
    """Refuse an interface that a host or the rules of the coupling do not serve.

    Args:
        interface: of the model that drives.
        host: that it drives.
        coupler: rules of the coupling.
        taken: fields of the host that the work itself takes.

    Raises:
        ClimSimError: naming what is missing.
    """
    require_spinup(interface, coupler)
    given = frozenset(interface.outputs.names)
    taken_by_model = taken | needed_fields(interface)
    require_fit(host, taken_by_model, given, f"a model with the interface {interface.name}")
    if coupler.needs_physics:
        require_methods(host, ("physics",), "the rules of the coupling")
