"""Which checkpoint is exported, and which published weights are imported."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from climsim.checkpoint_cards import NO_CLOSURE
from climsim.files import require_apart
from climsim.precisions import BFLOAT16, FLOAT32, FORMER_PRECISIONS
from climsim.training.config import NetworkConfig, RecipeConfig
from climsim.validation import Checks, require

PRECISIONS = (FLOAT32, BFLOAT16)
TORCHSCRIPT = "torchscript"
_MOST_COLUMNS = 100_000
"""Columns of a call of a package: more of them cost memory, and gain nothing."""


@dataclass(frozen=True)
class ExportConfig:
    """What to export.

    Attributes:
        checkpoint: a checkpoint of training or of an import.
        out: the file to write.
        members: further checkpoints; the file then gives the mean of all.
        precision: ``"float32"``, or ``"bfloat16"`` for a faster, less exact network (transforms
            and constraint stay in float32); the file says which, and how far it is off.
        code: files of your own networks (``file.py``) that the checkpoints may name and run; a
            checkpoint that names another file is refused.
        format: ``"torchscript"``, which E3SM and every libtorch load; ``"pt2"``, machine code for
            CPUs like this one (AOTInductor); or ``"onnx"``, a graph for ONNX Runtime.
        columns: of a call, where the code is for one number of them alone, which makes it faster
            (``pt2`` only): those of the host. Other numbers are cut and filled up to it. 0 makes
            code for any number.
    """

    checkpoint: Path
    out: Path
    members: tuple[Path, ...] = ()
    precision: str = FLOAT32
    code: tuple[Path, ...] = ()
    format: str = TORCHSCRIPT
    columns: int = 0

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.one_of(PRECISIONS, "precision", renamed=FORMER_PRECISIONS)
        # Here, not above: the formats load torch, and help on the keys does without.
        from climsim.export.formats import FORMATS, fitting_format

        checks.one_of(FORMATS.names(), "format")
        checks.whole("columns")
        require(
            "columns",
            self.columns,
            self.columns <= _MOST_COLUMNS,
            f"{_MOST_COLUMNS} at most",
            "calls of more columns are cut up, so give those of a block, such as 128",
        )
        require_apart(
            {"checkpoint": self.checkpoint, "members": self.members}, "give each checkpoint once"
        )
        fitting_format(self.format, Path(self.out), self.precision, self.columns)


@dataclass(frozen=True)
class ImportConfig:
    """What to import.

    Attributes:
        file: a ``.mdlus`` archive or a file with a state dict.
        statistics: folder of the published statistics (netCDF, or ``inp_sub.txt``,
            ``inp_div.txt``, ``out_scale.txt``); None for the folder of ``file``.
        out: checkpoint to write; None for ``file`` with the ending ``.ckpt``.
        network: which architecture, with hyperparameters other than the published ones.
        recipe: which inputs, and whether there is a confidence head.
    """

    file: Path
    statistics: Path | None = None
    out: Path | None = None
    network: NetworkConfig = field(default_factory=NetworkConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)

    def __post_init__(self) -> None:
        closure = self.recipe.closure
        require(
            "recipe.closure",
            closure,
            closure == NO_CLOSURE,
            f"{NO_CLOSURE} for an import",
            "published weights were trained without one",
        )

    @property
    def source(self) -> Path:
        """Folder of the statistics in force."""
        return Path(self.statistics) if self.statistics else Path(self.file).parent

    @property
    def target(self) -> Path:
        """The checkpoint that is written."""
        return Path(self.out) if self.out else Path(self.file).with_suffix(".ckpt")

    def resolved(self) -> dict[str, object]:
        """Every setting as plain values, for the record in the checkpoint."""
        plain = dataclasses.asdict(self)
        paths = {"file": self.file, "statistics": self.source, "out": self.target}
        return plain | {key: str(path) for key, path in paths.items()}
