"""Loading exported models: numpy in, numpy out, every error in one line."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from climsim.cards import Json, ModelCard
from climsim.constants import N_LEVELS
from climsim.devices import AUTO, CPU, emulates_bfloat16
from climsim.errors import ClimSimError
from climsim.export.formats import Format, Runnable, columns_of_calls, format_of
from climsim.export.probe import probe_columns
from climsim.export.trial import outcome_of, try_file
from climsim.exported_file import METADATA_NAME, TORCHSCRIPT, metadata_text, require_whole
from climsim.interfaces import V2, V6, Interface
from climsim.precisions import BFLOAT16, FLOAT32
from climsim.variables import OUTPUTS, TARGETS, VariableSet

logger = logging.getLogger(__name__)


class Emulator:
    """A loaded model: numpy in, numpy out.

    Attributes:
        card: what the file says about itself and the package reads.
        metadata: everything that the file says about itself.
        interface: what it takes and gives.
        confidence: whether 308 confidences (at 60 levels) follow the outputs.
        n_levels: levels of a profile.
        n_inputs: features in.
        n_outputs: features out.
        columns: of a call that the code is for; 0 for any number.
        form: what kind of file it is, such as ``TorchScript file``.
        device: kind of the device that it runs on.
    """

    def __init__(
        self, path: Path, form: str, module: Runnable, metadata: Mapping[str, Json], device: str
    ) -> None:
        """Keep the parts (see `load_emulator`)."""
        self.path = path
        self.form = form
        self.metadata = metadata
        self.card = ModelCard.from_json(metadata, str(path))
        self.interface: Interface = self.card.interface
        self.confidence = self.card.confidence
        self.n_levels = self.card.n_levels
        self.columns = columns_of_calls(metadata, path)
        self.n_inputs = self.card.n_inputs
        self.n_outputs = self.card.n_outputs
        self.module = module
        self.device = device

    @property
    def inputs(self) -> VariableSet:
        """Variables of the vector that the model takes, in their order."""
        return self.interface.variables

    @property
    def parameters(self) -> float:
        """Trainable parameters of all members; NaN where the file does not say."""
        known = self.metadata.get("parameters")
        if isinstance(known, int):
            return known
        if isinstance(self.module, torch.nn.Module):
            return sum(p.numel() for p in self.module.parameters())
        return math.nan

    def __repr__(self) -> str:
        name = self.card.training.network or self.form
        return (
            f"Emulator({str(self.path)!r}, {name}, interface {self.interface.name}: "
            f"(column, {self.n_inputs}) -> (column, {self.n_outputs}))"
        )

    def __call__(self, vector: NDArray[np.floating]) -> NDArray[np.float32]:
        """Predict.

        Args:
            vector: (column, feature) physical values in the layout of `inputs`, numbers that are
                taken as float32.

        Returns:
            (column, output feature) physical tendencies and fluxes, float32; NaN for a column with
            a NaN among its inputs.

        Raises:
            ClimSimError: if the vector is no array of real numbers of that width, or the output
                has another shape than the file says.
        """
        values = self._checked(vector)
        if not len(values):
            return np.zeros((0, self.n_outputs), np.float32)
        tensor = torch.as_tensor(values).to(self.device)
        with torch.inference_mode():
            output = self.module(tensor)
        expected = (len(vector), self.n_outputs)
        if not isinstance(output, torch.Tensor) or tuple(output.shape) != expected:
            found = tuple(getattr(output, "shape", ())) or type(output).__name__
            raise ClimSimError(
                f"{self.path}: expected output of shape {expected}, a row for each column, found "
                f"{found}: export the model again"
            )
        return output.cpu().numpy()

    def _checked(self, vector: ArrayLike) -> NDArray[np.float32]:
        expected = (
            f"{self.path}: expected input of shape (column, {self.n_inputs}) for interface "
            f"{self.interface.name} at {self.n_levels} levels"
        )
        if isinstance(vector, torch.Tensor):
            vector = vector.detach().cpu()
        try:
            values = np.asarray(vector)
        except ValueError as error:  # rows of different length
            raise ClimSimError(f"{expected}, found rows of different length") from error
        if values.dtype.kind not in "fiu":
            raise ClimSimError(f"{expected}, real numbers, found values of type {values.dtype}")
        if values.ndim != 2 or values.shape[1] != self.n_inputs:
            raise ClimSimError(f"{expected}, found {values.shape}")
        return np.asarray(values, dtype=np.float32)

    def fields(self, outputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Split an output into named fields.

        Args:
            outputs: (column, output feature) from a call.

        Returns:
            Tendencies (column, level) and fluxes (column,) by name, and the predicted loss of each
            target as ``confidence_<target>`` where the model has a confidence head.

        Raises:
            ClimSimError: if the array has another width.
        """
        if outputs.ndim != 2 or outputs.shape[1] != self.n_outputs:
            raise ClimSimError(
                f"{self.path}: expected outputs of shape (column, {self.n_outputs}), found "
                f"{outputs.shape}"
            )
        size = OUTPUTS.size(self.n_levels)
        found = OUTPUTS.fields(outputs[:, :size], self.n_levels)
        if self.confidence:
            losses = TARGETS.fields(outputs[:, size:], self.n_levels)
            found |= {f"confidence_{name}": values for name, values in losses.items()}
        return found


