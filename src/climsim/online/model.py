"""Opening the exported model of a run, checking that it fits the host, and running it on cores."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from climsim.arrays import Array, like, namespace, to_numpy
from climsim.cards import ModelCard
from climsim.devices import AUTO, CPU, torch_device
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.hosts.base import HealthReport, SteppedHost, declaration_of
from climsim.interfaces import Interface
from climsim.processes import agreed, in_words
from climsim.runs.coupling import CouplerOptions
from climsim.threads import thread_count
from climsim.variables import OUTPUTS

if TYPE_CHECKING:  # a run of the host's own physics needs no torch
    from climsim.export.loading import Emulator

logger = logging.getLogger(__name__)

BLOCK_COLUMNS = 128
"""Columns that one thread takes at a time: their activations stay in a core's cache."""


class CoupledModel(Protocol):
    """An exported model, as the run loop sees it."""

    interface: Interface
    n_levels: int
    confidence: bool
    card: ModelCard

    def __call__(self, vector: Array) -> Array:
        """Physical outputs (column, feature) of physical inputs (column, feature), float32."""
        ...


class InBlocks:
    """A model that runs on blocks of columns, several of them side by side.

    Columns do not depend on each other, so blocks need no barrier between the layers of a network,
    which is where torch's own threads and those of a host's compiler would wait for each other.

    Args:
        model: takes any number of columns.
        threads: blocks that run at a time.
        columns: of every block but the last, where the code of the model is for that many; 0 for
            equal blocks of a size that is fast.
    """

    def __init__(self, model: CoupledModel, threads: int, columns: int = 0) -> None:
        self.model, self.threads, self._columns = model, threads, columns
        self.interface, self.n_levels = model.interface, model.n_levels
        self.confidence, self.card = model.confidence, model.card
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix="network", initializer=_compute_alone
        )

    def __call__(self, vector: Array) -> Array:
        """Physical outputs (column, feature) of physical inputs (column, feature), float32."""
        columns = vector.shape[0]
        count = max(math.ceil(columns / BLOCK_COLUMNS), min(self.threads, columns))
        ends = range(self._columns, columns, self._columns) if self._columns else count
        blocks = np.array_split(to_numpy(vector), ends)
        return like(np.concatenate(list(self._pool.map(self.model, blocks))), vector)


def _compute_alone() -> None:
    """Keep a thread from starting others: compiled code asks OpenMP, which counts for each."""
    # Here, not above: a run of the host's own physics then needs no torch at all.
    import torch

    torch.set_num_threads(1)


class OnDevice:
    """A model on the device of the host's fields, which its vectors and outputs never leave.

    Args:
        model: loaded on that device.
    """

    def __init__(self, model: Emulator) -> None:
        self.model = model
        self.interface, self.n_levels = model.interface, model.n_levels
        self.confidence, self.card = model.confidence, model.card

    def __call__(self, vector: Array) -> Array:
        """Physical outputs (column, feature) of physical inputs (column, feature), float32."""
        import torch

        if isinstance(vector, np.ndarray):
            return self.model(vector)
        with torch.no_grad():
            output: Array = self.model.module(vector)
        return output


class OfMembers:
    """The models of several members, each called for the columns of its own.

    Args:
        models: of the members, in their order, of one interface; members that follow each other
            with the same model are one call.
        compared: whether their outputs are compared with the host's physics, by one loss for all.

    Raises:
        ClimSimError: if the models differ in interface or outputs, or in a loss that is needed.
    """

    def __init__(self, models: Sequence[CoupledModel], *, compared: bool = False) -> None:
        first = models[0]
        for model in models:
            if (model.interface, model.confidence) != (first.interface, first.confidence):
                raise ClimSimError(
                    "members: expected models of one interface to step together, found "
                    f"{first.interface.name} and {model.interface.name}, or only some with a "
                    "confidence head: step them in processes of their own (together=1)"
                )
            if compared and model.card.loss != first.card.loss:
                raise ClimSimError(
                    "members: expected models of one training loss to step together beside the "
                    f"host's physics, found {_loss_of(first)} and {_loss_of(model)}, or other "
                    "scales of the targets: step them in processes of their own (together=1)"
                )
        self.interface, self.n_levels = first.interface, first.n_levels
        self.confidence, self.card = first.confidence, first.card
        self._count = len(models)
        self._calls = [(model, len(list(same))) for model, same in groupby(models)]

    def __call__(self, vector: Array) -> Array:
        """Physical outputs (column, feature) of physical inputs (column, feature), float32."""
        width = vector.shape[0] // self._count
        outputs, start = [], 0
        for model, members in self._calls:
            outputs.append(model(vector[start : start + members * width, :]))
            start += members * width
        joined: Array = namespace(vector).concat(outputs, axis=0)
        return joined


