"""Bias by height and day of the first month, for each region."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.figure import Figure

from climsim.figures.panels import (
    colour_bar,
    panel_grid,
    pressure_axis,
    symmetric_limit,
    title_panel,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.style import DIVERGING, UNDEFINED_COLOUR, literal
from climsim.results.labels import label_of
from climsim.results.measures import Measure
from climsim.results.selection import best_of_networks
from climsim.results.study import NothingToDrawError, Study

_HPA = 100.0
_NAMES = ("T", "Q", "CLDLIQ", "CLDICE")


def variants(study: Study) -> tuple[str, ...]:
    """One figure for each field that has daily means."""
    if study.online is None:
        return ()
    held = study.online
    return tuple(name for name in _NAMES if Measure("first_month_bias", name).known(held))


def draw(study: Study, variant: str) -> Figure:
    """Draw the bias against day and pressure: a row for each network, a column for each region."""
    measure = Measure("first_month_bias", variant or "T")
    members = best_of_networks(study)
    if not measure.known(members):
        raise NothingToDrawError("the runs hold no daily means")
    values = measure.shown(members)
    regions = [str(region) for region in members["region"].values]
    count = members.sizes["run"] * len(regions)
    figure, axes = panel_grid(count, len(regions), 1.6, width=7.2, sharex=True)
    limit, meshes = symmetric_limit(values), []
    for i, ax in enumerate(axes):
        run, region = divmod(i, len(regions))
        panel = values.isel(run=run, region=region).transpose("level", "first_day")
        ax.set_facecolor(UNDEFINED_COLOUR)
        mesh = ax.pcolormesh(
            panel["first_day"].values,
            panel["pressure"].values / _HPA,
            np.ma.masked_invalid(panel.values),
            vmin=-limit,
            vmax=limit,
            cmap=DIVERGING,
            shading="nearest",
            rasterized=True,
        )
        meshes.append(mesh)
        pressure_axis(ax, panel["pressure"].values, label=region == 0)
        title_panel(ax, _title(members.isel(run=run), regions[region], region), i)
        if i >= count - len(regions):
            ax.set_xlabel("day")
    colour_bar(figure, meshes[-1], axes, measure.quantity.label)
    return figure


def _title(run: xarray.Dataset, region: str, column: int) -> str:
    return f"{label_of(run)}\n{literal(region)}" if column == 0 else literal(region)


FIGURE = FigureSpec(
    "first_month",
    43,
    "Bias in the first month",
    "Area-mean difference from the reference by day and height (nominal pressure), from daily "
    "means, over the globe, the tropics (30S-30N) and the rest of each hemisphere, for the member "
    "of each network with the smallest RMSE of the time mean of temperature.",
    draw,
    variants=variants,
    by_recipe=True,
)
