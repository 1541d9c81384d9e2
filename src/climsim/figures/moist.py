"""Water in a store: phases of the condensate, tops of clouds, and whether columns close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.constants import E3SM, SECONDS_PER_DAY
from climsim.data.store.opened import Store
from climsim.physics.budgets import column_water_residual
from climsim.physics.columns import Columns
from climsim.physics.thermodynamics import liquid_fraction, midpoint_heights, tropopause_level

_HPA: Final = 100.0
LEAST_CONDENSATE: Final = 1e-12
"""Cells with less have no phase [kg kg-1], as in the study of Hu et al. 2025."""
CLOUD: Final = 1e-6
"""The highest level with more is the top of the clouds of a column [kg kg-1]."""
_STATE: Final = ("state_t", "state_q0001", "state_q0002", "state_q0003", "state_ps")
_RATES: Final = ("ptend_q0001", "ptend_q0002", "ptend_q0003", "cam_out_PRECC", "pbuf_LHFLX")
_TEMPERATURES: Final = np.linspace(225.0, 300.0, 76)
_FRACTIONS: Final = np.linspace(0.0, 1.0, 41)
_PRESSURES: Final = np.linspace(0.0, 1000.0, 51)


@dataclass(frozen=True)
class Moisture:
    """What the figures of water show of some steps of a store.

    Attributes:
        temperature: (cell,) of cells with condensate [K].
        liquid: (cell,) liquid over total condensate [1].
        tropopause: (sample,) pressure of the tropopause by the coupler's rule [Pa].
        cloud_top: (sample,) pressure of the highest level with cloud [Pa].
        residual: (column,) time mean of water change plus precipitation [kg m-2 s-1].
        evaporation: (column,) time mean of the latent heat flux as water [kg m-2 s-1].
    """

    temperature: Array
    liquid: Array
    tropopause: Array
    cloud_top: Array
    residual: Array
    evaporation: Array


def look_at_moisture(store: Store, steps: NDArray[np.intp]) -> Moisture | None:
    """Read what the figures show at some steps.

    Args:
        store: the data.
        steps: (time,) indices of steps.

    Returns:
        None where the store lacks a variable that it takes.
    """
    names = (*_STATE, *_RATES)
    if not steps.size or not set(names) <= set(store.names):
        return None
    fields = {name: store.values(name, steps).astype(np.float64) for name in names}
    liquid, ice = fields["state_q0002"], fields["state_q0003"]
    condensate = liquid + ice
    cloudy = condensate > LEAST_CONDENSATE
    columns = Columns.between(store.grid.interface_pressure(fields["state_ps"]), E3SM)
    residual = column_water_residual(fields, columns.levels_last())
    tropopause, cloud_top = _tops(store, fields, condensate)
    return Moisture(
        temperature=fields["state_t"][cloudy],
        liquid=liquid[cloudy] / condensate[cloudy],
        tropopause=tropopause,
        cloud_top=cloud_top,
        residual=residual.mean(axis=0),
        evaporation=fields["pbuf_LHFLX"].mean(axis=0) / E3SM.vaporization_heat,
    )


def _tops(store: Store, fields: Mapping[str, Array], condensate: Array) -> tuple[Array, Array]:
    """Pressure of tropopause and of the highest cloud, of the samples (sample,) that have both."""
    by_level = {
        name: np.moveaxis(values, -1, 0).reshape(store.n_levels, -1)
        for name, values in (*fields.items(), ("cloud", condensate))
        if values.ndim > fields["state_ps"].ndim
    }
    surface = fields["state_ps"].ravel()
    pressure, interfaces = (
        f(surface) for f in (store.grid.midpoint_pressure, store.grid.interface_pressure)
    )
    heights = midpoint_heights(by_level["state_t"], by_level["state_q0001"], interfaces, E3SM)
    level = tropopause_level(by_level["state_t"], heights, pressure, E3SM)
    cloudy = by_level["cloud"] > CLOUD
    known = np.flatnonzero((level >= 0) & cloudy.any(axis=0))
    top = cloudy.argmax(axis=0)[known]
    return pressure[level[known], known], pressure[top, known]


def draw_clouds(found: Moisture) -> Figure:
    """Draw the split into phases by temperature, and the tops of clouds below the tropopause."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2)
    bins = (_TEMPERATURES, _FRACTIONS)
    _density(figure, left, (found.temperature, found.liquid), bins, "cells")
    left.plot(_TEMPERATURES, liquid_fraction(_TEMPERATURES), "k--", lw=1.0, label="microphysics")
    left.set(xlabel="temperature [K]", ylabel="liquid / condensate", title="Split into phases")
    left.legend(loc="lower right")
    tops = (found.tropopause / _HPA, found.cloud_top / _HPA)
    _density(figure, right, tops, (_PRESSURES, _PRESSURES), "columns")
    right.plot([0, 1000], [0, 1000], "k--", lw=1.0)
    right.set(xlabel="tropopause [hPa]", ylabel="cloud top [hPa]", title="Tops of clouds")
    right.set(xlim=(500, 0), ylim=(1000, 0))
    return figure


def _density(
    figure: Figure, ax: Any, pair: tuple[Array, Array], bins: tuple[Array, Array], what: str
) -> None:
    """Count pairs in bins, in colours on a logarithmic scale."""
    counts, *edges = np.histogram2d(*pair, bins=bins)
    if counts.any():
        mesh = ax.pcolormesh(*edges, np.ma.masked_equal(counts.T, 0), norm=LogNorm())
        figure.colorbar(mesh, ax=ax, label=what)


def draw_water(store: Store, found: Moisture) -> Figure:
    """Draw maps of what the water of a column leaves unexplained, without and with evaporation."""
    figure = Figure(figsize=(12.0, 2.6), layout="constrained", dpi=110)
    parts = (
        ("change of water + precipitation", found.residual),
        ("evaporation", found.evaporation),
        ("change of water + precipitation - evaporation", found.residual - found.evaporation),
    )
    size = max(2.0, 9000 / store.n_columns)
    for ax, (title, values) in zip(figure.subplots(1, 3), parts, strict=True):
        shown = values * SECONDS_PER_DAY
        limit = float(np.abs(shown).max()) or 1.0
        scale = {"vmin": -limit, "vmax": limit, "cmap": "RdBu_r"}
        points = ax.scatter(
            store.grid.lon, store.grid.lat, c=shown, s=size, marker="s", lw=0, **scale
        )
        figure.colorbar(points, ax=ax, label="mm/day")
        ax.set(xlim=(0, 360), ylim=(-90, 90), xticks=(), yticks=())
        ax.set_title(title, fontsize=8)
    return figure