def _loss_of(model: CoupledModel) -> str:
    loss = model.card.loss
    return "none" if loss is None else f"{loss.name} (delta {loss.delta:g})"


def open_model(path: Path, host: SteppedHost, device: str = AUTO, threads: int = 0) -> CoupledModel:
    """Load an exported model and check it against the levels of a host and what it replaces there.

    Args:
        path: of the file.
        host: that it is to drive or to be compared with.
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where there is one.
        threads: on CPU, see `thread_count`.

    Raises:
        ClimSimError: if there is no such device, the file is no exported model (interface and
            output size included), the number of levels is not the host's, or it replaces other
            processes than the host leaves out.
    """
    # Here, not above: a run of the host's own physics then needs no torch at all.
    import torch

    from climsim.export.loading import device_for, load_emulator

    wanted = AUTO if device == AUTO else torch_device("device", device)
    chosen = device_for(path, wanted)
    if chosen == CPU:
        # Before the file is loaded: ONNX Runtime has its threads from then on.
        torch.set_num_threads(1)
    model = load_emulator(path, chosen)
    require_for_host(host, str(path), model.n_levels, model.card.emulated_processes)
    if chosen != CPU:
        return OnDevice(model)
    return InBlocks(model, thread_count(threads), model.columns)


def require_for_host(host: SteppedHost, name: str, levels: int, replaced: frozenset[str]) -> None:
    """Make sure that a model is for the levels of a host and for what the host leaves out.

    Args:
        host: the climate model.
        name: of the model that is to drive it or to be compared with it, or of the model's data.
        levels: of the model.
        replaced: processes that the model replaces; empty where unknown.

    Raises:
        ClimSimError: if the host has other levels or leaves out other processes.
    """
    if levels != host.grid.n_levels:
        raise ClimSimError(
            f"{name}: expected {host.grid.n_levels} levels, as the host has, found {levels}: "
            "take another host, or a model that was trained on data of this one"
        )
    declared = declaration_of(host)
    chosen_by = declared.processes_option
    agreed(
        {f"host {host.name}": declared.emulated_processes, name: replaced},
        "couple it with the host options that its data were generated with"
        + (f" (host_options.{chosen_by} chooses)" if chosen_by else "")
        + ", or take another model",
    )
    if declared.emulated_processes and not replaced:
        logger.warning(
            "%s does not say which processes it replaces: host %s leaves out %s",
            name,
            host.name,
            in_words(declared.emulated_processes),
        )


def require_spinup(interface: Interface, options: CouplerOptions) -> None:
    """Make sure that a run makes the steps that a model's memory needs before it takes over.

    Args:
        interface: of the model.
        options: of the coupler.

    Raises:
        ClimSimError: if the options have fewer.
    """
    needed = max(1, interface.steps_of_memory)
    if options.spinup_steps < needed:
        raise ClimSimError(
            f"coupler.spinup_steps: expected {needed} or more for the interface "
            f"{interface.name} (surface fluxes and tendencies of earlier steps are inputs), "
            f"found {options.spinup_steps}"
        )


def non_finite_members(
    output: Array, grid: ColumnGrid, count: int
) -> tuple[HealthReport | None, ...]:
    """Find the first value of each member's output that is no number.

    Args:
        output: (member x column, feature).
        grid: the columns of one member.
        count: number of members.

    Returns:
        Where it is, by member; None where all are finite.
    """
    xp = namespace(output)
    if bool(xp.all(xp.isfinite(output))):
        return (None,) * count
    values = to_numpy(output).reshape(count, grid.n_columns, -1)
    return tuple(non_finite(part, grid) for part in values)


def non_finite(output: Array, grid: ColumnGrid) -> HealthReport | None:
    """Find the first value of a model's output that is no number.

    Args:
        output: (column, feature).
        grid: the host's columns.

    Returns:
        Where it is, or None where all are finite.
    """
    bad = np.argwhere(~np.isfinite(output))
    if not bad.size:
        return None
    column, feature = (int(i) for i in bad[0])
    limits = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))
    for name, where in OUTPUTS.slices(grid.n_levels).items():
        if where.start <= feature < where.stop:
            profile = where.stop - where.start > 1
            level = feature - where.start if profile else None
            return HealthReport(name, column, level, float(output[column, feature]), limits)
    return HealthReport("confidence", column, None, float(output[column, feature]), limits)
