"""Online evaluation: coupled runs measured against a reference run, joined into one dataset.

Rows of the axis ``run`` are the members, the reference (role ``reference``) and, where given, a
second run with the reference's physics from a perturbed start (role ``floor``), whose difference
from the reference is internal variability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.evaluation.history import RunHistory
from climsim.evaluation.metrics import weighted_mean, weighted_rmse
from climsim.evaluation.online_dataset import (
    AXES,
    FLOOR,
    MEMBER,
    REFERENCE,
    Labelled,
    Plan,
    Row,
    join,
    labels_of,
)
from climsim.evaluation.online_run import (
    CONFIDENCE,
    PROFILES,
    SERIES,
    SURFACE,
    TimeMean,
    growth,
    mass_weighted_rmse,
    mass_weights,
    precipitation,
    time_mean,
    tropopause_pressure,
)
from climsim.evaluation.regions import zonal_mean
from climsim.files import provenance, write_netcdf
from climsim.grid import ColumnGrid
from climsim.products import Kind, attributes_of, claim

Progress = Callable[[int, int], None]

ONLINE_METRICS = Kind(
    "a file of online metrics",
    lambda path: {"mean_stream", "git_revision"} <= attributes_of(path).keys(),
)
_STREAMS = {"h1": "daily", "h0": "monthly"}
_FULL_MONTH = 28 * SECONDS_PER_DAY


@dataclass(frozen=True)
class OnlineConfig:
    """Which runs are measured against which reference.

    Attributes:
        runs: folders of the runs with emulated physics.
        reference: folder of the run with full physics (MMF1).
        out: netCDF file to write.
        second_reference: folder of the second run with full physics (MMF2), the floor; or None.
        skip_days: first days that time means and distributions leave out.
        mean_stream: stream of the time means: ``h0``, ``h1``, or ``auto`` (months where the
            reference has at least two full ones, else days).
    """

    runs: tuple[Path, ...]
    reference: Path
    out: Path
    second_reference: Path | None = None
    skip_days: float = 0.0
    mean_stream: str = "auto"

    def __post_init__(self) -> None:
        places = [folder.resolve() for folder in self.runs]
        twice = [str(f) for f, p in zip(self.runs, places, strict=True) if places.count(p) > 1]
        if twice:
            raise ClimSimError(f"runs: expected each folder once, found {', '.join(twice)}")
        if self.skip_days < 0:
            raise ClimSimError(f"skip_days={self.skip_days}: expected a number >= 0")
        if self.mean_stream not in ("auto", "h0", "h1"):
            raise ClimSimError(f"mean_stream={self.mean_stream}: expected auto, h0 or h1")


def evaluate_online(config: OnlineConfig, progress: Progress | None = None) -> Path:
    """Measure coupled runs against a reference and save the metrics as netCDF.

    Args:
        config: the runs.
        progress: called with (runs done, runs in all).

    Returns:
        Path of the metrics.

    Raises:
        ClimSimError: if a folder is missing or a run lies on another grid than the reference.
    """
    references = {"reference": config.reference, "second_reference": config.second_reference}
    claim(config.out, ONLINE_METRICS, references | {str(path): path for path in config.runs})
    reference = RunHistory.open(config.reference)
    plan = make_plan(reference, config)
    rows = [Row(RunHistory.open(folder, allow_empty=True), MEMBER) for folder in config.runs]
    rows.append(Row(reference, REFERENCE))
    if config.second_reference is not None:
        rows.append(Row(RunHistory.open(config.second_reference), FLOOR))
    for done, row in enumerate(rows, start=1):
        if not row.run.empty:
            check_grid(row.run, reference)
        row.arrays = measure(row.run, plan)
        if progress:
            progress(done, len(rows))
    dataset = join(rows, plan)
    settings = {k: v for k, v in asdict(config).items() if k != "out"}
    summaries = [run_summary(row.run) for row in rows]
    hashes = dict(zip(labels_of(rows), summaries, strict=True))
    dataset.attrs |= provenance(settings, hashes)
    write_netcdf(dataset, config.out, checked=True)
    return config.out


def make_plan(reference: RunHistory, config: OnlineConfig) -> Plan:
    """Choose the periods and streams that all runs are compared over."""
    periods = {stream: list(reference.periods(stream)) for stream in ("h0", "h1", "h2")}
    skip_before = reference.start + round(config.skip_days * SECONDS_PER_DAY)
    full = [p for p in periods["h0"] if p[1] - p[0] >= _FULL_MONTH and p[0] >= skip_before]
    stream = config.mean_stream
    if stream == "auto":
        stream = "h0" if len(full) >= 2 or not periods["h1"] else "h1"
    finest = [s for s in ("h2", "h1", "h0") if periods[s]]
    rain = next((s for s in finest if reference.holds(s, "PRECT")), finest[0])
    return Plan(reference, periods, stream, rain, skip_before)


def check_grid(run: RunHistory, reference: RunHistory) -> None:
    """Refuse a run on other columns or levels than the reference.

    A run whose files do not describe its grid is taken to lie on the reference's, if the numbers of
    levels and columns agree.

    Raises:
        ClimSimError: naming the two folders and sizes.
    """
    same = run.size[1] == reference.size[1] and run.size[0] in (None, reference.size[0])
    if same and run is not reference:
        try:
            latitudes = run.grid.lat
        except ClimSimError as error:
            run.note(f"{error}; taken to be the grid of the reference")
        else:
            same = np.allclose(latitudes, reference.grid.lat, atol=1e-3)
    if not same:
        raise ClimSimError(
            f"{run.folder}: grid of {run.size} levels and columns, the reference "
            f"{reference.folder} has {reference.size}: compare runs on one grid"
        )


def run_summary(run: RunHistory) -> str:
    """Number and size of the history files of a run, and the revision that made them.

    Contents are not hashed: five years of history are larger than what is computed from them.
    """
    places = {p.path for s in ("h0", "h1", "h2") for p in run.periods(s).values()}
    total = sum(path.stat().st_size for path in places)
    revision = (run.record.get("made_by") or {}).get("git_revision", "unknown")
    return f"{len(places)} files, {total} bytes, made by revision {revision}"


def measure(run: RunHistory, plan: Plan) -> dict[str, Labelled]:
    """All measures of one run, without the axis ``run``."""
    arrays = _growth_arrays(run, plan)
    mean = time_mean(run, plan.reference, plan.mean_stream, plan.counted(plan.mean_stream))
    if mean.days == 0:
        run.note(
            f"no mean of {plan.mean_stream} in common with the reference; no time mean of this run"
        )
    else:
        arrays |= _mean_arrays(mean, plan.reference.grid)
    arrays["mean_days"] = ((), mean.days, {"units": "d", "long_name": "length of the time mean"})
    arrays |= _rain_arrays(run, plan)
    return arrays


def _growth_arrays(run: RunHistory, plan: Plan) -> dict[str, Labelled]:
    arrays: dict[str, Labelled] = {}
    for stream, word in _STREAMS.items():
        periods = plan.periods[stream]
        if not periods:
            continue
        axis = AXES[stream]
        found = growth(run, plan.reference, stream, periods)
        for name, (unit, what) in PROFILES.items():
            text = f"mass-weighted RMSE of {what} against the reference, {word} means"
            arrays[f"growth_{word}_{name}"] = (
                (axis,),
                found.rmse[name],
                {"units": unit, "long_name": text},
            )
        for name, (unit, what) in SERIES.items():
            for key, values in (("mean", found.mean), ("deviation", found.deviation)):
                notes = {"units": unit, "long_name": f"area {key} of {what}, {word} means"}
                arrays[f"series_{word}_{name}_{key}"] = (("region", axis), values[name], notes)
        for name, what in CONFIDENCE.items():
            if np.isfinite(found.confidence[name]).any():
                notes = {"units": "1", "long_name": f"mass-weighted mean of the {what}, {word}"}
                arrays[f"confidence_{word}_{name}"] = ((axis,), found.confidence[name], notes)
    return arrays


def _mean_arrays(mean: TimeMean, grid: ColumnGrid) -> dict[str, Labelled]:
    arrays: dict[str, Labelled] = {}
    weights = mass_weights(grid, mean.reference["PS"])
    for name, (unit, what) in PROFILES.items():
        if name not in mean.run:
            continue
        run, truth = mean.run[name], mean.reference[name]
        zonal, zonal_truth = (zonal_mean(x, grid.lat, grid.area) for x in (run, truth))
        values: dict[str, tuple[tuple[str, ...], Any, str]] = {
            "rmse_mean": ((), mass_weighted_rmse(run, truth, weights), "mass-weighted RMSE of"),
            "rmse_profile": (("level",), weighted_rmse(run, truth, grid.area), "RMSE by level of"),
            "zonal_bias": (("level", "latitude"), zonal - zonal_truth, "zonal-mean bias of"),
            "zonal_mean": (("level", "latitude"), zonal, "zonal mean of"),
        }
        for metric, (axes, array, text) in values.items():
            notes = {"units": unit, "long_name": f"{text} time-mean {what}"}
            arrays[f"{metric}_{name}"] = (axes, array, notes)
    for name, (unit, what) in SURFACE.items():
        if name not in mean.run:
            continue
        run, truth = mean.run[name], mean.reference[name]
        values = {
            "map": (("column",), run, "time mean of"),
            "zonal_mean": (("latitude",), zonal_mean(run, grid.lat, grid.area), "zonal mean of"),
            "rmse_mean": ((), float(weighted_rmse(run, truth, grid.area)), "RMSE of time-mean"),
        }
        for metric, (axes, array, text) in values.items():
            arrays[f"{metric}_{name}"] = (
                axes,
                array,
                {"units": unit, "long_name": f"{text} {what}"},
            )
    return arrays | _confidence_arrays(mean, grid) | _troposphere(mean, grid, arrays)


def _confidence_arrays(mean: TimeMean, grid: ColumnGrid) -> dict[str, Labelled]:
    """Predicted and true losses of the run, by level and as sections."""
    arrays: dict[str, Labelled] = {}
    for name, what in CONFIDENCE.items():
        if name not in mean.run:
            continue
        values = mean.run[name]
        notes = {"units": "1", "comment": "in units of the training loss"}
        arrays[f"confidence_profile_{name}"] = (
            ("level",),
            weighted_mean(values, grid.area),
            notes | {"long_name": f"area mean of the time-mean {what}"},
        )
        arrays[f"zonal_mean_{name}"] = (
            ("level", "latitude"),
            zonal_mean(values, grid.lat, grid.area),
            notes | {"long_name": f"zonal mean of the time-mean {what}"},
        )
    return arrays


def _troposphere(
    mean: TimeMean, grid: ColumnGrid, arrays: dict[str, Labelled]
) -> dict[str, Labelled]:
    """Zonal-mean tropopause, and the largest zonal-mean biases below it."""
    if not all(name in mean.reference for name in ("T", "Q", "PS")):
        return {}
    pressure = zonal_mean(grid.midpoint_pressure(mean.reference["PS"]), grid.lat, grid.area)
    column = tropopause_pressure(mean.reference, grid)
    found = np.isfinite(column)
    level = zonal_mean(np.where(found, column, 0.0), grid.lat, grid.area * found)
    result: dict[str, Labelled] = {
        "tropopause": (
            ("latitude",),
            level,
            {
                "units": "Pa",
                "long_name": "zonal mean of the tropopause pressure of the reference",
                "comment": "lapse-rate definition of the World Meteorological Organization",
            },
        )
    }
    for name in ("T", "Q"):
        below = np.where(pressure > level, np.abs(arrays[f"zonal_bias_{name}"][1]), np.nan)
        largest = float(np.nanmax(below)) if np.isfinite(below).any() else np.nan
        unit, what = PROFILES[name]
        text = f"largest zonal-mean tropospheric bias of {what}"
        result[f"tropospheric_bias_{name}"] = ((), largest, {"units": unit, "long_name": text})
    return result


def _rain_arrays(run: RunHistory, plan: Plan) -> dict[str, Labelled]:
    counts = precipitation(run, plan.reference, plan.rain_stream, plan.counted(plan.rain_stream))
    if not counts.weight.any():
        run.note(
            f"no PRECT of {plan.rain_stream} in common with the reference; no distribution of "
            "precipitation of this run"
        )
    largest = np.where(np.isfinite(counts.largest), counts.largest, np.nan)
    note = {"comment": f"means of stream {plan.rain_stream}"}
    return {
        "precipitation_frequency": (
            ("surface", "rain_bin"),
            counts.frequency(),
            {"units": "1", "long_name": "fraction of area and time by precipitation", **note},
        ),
        "precipitation_quantile": (
            ("surface", "quantile"),
            counts.quantiles(),
            {"units": "mm d-1", "long_name": "quantile of precipitation", **note},
        ),
        "precipitation_largest": (
            ("surface",),
            largest,
            {"units": "mm d-1", "long_name": "largest precipitation", **note},
        ),
    }