def load_emulator(path: str | Path, device: str = CPU) -> Emulator:
    """Load an exported model of any format.

    A TorchScript file made elsewhere is taken if it fits an interface at 60 levels, which is tried
    in a process of its own. TorchScript files and AOTInductor packages are programs: load only
    files that you trust.

    Args:
        path: the file.
        device: where to run it, as `device_for` takes it.

    Raises:
        ClimSimError: if the file is missing, damaged, of no known format, fits no interface, does
            not run on the device, or does not answer.
    """
    path = Path(path)
    _require_there(path)
    require_whole(path)
    form, text, chosen = format_of(path), metadata_text(path), device_for(path, device)
    metadata = _read_metadata(path, text) if text else _describe_foreign(path, form, chosen)
    emulator = Emulator(path, form.form, form.load(path, chosen), metadata, chosen)
    _check_interface(emulator)
    if chosen == CPU and metadata.get("precision") == BFLOAT16 and emulates_bfloat16():
        logger.warning(
            "%s: its networks are in bfloat16, for which this processor has no instructions: one "
            "exported with precision=%s runs many times as fast here",
            path,
            FLOAT32,
        )
    return emulator


def device_for(path: Path, device: str = AUTO) -> str:
    """Where a file would run.

    Args:
        path: an exported model.
        device: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one that files of its
            format run on.

    Raises:
        ClimSimError: if it is missing, of no known format, or does not run there.
    """
    _require_there(path)
    form = format_of(path)
    there = form.devices()
    if device == AUTO:
        return there[0]
    if device.partition(":")[0] not in there:
        raise ClimSimError(
            f"{path}: expected device {' or '.join(there)}, where the {form.form} runs here, "
            f"found {device}: choose one of them, or export another format"
        )
    return device


def _require_there(path: Path) -> None:
    if not path.is_file():
        raise ClimSimError(f"{path}: no such model: run `climsim export` first")


def _read_metadata(path: Path, text: str | bytes) -> dict[str, Json]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise ClimSimError(f"{path}: {METADATA_NAME} is not valid JSON: export it again") from error


_FOREIGN = {interface.name: interface for interface in (V2, V6)}
"""Interfaces that a file of other origin may have: those that E3SM's emulator knows."""


def _describe_foreign(path: Path, form: Format, device: str) -> dict[str, Json]:
    """Find the interface of a TorchScript file without metadata by trying it in another process.

    Raises:
        ClimSimError: if it is of another format, fits no interface, or does not answer.
    """
    if form.form != TORCHSCRIPT:
        raise ClimSimError(
            f"{path}: expected {METADATA_NAME} inside, as `climsim export` writes it, found none: "
            f"of the files made elsewhere only TorchScript is taken, not this {form.form}"
        )
    size = OUTPUTS.size()
    inputs = {i.name: probe_columns(i.variables, N_LEVELS, 2).numpy() for i in _FOREIGN.values()}
    outcomes = try_file(path, inputs, device)
    if isinstance(outcomes, str):
        raise ClimSimError(
            f"{path}: expected a TorchScript file that answers two columns, found {outcomes}: a "
            "TorchScript file is a program, load it only if you trust it; else export it again"
        )
    for name, outcome in outcomes.items():
        if outcome.shape in ((2, size), (2, size + TARGETS.size())):
            logger.warning(
                "%s: no %s inside: taken for interface %s; the file is a program that can do "
                "whatever you can do",
                *(path, METADATA_NAME, name),
            )
            return {
                "door": name,
                "confidence": outcome.shape[1] != size,
                "n_levels": N_LEVELS,
                "n_inputs": _FOREIGN[name].variables.size(),
                "n_outputs": outcome.shape[1],
                "source": "TorchScript file without metadata",
            }
    found = "; ".join(
        f"{_FOREIGN[n].variables.size()} inputs: {o.found}" for n, o in outcomes.items()
    )
    raise ClimSimError(
        f"{path}: expected one float32 tensor of {size} or {size + TARGETS.size()} outputs from "
        f"{' or '.join(str(i.variables.size()) for i in _FOREIGN.values())} inputs, found a "
        f"TorchScript file that fits neither ({found}): export a model with an interface"
    )


def _check_interface(emulator: Emulator) -> None:
    """Metadata can be wrong; an output cannot."""
    given = emulator.interface.variables
    x = probe_columns(given, emulator.n_levels, 2).to(emulator.device)
    outcome = outcome_of(emulator.module, x)
    size = OUTPUTS.size(emulator.n_levels)
    expected = (2, size + TARGETS.size(emulator.n_levels) if emulator.confidence else size)
    if outcome.shape != expected or emulator.metadata["n_inputs"] != emulator.n_inputs:
        raise ClimSimError(
            f"{emulator.path}: expected interface {emulator.interface.name} at {emulator.n_levels} "
            f"levels ({given.size(emulator.n_levels)} inputs, output of shape {expected}), found "
            f"{outcome.found}: export the model again"
        )
