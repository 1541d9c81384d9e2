"""Samples with their physical meaning: inputs and targets of files of rows, as fields of a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array, Fields
from climsim.data.raw.features import StepTerms
from climsim.data.raw.ranges import outside_range
from climsim.data.rows.forms import (
    SAMPLE_ID,
    RowFile,
    Rows,
    columns_of,
    one_of_sets,
    open_rows,
)
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.physics.condensate import quantity
from climsim.variables import KAGGLE_INPUTS, OUTPUTS, SCALARS_IN, SCALARS_OUT, V2, VariableSet

INPUT_SETS = (KAGGLE_INPUTS, V2)
"""Sets of inputs that every other input follows from: those of the state itself."""
_LEFT_OUT = tuple(name for name in SCALARS_IN if name not in KAGGLE_INPUTS.names)
"""What the competition left out: snow on sea ice."""


@dataclass(frozen=True)
class SampleBlock:
    """Some neighbouring samples.

    Attributes:
        first: number of the first one, from 0.
        ids: (sample,) names; empty where the files have none.
        inputs: (sample, feature) in the layout of `Samples.inputs`; no feature where not wanted.
        targets: (sample, feature) in the layout of `OUTPUTS`; no feature where not wanted.
    """

    first: int
    ids: tuple[str, ...]
    inputs: Array
    targets: Array

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.inputs)


_NOTHING = VariableSet("nothing", ())
_NO_HASHES = np.empty(0, np.int64)


@dataclass(frozen=True)
class Samples:
    """Inputs, targets or both, in one file or in two with the same rows.

    Attributes:
        files: the file, or that of the inputs and that of the targets.
        inputs: variables of the inputs; none where they are not wanted.
        targets: variables of the targets; none where they are not wanted.
        levels: of a profile.
    """

    files: tuple[RowFile, ...]
    inputs: VariableSet
    targets: VariableSet
    levels: int

    @property
    def path(self) -> Path:
        """The first file."""
        return self.files[0].path

    def count(self) -> int:
        """Number of samples.

        Raises:
            ClimSimError: if the files hold different numbers of them.
        """
        counts = [file.count() for file in self.files]
        if len(set(counts)) > 1:
            raise ClimSimError(
                f"{self.files[1].path}: {counts[1]} rows, expected {counts[0]} as in {self.path}: "
                "give the targets of the same samples"
            )
        return counts[0]

    def blocks(self, size: int) -> Iterator[SampleBlock]:
        """All samples in order, in blocks of ``size`` and a rest.

        Raises:
            ClimSimError: if a file is damaged, values are missing, rows do not belong together, or
                a name is missing or stands twice, which is known at the end.
        """
        first, width = 0, self.inputs.size(self.levels)
        seen = []
        for ids, values in self._rows(size):
            _check_finite(self, first, values)
            seen.append(self._hashes(first, ids))
            yield SampleBlock(first, ids, values[:, :width], values[:, width:])
            first += len(values)
        hashes, rows, counts = np.unique(
            np.concatenate([_NO_HASHES, *seen]), return_index=True, return_counts=True
        )
        if len(hashes) < counts.sum():
            row = int(rows[counts > 1].min()) + 1
            raise ClimSimError(
                f"{self.path}: the {SAMPLE_ID} of row {row} stands twice, expected each once: "
                "remove the rows that came twice"
            )

    def _hashes(self, first: int, ids: tuple[str, ...]) -> NDArray[np.int64]:
        """Names as numbers of eight bytes, of which millions fit in memory."""
        for row, name in enumerate(ids, start=first + 1):
            if not name:
                raise ClimSimError(
                    f"{self.path}: row {row}: expected a {SAMPLE_ID}, found none: write the file "
                    "again"
                )
        return np.array([hash(name) for name in ids], np.int64)

    def _rows(self, size: int) -> Iterator[tuple[tuple[str, ...], Array]]:
        together = VariableSet("samples", (*self.inputs.names, *self.targets.names))
        if len(self.files) == 1 and not self.files[0].lacks(together, self.levels):
            for rows in self.files[0].blocks(together, self.levels, size):
                yield rows.ids, rows.values
            return
        sources = zip((self.files * 2)[:2], self._sets, strict=True)
        parts = (file.blocks(layout, self.levels, size) for file, layout in sources)
        for one, other in zip_longest(*parts, fillvalue=Rows((), np.empty((0, 0)))):
            if len(one.values) != len(other.values) or (one.ids and other.ids != one.ids):
                raise ClimSimError(
                    f"{self.files[-1].path}: its rows are not those of {self.path}: give the "
                    "targets of the same samples in the same order"
                )
            yield one.ids, np.concatenate([one.values, other.values], axis=1)

    @property
    def _sets(self) -> tuple[VariableSet, VariableSet]:
        return self.inputs, self.targets


def open_samples(
    path: str | Path,
    levels: int,
    targets: str | Path = "",
    with_inputs: bool = True,
    with_targets: bool = True,
) -> Samples:
    """Open files of samples.

    Args:
        path: file with the inputs, and with the targets too where ``targets`` is empty.
        levels: of a profile.
        targets: file with the targets of the same rows.
        with_inputs: whether inputs are wanted.
        with_targets: whether targets are wanted.

    Raises:
        ClimSimError: if a file is missing, of another form, or lacks what is wanted.
    """
    file = open_rows(path)
    files = [file] if with_inputs or not targets else []
    inputs, outputs = _NOTHING, _NOTHING
    if with_inputs:
        inputs = one_of_sets(file, INPUT_SETS, levels, "inputs")
    if with_targets:
        files += [open_rows(targets)] if targets else []
        remedy = "" if targets else "give the file that holds them as well (targets= or outputs=)"
        outputs = one_of_sets(files[-1], (OUTPUTS,), levels, "targets", remedy)
    return Samples(tuple(files), inputs, outputs, levels)


def _check_finite(samples: Samples, first: int, values: Array) -> None:
    """Refuse samples in which a value is missing or no number."""
    inputs, targets = samples._sets
    width = inputs.size(samples.levels)
    require_finite(samples.path, first, values[:, :width], inputs, samples.levels)
    require_finite(samples.files[-1].path, first, values[:, width:], targets, samples.levels)


def require_finite(
    path: Path, first: int, values: Array, variables: VariableSet, levels: int
) -> None:
    """Refuse rows in which a value is missing or no number.

    Args:
        path: of the file.
        first: number of the first row, from 0.
        values: (row, feature).
        variables: of the features.
        levels: of a profile.

    Raises:
        ClimSimError: naming the row and the column.
    """
    finite = np.isfinite(values)
    if finite.all():
        return
    row, feature = (int(axis[0]) for axis in np.nonzero(~finite))
    raise ClimSimError(
        f"{path}: row {first + row + 1}: expected a number in "
        f"{columns_of(variables, levels)[feature]}, found {values[row, feature]}: write the file "
        "again"
    )


def input_fields(samples: Samples, values: Array, grid: ColumnGrid) -> Fields:
    """The state before physics of samples, as a step file holds it.

    Args:
        samples: where they are from.
        values: (sample, feature) inputs.
        grid: the levels.

    Returns:
        Profiles (level, sample), scalars (sample,); the pressure follows from the levels, and what
        the competition left out (snow on sea ice) is 0.
    """
    fields = _by_level(samples.inputs, values, samples.levels)
    fields |= {n: np.zeros(len(values)) for n in _LEFT_OUT if n not in fields}
    return {**fields, "state_pmid": grid.midpoint_pressure(fields["state_ps"])}


def sample_terms(
    samples: Samples, block: SampleBlock, grid: ColumnGrid, time_step: float, checked: bool
) -> StepTerms:
    """Samples as a step: its state, its outputs and its tendencies.

    Args:
        samples: where they are from.
        block: the samples, one for each column of the step.
        grid: the levels.
        time_step: physics time step [s].
        checked: whether values outside their physical range are refused.

    Raises:
        ClimSimError: if values are implausible.
    """
    before = input_fields(samples, block.inputs, grid)
    fields = _by_level(samples.targets, block.targets, samples.levels)
    after = {name: fields.pop(name) for name in SCALARS_OUT}
    bad = {**outside_range(before), **outside_range(after)} if checked else {}
    if bad:
        counts = ", ".join(f"{name} ({count})" for name, count in bad.items())
        raise ClimSimError(
            f"{samples.path}: implausible values in rows {block.first + 1} to "
            f"{block.first + block.size}: {counts}: expected physical units, no normalized values; "
            "check_ranges=false takes them as they are"
        )
    tendencies = {name.removeprefix("ptend_"): value for name, value in fields.items()}
    tendencies["qn"] = quantity(tendencies, "qn")
    return StepTerms(before, after, tendencies, time_step)


def _by_level(variables: VariableSet, values: Array, levels: int) -> Fields:
    """Fields with the samples on the last axis."""
    return {name: field.T for name, field in variables.fields(values, levels).items()}
