"""Zonal-mean precipitation, water and radiation beside the reference."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.figures.growth import legend_handles
from climsim.figures.panels import (
    full_physics_runs,
    latitude_axis,
    legend_below,
    network_line,
    panel_grid,
    title_panel,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import not_shown, runs_with_full_physics
from climsim.figures.style import LineLook
from climsim.results.quantities import quantity
from climsim.results.selection import (
    defined,
    of_recipe,
    online_members,
    recipe_variants,
    run_by_run,
)
from climsim.results.study import NothingToDrawError, Study

_NAMES = ("PRECT", "TMQ", "FLUT", "FSNT")


def draw(study: Study, variant: str) -> Figure:
    """Draw zonal means of precipitation, water, and radiation at the top for one recipe."""
    members = of_recipe(online_members(study), variant)
    names = [n for n in _NAMES if defined(members, f"zonal_mean_{n}").any()]
    if not names:
        raise NothingToDrawError("no member has a time mean of precipitation, water or radiation")
    figure, axes = panel_grid(len(names), 2, 2.0, width=7.2)
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        for run in run_by_run(members, f"zonal_mean_{name}"):
            bins = run.sizes["latitude"]
            _line(ax, run, name, **network_line(str(run["network"].values), bins))
        for run, look in full_physics_runs(study):
            wide: LineLook = {**look, "linewidth": 1.5}
            _line(ax, run, name, **wide)
        latitude_axis(ax)
        ax.set_ylabel(quantity(name).unit)
        ax.grid(visible=True)
        title_panel(ax, f"zonal-mean {quantity(name).symbol}", i)
    legend_below(figure, legend_handles(study, members, reference=True))
    return figure


def remarks(study: Study, variant: str) -> list[str]:
    """What the black lines are, and which members are missing."""
    members = of_recipe(online_members(study), variant)
    known = np.logical_or.reduce([defined(members, f"zonal_mean_{n}") for n in _NAMES])
    return [*runs_with_full_physics(study), *not_shown(study, members, known)]


def _line(ax: Axes, run: xarray.Dataset, name: str, **style: Unpack[LineLook]) -> None:
    """Draw a zonal mean; bins of latitude without columns are bridged."""
    known = run[f"zonal_mean_{name}"].dropna("latitude")
    look: LineLook = {"linewidth": 1.0, **style}
    ax.plot(known["latitude"], quantity(name).shown(known), **look)


FIGURE = FigureSpec(
    name="precipitation_zonal",
    order=52,
    title="Zonal means of precipitation, water and radiation",
    caption=(
        "Time and zonal mean of precipitation, precipitable water, and radiation at the model "
        "top, for every member that has them. A member's mean is over the periods that it "
        "finished."
    ),
    draw=draw,
    variants=recipe_variants,
    remarks=remarks,
    by_recipe=True,
)
