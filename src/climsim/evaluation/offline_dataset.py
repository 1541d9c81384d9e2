"""From accumulated statistics to the labelled dataset of offline metrics.

Every metric of an output is one data variable ``<metric>_<output>``, on ``level`` for a tendency
and without axis for a surface flux, so that each carries its own unit.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Final

import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.evaluation.accumulator import BUDGETS, Accumulator
from climsim.evaluation.confidence import confidence_arrays
from climsim.evaluation.metrics import PairStatistics, capped_mean, weighted_mean
from climsim.evaluation.outputs import SCORED
from climsim.evaluation.regions import (
    BANDS,
    BIN_CENTRES,
    N_BINS,
    SURFACE_TYPES,
    UPPER_PRESSURE,
    band_members,
    latitude_bin,
)
from climsim.grid import ColumnGrid
from climsim.physics.budgets import energy_unit
from climsim.variables import OUTPUTS, TARGETS, variable

Array = NDArray[np.floating]
Labelled = tuple[tuple[str, ...], Array, dict[str, Any]]

PERCENTILE_EDGES: Final = (0.0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.9, 100)
"""Edges of the percentile bins of precipitation [%]."""
HEIGHTS: Final = ("above 400 hPa", "below 400 hPa")
_BUDGET_NOTES: Final = {
    "water_residual": ("kg m-2 s-1", "water created by the emulated physics in a column"),
    "implied_top_radiation": ("W m-2", "net downward radiation at the top implied by energy"),
}
_UNDEFINED = "NaN where undefined: the truth has no variance"


def offline_dataset(state: Accumulator, grid: ColumnGrid) -> xarray.Dataset:
    """All offline metrics of one member.

    Args:
        state: statistics of the whole split.
        grid: the columns and levels.

    Returns:
        Dataset on ``level`` (0 at the model top), ``latitude``, ``band``, ``height``, ``surface``
        and ``percentile``.
    """
    pooled = state.outputs.pooled()
    arrays: dict[str, Labelled] = {}
    for name, where in SCORED.slices(grid.n_levels).items():
        arrays |= _scores(name, _part(pooled, where), state.outputs, where)
        arrays |= _energy_scores(name, _part(state.energy.pooled(), where))
        arrays |= _sections(name, state.outputs, where, grid)
        arrays |= _by_surface(name, state.surfaces, where)
        arrays |= _by_percentile(name, state, where)
    arrays |= _region_skill(state.outputs, grid)
    arrays |= _summary(pooled, grid.n_levels)
    arrays |= _budget_scores(state.budgets, grid)
    if state.ensemble is not None:
        arrays |= _ensemble_scores(state, grid)
    if state.confidence is not None:
        arrays |= confidence_arrays(state.confidence, grid.n_levels)
    dataset = xarray.Dataset(arrays, _coordinates(grid))
    dataset.attrs["samples"] = int(state.steps * grid.n_columns)
    dataset.attrs["steps"] = state.steps
    if state.non_finite is not None:
        dataset.attrs["problems"] = json.dumps(state.non_finite.problems(grid.n_levels))
    return dataset


def _part(statistics: PairStatistics, where: slice) -> PairStatistics:
    """Statistics of one output (last axis)."""
    return PairStatistics(**{k: v[..., where] for k, v in _arrays(statistics).items()})


def _arrays(statistics: PairStatistics) -> dict[str, Array]:
    names = ("weight", "mean", "deviation", "error", "absolute", "squared")
    return {name: getattr(statistics, name) for name in names}


def _labelled(name: str, values: Array, axes: tuple[str, ...], **notes: Any) -> Labelled:
    """Attach axes and attributes; the level axis of a surface flux is dropped."""
    if variable(name).profile:
        return (*axes, "level"), values, notes
    return axes, values[..., 0], notes


def _scores(
    name: str, pooled: PairStatistics, columns: PairStatistics, where: slice
) -> dict[str, Labelled]:
    unit, what = variable(name).unit, variable(name).long_name
    by_column = _part(columns, where).r2()
    defined = np.isfinite(by_column)
    climsim = weighted_mean(np.where(defined, by_column, 0.0), defined, axis=0)
    values = {
        "r2": (pooled.r2(), "1", "R2 over all samples and columns"),
        "r2_climsim": (climsim, "1", "R2 per column over time, then mean over columns"),
        "mae": (pooled.mae(), unit, "mean absolute error"),
        "rmse": (pooled.rmse(), unit, "root mean squared error"),
        "bias": (pooled.bias(), unit, "mean of prediction minus truth"),
        "truth_mean": (pooled.mean, unit, "mean of the truth"),
        "truth_deviation": (np.sqrt(pooled.variance), unit, "standard deviation of the truth"),
    }
    return {
        f"{metric}_{name}": _labelled(
            name,
            array,
            (),
            units=unit_,
            long_name=f"{text}: {what}",
            **({"comment": _UNDEFINED} if metric.startswith("r2") else {}),
        )
        for metric, (array, unit_, text) in values.items()
    }


def _energy_scores(name: str, pooled: PairStatistics) -> dict[str, Labelled]:
    what = variable(name).long_name
    notes = {"units": energy_unit(name), "comment": "ClimSim's weighting: dp/g, area, energy"}
    values = {"mae": pooled.mae(), "rmse": pooled.rmse(), "bias": pooled.bias()}
    result = {
        f"{metric}_energy_{name}": _labelled(
            name, array, (), long_name=f"{metric}: {what}", **notes
        )
        for metric, array in values.items()
    }
    result[f"r2_energy_{name}"] = _labelled(
        name, pooled.r2(), (), units="1", long_name=f"R2, weighted: {what}", comment=_UNDEFINED
    )
    return result


def _sections(
    name: str, columns: PairStatistics, where: slice, grid: ColumnGrid
) -> dict[str, Labelled]:
    bins = _part(columns, where).grouped(latitude_bin(grid.lat), N_BINS)
    unit, what = variable(name).unit, variable(name).long_name
    values = {
        "r2_section": (bins.r2(), "1", "R2 in bins of latitude"),
        "bias_section": (bins.bias(), unit, "zonal-mean bias"),
        "truth_section": (
            np.where(bins.weight > 0, bins.mean, np.nan),
            unit,
            "zonal mean of the truth",
        ),
    }
    return {
        f"{metric}_{name}": _labelled(
            name, array, ("latitude",), units=unit_, long_name=f"{text}: {what}"
        )
        for metric, (array, unit_, text) in values.items()
    }


def _by_surface(name: str, surfaces: PairStatistics, where: slice) -> dict[str, Labelled]:
    """R2 and bias by surface type; NaN where no column is of the type."""
    part = _part(surfaces, where)
    unit, what = variable(name).unit, variable(name).long_name
    values = {
        "r2_surface": (part.r2(), "1", "R2 by surface type"),
        "bias_surface": (part.bias(), unit, "bias by surface type"),
    }
    return {
        f"{metric}_{name}": _labelled(
            name, array, ("surface",), units=unit_, long_name=f"{text}: {what}"
        )
        for metric, (array, unit_, text) in values.items()
    }


def percentile_groups(counts: Array) -> NDArray[np.intp]:
    """Which percentile bin each bin of precipitation falls into.

    Args:
        counts: (bin,) samples in ascending bins.

    Returns:
        (bin,) number of the percentile bin of the middle of the bin; -1 for empty bins.
    """
    share = 100.0 * (np.cumsum(counts) - 0.5 * counts) / max(counts.sum(), 1.0)
    group = np.searchsorted(PERCENTILE_EDGES[1:-1], share, side="right")
    return np.where(counts > 0, group, -1)


def _by_percentile(name: str, state: Accumulator, where: slice) -> dict[str, Labelled]:
    group = percentile_groups(state.rain_count)
    member = (np.arange(len(PERCENTILE_EDGES) - 1)[:, None] == group).astype(float)
    count = (member @ state.rain_count)[:, None]
    unit, what = variable(name).unit, variable(name).long_name
    result = {}
    for metric, sums in (("bias", state.rain_error), ("truth", state.rain_truth)):
        mean = np.where(count > 0, (member @ sums[:, where]) / np.maximum(count, 1), np.nan)
        text = {"bias": "mean error", "truth": "mean of the truth"}[metric]
        result[f"{metric}_by_precipitation_{name}"] = _labelled(
            name,
            mean,
            ("percentile",),
            units=unit,
            long_name=f"{text} by percentile of precipitation: {what}",
            comment="percentiles from 50 logarithmic bins a decade",
        )
    return result


def _region_skill(columns: PairStatistics, grid: ColumnGrid) -> dict[str, Labelled]:
    """Mean of capped R2 over levels, by band of latitude and above and below 400 hPa."""
    bands = band_members(grid.lat, BANDS)
    labels = np.where(bands.any(axis=0), bands.argmax(axis=0), -1)
    r2 = columns.grouped(labels, len(BANDS)).r2()
    upper = grid.midpoint_pressure(np.array([grid.p0]))[:, 0] < UPPER_PRESSURE
    result: dict[str, Labelled] = {}
    for name in SCORED.profiles:
        part = r2[:, SCORED.slice(name, grid.n_levels)]
        values = np.array([[capped_mean(row[side]) for side in (upper, ~upper)] for row in part])
        notes = {"units": "1", "long_name": f"mean R2 by region: {variable(name).long_name}"}
        result[f"r2_region_{name}"] = (("band", "height"), values, notes)
    return result


def _summary(pooled: PairStatistics, levels: int) -> dict[str, Labelled]:
    r2 = pooled.r2()
    outputs = slice(0, OUTPUTS.size(levels))
    comment = "negative values count as 0; undefined outputs are left out"
    result: dict[str, Labelled] = {
        "r2_mean": (
            (),
            np.array(capped_mean(r2[outputs])),
            {"units": "1", "long_name": "mean R2 over all outputs", "comment": comment},
        ),
        "undefined_outputs": (
            (),
            np.array(int((pooled.variance[outputs] == 0).sum())),
            {"units": "1", "long_name": "outputs without variance, for which R2 is undefined"},
        ),
    }
    for name, where in SCORED.slices(levels).items():
        value = np.array(capped_mean(r2[where]))
        notes = {"units": "1", "long_name": f"mean R2: {variable(name).long_name}"}
        result[f"r2_mean_{name}"] = ((), value, notes | {"comment": comment})
    return result


def _ensemble_scores(state: Accumulator, grid: ColumnGrid) -> dict[str, Labelled]:
    """CRPS and spread of an ensemble, whose mean the other scores are of."""
    assert state.ensemble is not None
    crps, variance = state.ensemble / (state.steps * grid.n_columns)
    result: dict[str, Labelled] = {}
    for name, where in SCORED.slices(grid.n_levels).items():
        unit, what = variable(name).unit, variable(name).long_name
        for metric, values, text in (
            ("crps", crps[where], "continuous ranked probability score of the ensemble"),
            ("spread", np.sqrt(variance[where]), "root mean variance over members"),
        ):
            result[f"{metric}_{name}"] = _labelled(
                name, values, (), units=unit, long_name=f"{text}: {what}"
            )
    return result


def _budget_scores(columns: PairStatistics, grid: ColumnGrid) -> dict[str, Labelled]:
    pooled = columns.pooled()
    bins = columns.grouped(latitude_bin(grid.lat), N_BINS)
    area = grid.area[:, None]
    truth = weighted_mean(columns.mean, area, axis=0)
    prediction = weighted_mean(columns.prediction_mean(), area, axis=0)
    result: dict[str, Labelled] = {}
    for i, budget in enumerate(BUDGETS):
        unit, what = _BUDGET_NOTES[budget]
        for key, values, axes, text in (
            ("truth", truth[i], (), "global mean of the truth"),
            ("prediction", prediction[i], (), "global mean of the prediction"),
            ("rmse", pooled.rmse()[i], (), "root mean squared error of a column"),
            ("bias_zonal", bins.bias()[:, i], ("latitude",), "zonal-mean bias"),
        ):
            notes = {"units": unit, "long_name": f"{text}: {what}"}
            result[f"{budget}_{key}"] = (axes, np.asarray(values), notes)
    return result


def _coordinates(grid: ColumnGrid) -> dict[str, Any]:
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
        "height": ("height", list(HEIGHTS)),
        "surface": ("surface", list(SURFACE_TYPES)),
        "target": ("target", list(TARGETS.names)),
        "percentile": ("percentile", labels, {"long_name": "percentile of precipitation [%]"}),
    }
