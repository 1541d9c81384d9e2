"""Measures of one online run against the reference, each a pass over matching means.

Means match when they cover exactly the same period; a period that only one of the runs finished is
left out of every comparison. All functions return arrays of the run alone; `online` joins runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.constants import E3SM, SECONDS_PER_DAY
from climsim.evaluation.history import Period, RunHistory
from climsim.evaluation.metrics import weighted_rmse
from climsim.evaluation.precipitation import PrecipitationCounts
from climsim.evaluation.regions import surface_members
from climsim.evaluation.tropopause import lapse_rate_tropopause
from climsim.grid import ColumnGrid
from climsim.physics.columns import Columns, layer_mass
from climsim.physics.thermodynamics import midpoint_heights

PROFILES: Final[dict[str, tuple[str, str]]] = {
    "T": ("K", "temperature"),
    "Q": ("kg kg-1", "specific humidity"),
    "U": ("m s-1", "zonal wind"),
    "V": ("m s-1", "meridional wind"),
    "CLDLIQ": ("kg kg-1", "cloud liquid"),
    "CLDICE": ("kg kg-1", "cloud ice"),
    "DTPHYS": ("K s-1", "physics tendency of temperature"),
    "DQ1PHYS": ("kg kg-1 s-1", "physics tendency of water vapour"),
    "DQ2PHYS": ("kg kg-1 s-1", "physics tendency of cloud liquid"),
    "DQ3PHYS": ("kg kg-1 s-1", "physics tendency of cloud ice"),
    "DUPHYS": ("m s-2", "physics tendency of zonal wind"),
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
_FRACTIONS = ("LANDFRAC", "OCNFRAC", "ICEFRAC")
FIELDS: Final = (*PROFILES, *SURFACE, *CONFIDENCE, "PS", *_PATHS)
"""Fields of the history that are always read."""


@dataclass(frozen=True)
class TimeMean:
    """Means of a run and of the reference over the periods that both have.

    Attributes:
        run: fields of the run, (level, column) or (column,), with its confidences.
        reference: fields of the reference over the same periods.
        days: length of the mean [days].
    """

    run: dict[str, Array]
    reference: dict[str, Array]
    days: float


def mass_weights(grid: ColumnGrid, surface_pressure: Array) -> Array:
    """Weights (level, column): area times layer mass."""
    return layer_mass(grid.interface_pressure(surface_pressure), E3SM) * grid.area


def mass_weighted_rmse(values: Array, reference: Array, weights: Array) -> float:
    """RMSE of a field (level, column) with weights of the same shape."""
    return float(weighted_rmse(values, reference, weights, axis=(0, 1)))


def series_fields(fields: dict[str, Array], grid: ColumnGrid) -> dict[str, Array]:
    """Quantities of `SERIES` (column,) from the fields of one mean."""
    result: dict[str, Array] = {n: fields[n] for n in ("TMQ", "PRECT") if n in fields}
    if "T" in fields:
        result["T_lowest"] = fields["T"][-1]
    if all(name in fields for name in _PATHS):
        result["cloud_path"] = fields[_PATHS[0]] + fields[_PATHS[1]]
    elif all(name in fields for name in ("CLDLIQ", "CLDICE", "PS")):
        columns = Columns.between(grid.interface_pressure(fields["PS"]), E3SM)
        result["cloud_path"] = columns.integral(fields["CLDLIQ"] + fields["CLDICE"])
    return result


def time_mean(
    run: RunHistory,
    reference: RunHistory,
    stream: str,
    periods: Sequence[Period],
    names: Sequence[str] = FIELDS,
) -> TimeMean:
    """Mean of a run and of the reference over the periods that both have, weighted by length.

    Args:
        run: the run.
        reference: the run that it is compared with.
        stream: history stream.
        periods: periods of the reference that count.
        names: fields that are read.
    """
    sums: tuple[dict[str, Array], dict[str, Array]] = ({}, {})
    lengths: dict[str, float] = {}
    total = 0.0
    own = run.periods(stream)
    for period in periods:
        if period not in own:
            continue
        fields = run.read(stream, period, names)
        truth = reference.read(stream, period, names)
        if fields is None or truth is None:
            continue
        days = (period[1] - period[0]) / SECONDS_PER_DAY
        total += days
        shared = fields.keys() & truth.keys()
        own_only = fields.keys() & CONFIDENCE.keys()
        for name in shared | own_only:
            lengths[name] = lengths.get(name, 0.0) + days
        for side, values, held in ((0, fields, shared | own_only), (1, truth, shared)):
            for name in held:
                sums[side][name] = sums[side].get(name, 0.0) + days * values[name]
    run_mean, reference_mean = (
        {name: values / lengths[name] for name, values in side.items()} for side in sums
    )
    # A time mean is over the means that hold the field, and says where that is not all of them.
    for name in sorted(n for n, days in lengths.items() if days < total):
        run.note(f"{name}: only in {lengths[name]:g} of {total:g} days of the time mean")
    return TimeMean(run_mean, reference_mean, total)


def precipitation(
    run: RunHistory, reference: RunHistory, stream: str, periods: Sequence[Period]
) -> PrecipitationCounts:
    """Distribution of precipitation over the periods that the run shares with the reference.

    Args:
        run: the run.
        reference: gives the surface fractions where the run's own files lack them.
        stream: history stream.
        periods: periods of the reference that count.
    """
    counts = PrecipitationCounts.zero()
    own = run.periods(stream)
    for period in periods:
        if period not in own:
            continue
        fields = run.read(stream, period, ("PRECT", *_FRACTIONS))
        if fields is None or "PRECT" not in fields:
            continue
        if not all(name in fields for name in _FRACTIONS):
            fields = (reference.read(stream, period, _FRACTIONS) or {}) | fields
        surfaces = _surfaces(fields)
        counts = counts + PrecipitationCounts.of(fields["PRECT"], reference.grid.area, surfaces)
    return counts


def _surfaces(fields: dict[str, Array]) -> NDArray[np.bool_]:
    """Surface types of the columns; without fractions every type but ``all`` is empty."""
    if all(name in fields for name in _FRACTIONS):
        return surface_members(*(fields[name] for name in _FRACTIONS))
    nothing = np.zeros_like(fields["PRECT"])
    return surface_members(nothing, nothing, nothing)


def tropopause_pressure(mean: dict[str, Array], grid: ColumnGrid) -> Array:
    """Pressure (column,) [Pa] of the lapse-rate tropopause of a time mean; NaN without one."""
    pressure = grid.midpoint_pressure(mean["PS"])
    heights = midpoint_heights(mean["T"], mean["Q"], grid.interface_pressure(mean["PS"]), E3SM)
    return lapse_rate_tropopause(mean["T"], heights, pressure)
