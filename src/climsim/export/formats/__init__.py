"""Formats of exported models; each module registers one.

A format writes a module with its metadata into a file, and opens such a file as a function from one
float32 tensor to one. Everything else about an export is the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import torch
from torch import Tensor

from climsim.cards import Json
from climsim.errors import ClimSimError
from climsim.export.config import TORCHSCRIPT
from climsim.export.module import Emulation
from climsim.exported_file import form_of, unreadable_form
from climsim.precisions import BFLOAT16, FLOAT32
from climsim.registry import Registry
from climsim.validation import require, whole

if TYPE_CHECKING:
    from torch.export import ExportedProgram

COLUMNS = "columns"
"""Of every call, in the metadata of a file that was made for one number of them."""
Runnable: TypeAlias = Callable[[Tensor], Tensor]
"""From (column, feature) to (column, output feature), float32; raises RuntimeError if it cannot."""


class Format(ABC):
    """A format of exported models.

    Attributes:
        form: what such a file is called in messages.
        suffix: of its name.
        precisions: in which its networks can be.
        takes_columns: whether a file can be made for calls of one number of columns.
    """

    form: ClassVar[str]
    suffix: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = (FLOAT32, BFLOAT16)
    takes_columns: ClassVar[bool] = False

    def facts(self) -> Mapping[str, Json]:
        """What the metadata say of the file beside what is true of every format."""
        return {}

    @abstractmethod
    def write(self, emulation: Emulation, path: Path, metadata: str, columns: int) -> None:
        """Write a module.

        Args:
            emulation: in evaluation mode.
            path: of the file.
            metadata: text of ``metadata.json``.
            columns: of every call, where the format takes them; 0 for any number.

        Raises:
            Exception: whatever the exporter raises; the caller says which network and format.
        """

    @abstractmethod
    def devices(self) -> tuple[str, ...]:
        """Kinds of devices that files of this format run on here, the preferred one first."""

    @abstractmethod
    def load(self, path: Path, device: str) -> Runnable:
        """Open a file.

        Args:
            path: of the file, known to be whole.
            device: where it runs.

        Raises:
            ClimSimError: if it cannot be opened, on this machine or at all.
        """


FORMATS: Registry[Format] = Registry("format", package=__name__)
"""Every format by the name that stands in ``format=``."""


def columns_of_calls(metadata: Mapping[str, Json], path: Path) -> int:
    """Columns of every call of a file; 0 for any number.

    Args:
        metadata: of the file.
        path: of it, for the error.

    Raises:
        ClimSimError: if the metadata hold no such number.
    """
    columns = metadata.get(COLUMNS, 0)
    whole(f"{path}: {COLUMNS} in its metadata", columns, remedy="export it again")
    assert isinstance(columns, int)
    return columns


def format_of(path: Path) -> Format:
    """The format of a file.

    Raises:
        ClimSimError: if it has none of them.
    """
    form = form_of(path)
    for known in FORMATS.shipped().values():
        if known.form == form:
            return known
    raise unreadable_form(path)


def fitting_format(name: str, path: Path, precision: str, columns: int) -> Format:
    """The format of that name, once all else is known to fit it.

    Args:
        name: in `FORMATS`.
        path: of the file to write.
        precision: of the networks.
        columns: of every call; 0 for any number.

    Raises:
        ClimSimError: if there is no such format, it takes no number of columns or does not know the
            precision, or the name of the file promises another one.
    """
    form = FORMATS.find(name)
    fits = not columns or form.takes_columns
    require("columns", columns, fits, f"0 for format={name}", "choose format=pt2")
    if precision not in form.precisions:
        raise ClimSimError(
            f"precision: expected {' or '.join(form.precisions)} for format={name}, found "
            f"{precision!r}: choose another format"
        )
    suffixes = {known.suffix: other for other, known in FORMATS.shipped().items()}
    if suffixes.get(path.suffix, TORCHSCRIPT) != name:
        raise ClimSimError(
            f"out={path}: expected a name that ends in {form.suffix} for format={name}: other "
            "programs tell formats by it"
        )
    return form


def traced(emulation: Emulation, fixed: int = 0) -> ExportedProgram:
    """The graph of a module that takes any number of columns from 1 on, or one number alone.

    Args:
        emulation: in evaluation mode.
        fixed: the one number; 0 for any.
    """
    # Here, not above: only two of the formats need it, and it takes a while to import.
    from torch.export import Dim, export
    from torch.fx.experimental import _config as symbolic_shapes

    if fixed:
        with torch.no_grad():
            return export(emulation, (torch.zeros(fixed, emulation.n_inputs),))
    # Three columns, and no conclusions from the number: a graph for "two or more" fails for one.
    example = torch.zeros(3, emulation.n_inputs)
    columns = Dim("column", min=1)
    kept = symbolic_shapes.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
    with torch.no_grad(), kept:
        return export(emulation, (example,), dynamic_shapes=({0: columns},))
