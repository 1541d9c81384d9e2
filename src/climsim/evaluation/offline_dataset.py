"""From accumulated sums to the labelled dataset of offline metrics.

Every score of an output is one data variable ``<score>_<output>``, on ``level`` for a tendency and
without axis for a surface flux, so that each carries its own unit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import xarray

from climsim.evaluation.block import NON_FINITE, STEPS, Block
from climsim.evaluation.offline_score import PERCENTILE_EDGES, RAIN_DECILES, OfflineScore, Totals
from climsim.evaluation.regions import BANDS, BIN_CENTRES, SURFACE_TYPES
from climsim.evaluation.score import Labelled, by_quantity, scores_of
from climsim.evaluation.sums import Accumulator
from climsim.grid import ColumnGrid
from climsim.variables import TARGETS

LAYERS: Final = ("above 400 hPa", "below 400 hPa")


def offline_dataset(sums: Accumulator[Block], grid: ColumnGrid) -> xarray.Dataset:
    """All offline metrics of one member.

    Args:
        sums: statistics of the whole split.
        grid: the columns and levels.

    Returns:
        Dataset on ``level`` (0 at the model top), ``latitude``, ``band``, ``layer``, ``surface``
        and ``percentile``.
    """
    totals = Totals(sums, grid)
    scores = [s for s in scores_of(OfflineScore) if all(x in sums for x in s.statistics)]
    dataset = xarray.Dataset(_arrays(scores, totals), _coordinates(grid))
    dataset.attrs["samples"] = totals.samples
    dataset.attrs["steps"] = totals[STEPS].count
    if NON_FINITE in sums:
        dataset.attrs["problems"] = json.dumps(totals[NON_FINITE].problems(grid.n_levels))
    return dataset


def _arrays(scores: Sequence[OfflineScore], totals: Totals) -> dict[str, Labelled]:
    arrays = {}
    for score, subject in by_quantity(scores):
        values = score.values(totals, subject)
        if values is not None:
            arrays[score.variable_of(subject)] = score.labelled(values, subject)
    return arrays


def _coordinates(grid: ColumnGrid) -> dict[str, object]:
    pressure = grid.midpoint_pressure(np.array([grid.p0]))[:, 0]
    labels = [f"{low:g}-{high:g}" for low, high in pairwise(PERCENTILE_EDGES)]
    return {
        "level": ("level", np.arange(grid.n_levels), {"long_name": "level, 0 at the model top"}),
        "pressure": (
            "level",
            pressure,
            {"units": "Pa", "long_name": "pressure at midpoints for a surface at P0"},
        ),
        "latitude": (
            "latitude",
            BIN_CENTRES,
            {"units": "degrees_north", "standard_name": "latitude"},
        ),
        "band": ("band", list(BANDS)),
        "layer": ("layer", list(LAYERS)),
        "surface": ("surface", list(SURFACE_TYPES)),
        "target": ("target", list(TARGETS.names)),
        "rain_decile": ("rain_decile", list(RAIN_DECILES)),
        "percentile": ("percentile", labels, {"long_name": "percentile of precipitation [%]"}),
    }
