"""Measures of one online run against the reference, each a pass over matching means.

Means match when they cover exactly the same period; a period that only one of the runs finished is
left out of every comparison. All functions return arrays of the run alone; `online` joins runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array, Fields
from climsim.constants import E3SM, SECONDS_PER_DAY
from climsim.evaluation.definitions import EQUAL, Definitions
from climsim.evaluation.derived import (
    CLOUD,
    CONDENSATE_TENDENCY,
    FRACTIONS,
    of_one_mean,
    surface_weights,
    with_sums,
)
from climsim.evaluation.history import Period, RunHistory
from climsim.evaluation.metrics import ratio, weighted_rmse
from climsim.evaluation.precipitation import PrecipitationCounts
from climsim.evaluation.regions import surface_members
from climsim.grid import ColumnGrid
from climsim.physics.columns import Columns, layer_mass

PROFILES: Final[dict[str, tuple[str, str]]] = {
    "T": ("K", "temperature"),
    "Q": ("kg kg-1", "specific humidity"),
    "U": ("m s-1", "zonal wind"),
    "V": ("m s-1", "meridional wind"),
    "CLDLIQ": ("kg kg-1", "cloud liquid"),
    "CLDICE": ("kg kg-1", "cloud ice"),
    CLOUD: ("kg kg-1", "cloud liquid plus ice"),
    "DTPHYS": ("K s-1", "physics tendency of temperature"),
    "DQ1PHYS": ("kg kg-1 s-1", "physics tendency of water vapour"),
    "DQ2PHYS": ("kg kg-1 s-1", "physics tendency of cloud liquid"),
    "DQ3PHYS": ("kg kg-1 s-1", "physics tendency of cloud ice"),
    CONDENSATE_TENDENCY: ("kg kg-1 s-1", "physics tendency of cloud condensate"),
    "DUPHYS": ("m s-2", "physics tendency of zonal wind"),
    "DVPHYS": ("m s-2", "physics tendency of meridional wind"),
}
"""Compared fields with levels: unit and name in words, by their name in history files."""
SURFACE: Final[dict[str, tuple[str, str]]] = {
    "PRECT": ("m s-1", "precipitation"),
    "TMQ": ("kg m-2", "precipitable water"),
    "FLUT": ("W m-2", "outgoing longwave radiation"),
    "FSNT": ("W m-2", "net solar radiation at the model top"),
    "LHFLX": ("W m-2", "latent heat flux"),
    "SHFLX": ("W m-2", "sensible heat flux"),
    "LANDFRAC": ("1", "land fraction"),
}
"""Compared fields without levels."""
CONFIDENCE: Final[dict[str, str]] = {
    f"{name}{suffix}": f"{kind} loss of the {what}"
    for suffix, kind in (("CONF", "predicted"), ("LOSS", "true"))
    for name, what in (
        ("DTPHYS", "tendency of temperature"),
        ("DQ1PHYS", "tendency of water vapour"),
        ("DQNPHYS", "tendency of condensate"),
        ("DUPHYS", "tendency of zonal wind"),
    )
}
"""Losses that a model with a confidence head predicts, and the true ones where the physics runs
beside it, in units of the training loss: name in words."""
SERIES: Final[dict[str, tuple[str, str]]] = {
    "T_lowest": ("K", "temperature of the lowest level"),
    "TMQ": ("kg m-2", "precipitable water"),
    "cloud_path": ("kg m-2", "cloud water path, liquid and ice"),
    "PRECT": ("m s-1", "precipitation"),
}
"""Quantities of the regional series."""
_PATHS = ("TGCLDLWP", "TGCLDIWP")
"""Summed to the cloud water path where files lack the profiles that it is the integral of."""
FIELDS: Final = tuple(
    dict.fromkeys([*PROFILES, *SURFACE, *CONFIDENCE, "PS", *_PATHS, *FRACTIONS, "PRECC", "PRECL"])
)
"""Fields of the history that are always read."""
RAIN_FIELDS: Final = ("PRECT", "PRECC", "PRECL", *FRACTIONS)
"""Those of them that distributions of precipitation are made of."""


@dataclass(frozen=True)
class TimeMean:
    """Means of a run and of the reference over the periods that both have.

    Attributes:
        run: fields of the run, (level, column) or (column,), with its confidences.
        reference: fields of the reference over the same periods.
        later_run: fields of the run without the period that zonal biases leave out.
        later_reference: likewise of the reference.
        days: length of the mean [days].
    """

    run: Fields
    reference: Fields
    later_run: Fields
    later_reference: Fields
    days: float


class _Mean:
    """Weighted mean of fields that some of the periods hold; NaN counts where it is defined."""

    def __init__(self) -> None:
        self.sums: Fields = {}
        self.weights: Fields = {}

    def add(self, fields: Fields, weight: float) -> None:
        for name, values in fields.items():
            known = np.isfinite(values)
            self.sums[name] = self.sums.get(name, 0.0) + weight * np.where(known, values, 0.0)
            self.weights[name] = self.weights.get(name, 0.0) + weight * known

    def fields(self) -> Fields:
        return {name: ratio(values, self.weights[name]) for name, values in self.sums.items()}


def mass_weights(grid: ColumnGrid, surface_pressure: Array) -> Array:
    """Weights (level, column): area times layer mass."""
    return layer_mass(grid.interface_pressure(surface_pressure), E3SM) * grid.area


def mass_weighted_rmse(values: Array, reference: Array, weights: Array) -> float:
    """RMSE of a field (level, column) with weights of the same shape."""
    return float(weighted_rmse(values, reference, weights, axis=(0, 1)))


def series_fields(fields: dict[str, Array], grid: ColumnGrid) -> dict[str, Array]:
    """Quantities of `SERIES` (column,) from the fields of one mean, with their sums."""
    result: dict[str, Array] = {n: fields[n] for n in ("TMQ", "PRECT") if n in fields}
    if "T" in fields:
        result["T_lowest"] = fields["T"][-1]
    if CLOUD in fields and "PS" in fields:
        columns = Columns.between(grid.interface_pressure(fields["PS"]), E3SM)
        result["cloud_path"] = columns.integral(fields[CLOUD])
    elif all(name in fields for name in _PATHS):
        result["cloud_path"] = fields[_PATHS[0]] + fields[_PATHS[1]]
    return result


def time_mean(
    run: RunHistory,
    reference: RunHistory,
    stream: str,
    periods: Sequence[Period],
    definitions: Definitions,
    without: Period | None = None,
    names: Sequence[str] = FIELDS,
) -> TimeMean:
    """Mean of a run and of the reference over the periods that both have.

    Args:
        run: the run.
        reference: the run that it is compared with.
        stream: history stream.
        periods: periods of the reference that count.
        definitions: how means are weighted, and what is formed of each of them.
        without: period that zonal biases leave out.
        names: fields that are read.
    """
    whole, later = (_Mean(), _Mean()), (_Mean(), _Mean())
    lengths, total = Counter[str](), 0.0
    for period in periods:
        found = _pair(run, reference, stream, period, names)
        if found is None:
            continue
        days = (period[1] - period[0]) / SECONDS_PER_DAY
        total += days
        lengths.update(dict.fromkeys(found[0], days))
        weight = 1.0 if definitions.month_weights == EQUAL else days
        for side, fields in enumerate(found):
            extra = of_one_mean(fields, reference.grid, definitions.tropopause)
            whole[side].add(fields | extra, weight)
            if period != without:
                later[side].add({n: x for n, x in fields.items() if n in PROFILES}, weight)
    # A time mean is over the means that hold the field, and says where that is not all of them.
    for name in sorted(n for n, days in lengths.items() if days < total):
        run.note(f"{name}: only in {lengths[name]:g} of {total:g} days of the time mean")
    run_mean, truth, run_later, truth_later = (mean.fields() for mean in (*whole, *later))
    return TimeMean(run_mean, truth, run_later, truth_later, total)


def _pair(
    run: RunHistory, reference: RunHistory, stream: str, period: Period, names: Sequence[str]
) -> tuple[Fields, Fields] | None:
    """Fields of a run and of the reference that both hold, and what one side alone has.

    That is the run's confidences, and the reference's surface pressure, whose layer mass weighs
    errors. A run without surface fractions has those of the reference.
    """
    if period not in run.periods(stream):
        return None
    fields, truth = (side.read(stream, period, names) for side in (run, reference))
    if fields is None or truth is None:
        return None
    surfaces = {name: truth[name] for name in FRACTIONS if name in truth}
    fields, truth = with_sums(surfaces | fields), with_sums(truth)
    shared = fields.keys() & truth.keys()
    held = shared | (fields.keys() & CONFIDENCE.keys())
    weighing = shared | (truth.keys() & {"PS"})
    return {n: fields[n] for n in held}, {n: truth[n] for n in weighing}


def mean_fractions(reference: RunHistory, stream: str, periods: Sequence[Period]) -> Fields:
    """Time-mean surface fractions (column,) of the reference; empty where it has none."""
    mean = _Mean()
    for period in periods:
        mean.add(reference.read(stream, period, FRACTIONS) or {}, 1.0)
    return mean.fields()


def precipitation(
    run: RunHistory,
    reference: RunHistory,
    stream: str,
    periods: Sequence[Period],
    fractions: Fields,
    names: Sequence[str] = RAIN_FIELDS,
) -> PrecipitationCounts:
    """Distribution of precipitation over the periods that the run shares with the reference.

    Args:
        run: the run.
        reference: gives the surface fractions where the run's own files lack them.
        stream: history stream.
        periods: periods of the reference that count.
        fractions: time-mean surface fractions, which weigh the density.
        names: fields that are read: more where these have been read already.
    """
    counts = PrecipitationCounts.zero()
    weights = surface_weights(fractions, reference.grid.area)
    of_the_run = run.periods(stream)
    for period in periods:
        if period not in of_the_run:
            continue
        fields = run.read(stream, period, names)
        fields = None if fields is None else with_sums(fields)
        if fields is None or "PRECT" not in fields:
            continue
        if not all(name in fields for name in FRACTIONS):
            fields = (reference.read(stream, period, FRACTIONS) or {}) | fields
        surfaces = _surfaces(fields)
        area = reference.grid.area
        counts = counts + PrecipitationCounts.of(fields["PRECT"], area, surfaces, weights)
    return counts


def _surfaces(fields: dict[str, Array]) -> NDArray[np.bool_]:
    """Surface types of the columns; without fractions every type but ``all`` is empty."""
    if all(name in fields for name in FRACTIONS):
        return surface_members(*(fields[name] for name in FRACTIONS))
    nothing = np.zeros_like(fields["PRECT"])
    return surface_members(nothing, nothing, nothing)
