"""The score of the Kaggle competition, of a model or of a submission."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

import numpy as np

from climsim.arrays import Array
from climsim.data.rows.endings import is_row_file, is_table
from climsim.data.rows.forms import columns_of, open_rows
from climsim.data.rows.samples import Samples, open_samples, require_finite
from climsim.errors import ClimSimError
from climsim.evaluation.config import KaggleScoreConfig
from climsim.evaluation.kaggle import Weights, grid_beside, load_members, predictions, read_weights
from climsim.evaluation.metrics import PairStatistics
from climsim.files import file_hash, provenance, read_json, write_json
from climsim.products import Kind, claim, noted
from climsim.stage import Progress
from climsim.variables import OUTPUTS

KAGGLE_SCORE = Kind(
    "a file of Kaggle's score", lambda path: noted(path, "kaggle_score", damaged=False)
)


def kaggle_r2(pairs: PairStatistics) -> Array:
    """R2 of each target as scikit-learn's ``r2_score`` defines it, which the competition used.

    Args:
        pairs: sums of weighted truth and prediction.

    Returns:
        (target,) ``1 - SSE / SST``; where the truth is constant, as with a weight of 0, it is 1 for
        a perfect prediction and 0 for any other.
    """
    constant = pairs.variance == 0
    return np.where(constant, np.where(pairs.squared > 0, 0.0, 1.0), pairs.r2())


def score_kaggle(config: KaggleScoreConfig, progress: Progress | None = None) -> Path:
    """Score a model or a submission as the competition did, and write the score of each target.

    Args:
        config: what is scored.
        progress: called with (samples done, samples in all).

    Returns:
        Path of the scores.

    Raises:
        ClimSimError: if model or submission, samples, weights and grid do not fit together.
    """
    files = [config.model, *config.members]
    read = {str(path): path for path in files} | {"truth": config.truth, "weights": config.weights}
    claim(config.out, KAGGLE_SCORE, read)
    pairs, weights = _scored(config, progress)
    r2 = kaggle_r2(pairs)
    hashed = [*files, *([config.weights] if config.weights else [])]
    names = columns_of(OUTPUTS, weights.levels)
    write_json(
        config.out,
        {
            "kaggle_score": float(r2.mean()),
            "of_weighted_targets": float(r2[weights.values > 0].mean()),
            "targets_without_weight": int((weights.values == 0).sum()),
            "samples": int(pairs.weight[0]),
            "r2": dict(zip(names, r2.tolist(), strict=True)),
            **provenance(asdict(config), {str(path): file_hash(path) for path in hashed}),
        },
    )
    return config.out


def _scored(config: KaggleScoreConfig, progress: Progress | None) -> tuple[PairStatistics, Weights]:
    """Sums of weighted truth and prediction over all samples, and the weights."""
    of_model = not is_row_file(config.model)
    models = load_members((config.model, *config.members)) if of_model else []
    levels = models[0].n_levels if models else config.levels
    weights = read_weights(config.weights, levels) if config.weights else Weights.ones(levels)
    samples = open_samples(config.truth, levels, config.targets, with_inputs=of_model)
    if of_model:
        grid = grid_beside(config.truth, config.grid, levels)
        found: Iterator[tuple[Array, Array]] = (
            (block.targets, values * weights.values)
            for block, values in predictions(models, samples, grid, config.batch_columns, progress)
        )
    else:
        found = _submitted(config, samples, progress)
    pairs = PairStatistics.zero((OUTPUTS.size(levels),))
    for truth, prediction in found:
        pairs = pairs + PairStatistics.of(truth * weights.values, prediction)
    if not pairs.weight.any():
        raise ClimSimError(f"{config.truth}: no sample: give a file that holds some")
    return pairs, weights


def _submitted(
    config: KaggleScoreConfig, samples: Samples, progress: Progress | None
) -> Iterator[tuple[Array, Array]]:
    """Truth and the values of a submission, which must name the same samples in the same order."""
    if config.members or not is_table(config.model):
        raise ClimSimError(
            f"model={config.model}: expected one submission (.csv, .parquet), or exported models"
        )
    submission, size = open_rows(config.model), config.batch_columns
    lacks = submission.lacks(OUTPUTS, config.levels)
    if lacks:
        raise ClimSimError(f"{config.model}: expected a submission, found {lacks}")
    total, row = samples.count(), 0
    rows = submission.blocks(OUTPUTS, config.levels, size)
    for block, found in zip_longest(samples.blocks(size), rows):
        same = block is not None and found is not None and len(found.values) == block.size
        if not same or (block.ids and block.ids != found.ids):
            raise ClimSimError(
                f"{config.model}: from row {row + 1} on its samples are not those of "
                f"{config.truth}: expected the same number in the same order"
            )
        require_finite(config.model, row, found.values, OUTPUTS, config.levels)
        yield block.targets, found.values
        row += block.size
        if progress is not None:
            progress(row, total)


def score_lines(path: Path) -> tuple[str, ...]:
    """The score, and that of the targets that count.

    Args:
        path: of the scores.
    """
    scores = read_json(path)
    without = scores["targets_without_weight"]
    return (
        f"Kaggle's score over all {len(scores['r2'])} targets: {scores['kaggle_score']:.5g} "
        f"({scores['samples']} samples)",
        f"over the {len(scores['r2']) - without} targets that have a weight: "
        f"{scores['of_weighted_targets']:.5g}",
    )
