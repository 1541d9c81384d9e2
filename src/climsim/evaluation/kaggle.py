"""The Kaggle competition "LEAP - Atmospheric Physics using AI": weights, and a model on its files.

A prediction is multiplied by the weight of its target before it is scored: 0 for targets that do
not count, the same order of magnitude for all others. The competition gave the weights as the rows
of ``sample_submission.csv``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.data.raw.steps import GRID_FILE, read_grid_info
from climsim.data.rows.endings import is_table
from climsim.data.rows.forms import SAMPLE_ID, columns_of, open_rows
from climsim.data.rows.samples import SampleBlock, Samples, input_fields
from climsim.errors import ClimSimError, some_of
from climsim.evaluation.offline import Model, predict
from climsim.grid import ColumnGrid
from climsim.physics.derived import derived_inputs
from climsim.stage import Progress
from climsim.variables import OUTPUTS, VariableSet, variable

if TYPE_CHECKING:
    from climsim.export.loading import Emulator

_COMPARED_ROWS = 1000
"""Rows of a table of weights that are compared: the competition's has half a million."""


@dataclass(frozen=True)
class Weights:
    """Weights of the targets.

    Attributes:
        columns: names of the columns of a submission, in its order.
        values: (target,) weights in the layout of `OUTPUTS`.
        order: (column,) position in that layout of each column of a submission.
    """

    columns: tuple[str, ...]
    values: Array
    order: NDArray[np.intp]

    @property
    def levels(self) -> int:
        """Levels of a profile."""
        return (len(self.columns) - len(OUTPUTS.scalars)) // len(OUTPUTS.profiles)

    @classmethod
    def ones(cls, levels: int) -> Weights:
        """Every target counts, with weight 1."""
        columns = tuple(columns_of(OUTPUTS, levels))
        return cls(columns, np.ones(len(columns)), np.arange(len(columns)))


def read_weights(path: Path, levels: int) -> Weights:
    """Read the competition's ``sample_submission.csv``, or a table of one row like it.

    A weight belongs to a target and not to a sample, so the rows need not be those of the samples
    that are scored or predicted: the first counts, and some after it tell weights from predictions.

    Args:
        path: of the table.
        levels: of a profile.

    Raises:
        ClimSimError: if it lacks a target or has a column of none, holds negative weights, or other
            ones in one of the first thousand rows.
    """
    table = open_rows(path)
    names = columns_of(OUTPUTS, levels)
    lacks = table.lacks(OUTPUTS, levels)
    if lacks or not is_table(path):
        raise ClimSimError(
            f"weights={path}: expected a column for each of the {len(names)} targets, found "
            f"{lacks or 'an array'}: give the competition's sample_submission.csv"
        )
    known = {*names, SAMPLE_ID}
    surplus = [name for name in table.columns if name not in known]
    if surplus:
        raise ClimSimError(
            f"weights={path}: expected no column but {SAMPLE_ID} and the {len(names)} targets of "
            f"{levels} levels, found {some_of(surplus)}: give the competition's "
            "sample_submission.csv, or remove them"
        )
    rows = next(table.blocks(OUTPUTS, levels, _COMPARED_ROWS), None)
    if rows is None:
        raise ClimSimError(f"weights={path}: no row: give the competition's sample_submission.csv")
    values = rows.values[0]
    if not (np.isfinite(values) & (values >= 0)).all() or (rows.values != values).any():
        raise ClimSimError(
            f"weights={path}: expected the same weights >= 0 in every row, found others: give the "
            "competition's sample_submission.csv, which holds them, and no submission"
        )
    if not values.any():
        raise ClimSimError(
            f"weights={path}: expected a weight > 0 for one target at least, found 0 for all: give "
            "the competition's sample_submission.csv"
        )
    position = {name: k for k, name in enumerate(names)}
    columns = tuple(name for name in table.columns if name != SAMPLE_ID)
    return Weights(columns, values, np.array([position[name] for name in columns]))


def grid_beside(path: Path, grid: Path | None, levels: int) -> ColumnGrid:
    """The grid file that gives the levels of samples.

    Args:
        path: file of the samples.
        grid: grid file; None for the one beside them.
        levels: of the model.

    Raises:
        ClimSimError: if there is none, or it has another number of levels.
    """
    found = list(path.parent.glob("*grid-info.nc"))
    file = grid or (found[0] if len(found) == 1 else path.parent / GRID_FILE)
    read = read_grid_info(file)
    if read.n_levels != levels:
        raise ClimSimError(
            f"grid={file}: {read.n_levels} levels, expected {levels} as the model has: give the "
            "grid file of these samples"
        )
    return read


def load_members(paths: Sequence[Path]) -> list[Emulator]:
    """Load models whose mean is taken.

    Raises:
        ClimSimError: if one cannot be read, looks back at steps that samples do not hold, or has
            another number of levels than the first.
    """
    from climsim.export.loading import load_emulator

    models = [load_emulator(path) for path in paths]
    for path, model in zip(paths, models, strict=True):
        memory = model.interface.steps_of_memory
        if memory:
            raise ClimSimError(
                f"{path}: the model looks back {memory} steps, expected one of the present step "
                "alone, which is what samples hold: use a recipe of the standard set"
            )
        if model.n_levels != models[0].n_levels:
            raise ClimSimError(
                f"{path}: {model.n_levels} levels, expected {models[0].n_levels} as {paths[0]} has"
            )
    return models


def predictions(
    models: Sequence[Model],
    samples: Samples,
    grid: ColumnGrid,
    batch: int,
    progress: Progress | None = None,
) -> Iterator[tuple[SampleBlock, Array]]:
    """The mean prediction of models for samples, block by block.

    Args:
        models: of the present step.
        samples: with inputs.
        grid: the levels.
        batch: samples in a block.
        progress: called with (samples done, samples in all).

    Yields:
        The samples, and (sample, target) physical outputs in the layout of `OUTPUTS`.

    Raises:
        ClimSimError: if a prediction is no finite number.
    """
    total, size = samples.count(), OUTPUTS.size(samples.levels)
    for block in samples.blocks(batch):
        fields = input_fields(samples, block.inputs, grid)
        # Where samples lie on the Earth is unknown; inputs of the present step do not ask.
        fields |= derived_inputs(fields, np.full(block.size, np.nan))
        mean = np.zeros((block.size, size))
        for model in models:
            vector = _vector(model.interface.variables, fields)
            mean += predict(model, vector, samples.levels)[:, :size] / len(models)
        if not np.isfinite(mean).all():
            row = block.first + int(np.nonzero(~np.isfinite(mean))[0][0])
            raise ClimSimError(
                f"{samples.path}: row {row + 1}: expected finite predictions of it, found others: "
                "train and export the model again"
            )
        yield block, mean
        if progress is not None:
            progress(block.first + block.size, total)


def _vector(variables: VariableSet, fields: dict[str, Array]) -> NDArray[np.float32]:
    """(sample, feature) from profiles (level, sample) and scalars (sample,)."""
    parts = [fields[n].T if variable(n).profile else fields[n][:, None] for n in variables.names]
    return np.concatenate(parts, axis=1).astype(np.float32)


def require_ids(samples: Samples, block: SampleBlock) -> None:
    """Refuse samples without names.

    Raises:
        ClimSimError: if their file has no column for them.
    """
    if not block.ids:
        raise ClimSimError(
            f"{samples.path}: no column {SAMPLE_ID}, which names the rows of a submission: give "
            "the competition's test.csv, or a table like it"
        )
