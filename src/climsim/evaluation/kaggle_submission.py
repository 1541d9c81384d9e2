"""The file that the Kaggle competition asks for: weighted predictions of a model by sample."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from climsim.arrays import Array
from climsim.data.rows.endings import is_table
from climsim.data.rows.forms import SAMPLE_ID
from climsim.data.rows.samples import open_samples
from climsim.evaluation.config import SubmissionConfig
from climsim.evaluation.kaggle import (
    grid_beside,
    load_members,
    predictions,
    read_weights,
    require_ids,
)
from climsim.files import atomic_path, file_hash, provenance, write_json
from climsim.products import Kind, claim, note_of, noted
from climsim.stage import Progress
from climsim.validation import require

logger = logging.getLogger(__name__)


def _is_note(path: Path) -> bool:
    return noted(path, "git_revision", damaged=False)


# Its own content says nothing: the competition's tables have the same form.
SUBMISSION = Kind("a submission with its note", lambda path: _is_note(note_of(path)))
_NOTE = Kind("the note of a submission", _is_note)


def write_submission(config: SubmissionConfig, progress: Progress | None = None) -> Path:
    """Predict samples and write them as a submission, each prediction times its weight.

    What made it stands beside it, in a file with ``.json`` added to its name.

    Args:
        config: model, samples, weights.
        progress: called with (samples done, samples in all).

    Returns:
        Path of the submission.

    Raises:
        ClimSimError: if model, samples, weights and grid do not fit together.
    """
    files = (config.model, *config.members)
    named = {"inputs": config.inputs, "weights": config.weights}
    read = {str(path): path for path in files} | named
    claim(config.out, SUBMISSION, read)
    claim(config.note, _NOTE)
    whole = is_table(config.out) and config.out.suffix != ".gz"
    require("out", str(config.out), whole, "a file ending in .csv or .parquet")
    models = load_members(files)
    levels = models[0].n_levels
    weights = read_weights(config.weights, levels)
    grid = grid_beside(config.inputs, config.grid, levels)
    samples = open_samples(config.inputs, levels, with_targets=False)
    with atomic_path(config.out) as temporary:
        with _writing(temporary, config.out.suffix, weights.columns) as write:
            for block, values in predictions(models, samples, grid, config.batch_columns, progress):
                require_ids(samples, block)
                write(block.ids, (values * weights.values)[:, weights.order])
        hashes = {str(path): file_hash(path) for path in (*files, config.weights)}
        # Before the submission: one without its note could not be written again after a kill.
        write_json(config.note, provenance(asdict(config), hashes))
    return config.out


@contextmanager
def _writing(
    path: Path, ending: str, columns: tuple[str, ...]
) -> Iterator[Callable[[tuple[str, ...], Array], None]]:
    """Write a table row by row, in the form of an ending."""
    # Here, not above: it is optional, and reading the samples says where it is missing.
    import pyarrow
    from pyarrow import csv, parquet

    fields = [pyarrow.field(SAMPLE_ID, pyarrow.string())]
    schema = pyarrow.schema([*fields, *(pyarrow.field(n, pyarrow.float64()) for n in columns)])
    form = parquet.ParquetWriter if ending == ".parquet" else csv.CSVWriter
    with form(str(path), schema) as writer:

        def write(ids: tuple[str, ...], values: Array) -> None:
            arrays = [pyarrow.array(ids), *(pyarrow.array(v) for v in values.T)]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))

        yield write
