"""Distributions of precipitation by surface type."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.figures.growth import legend_handles
from climsim.figures.panels import (
    full_physics_runs,
    legend_below,
    network_line,
    panel_grid,
    title_panel,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import not_shown, runs_with_full_physics
from climsim.figures.style import LineLook, literal
from climsim.results.selection import (
    defined,
    of_recipe,
    online_members,
    online_reference,
    recipe_variants,
    run_by_run,
)
from climsim.results.study import NothingToDrawError, Study

_LOWEST = 0.1
"""Precipitation at which the axis begins [mm/day]."""


def draw(study: Study, variant: str) -> Figure:
    """Draw log-log densities of precipitation: a panel for each surface type, for one recipe."""
    reference = online_reference(study)
    members = of_recipe(online_members(study), variant)
    known = reference["precipitation_frequency"].notnull().any("rain_bin")
    surfaces = [str(s) for s in reference["surface"].values[known.values]]
    if not surfaces:
        raise NothingToDrawError("the history files hold no precipitation")
    figure, axes = panel_grid(len(surfaces), 2, 2.1, width=7.2, sharex=True, sharey=True)
    for i, (ax, surface) in enumerate(zip(axes, surfaces, strict=True)):
        for run in run_by_run(members, "precipitation_frequency"):
            bins = run.sizes["rain_bin"] - 2
            _density(ax, run, surface, **network_line(str(run["network"].values), bins))
        for run, look in full_physics_runs(study):
            _density(ax, run, surface, **look)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(_LOWEST, _end(reference, members))
        ax.grid(visible=True)
        title_panel(ax, literal(surface), i)
        if i % 2 == 0:
            ax.set_ylabel("density per decade")
    for ax in axes[-2:]:
        ax.set_xlabel("precipitation (mm day$^{-1}$)")
        ax.tick_params(labelbottom=True)
    legend_below(figure, legend_handles(study, members, reference=True))
    return figure


def remarks(study: Study, variant: str) -> list[str]:
    """What the black lines are, and which members are missing."""
    members = of_recipe(online_members(study), variant)
    known = defined(members, "precipitation_frequency")
    return [*runs_with_full_physics(study), *not_shown(study, members, known)]


def _density(ax: Axes, run: xarray.Dataset, surface: str, **style: Unpack[LineLook]) -> None:
    """Draw the frequency per decade of precipitation; bins without samples break the line."""
    frequency = run["precipitation_frequency"].sel(surface=surface).values[1:-1]
    low, high = run["rain_low"].values[1:-1], run["rain_high"].values[1:-1]
    density = frequency / np.log10(high / low)
    shown = np.where(density > 0, density, np.nan)
    look: LineLook = {"linewidth": 1.3, **style}
    ax.plot(np.sqrt(low * high), shown, **look)


def _end(*runs: xarray.Dataset) -> float:
    """The power of ten above the largest precipitation of any run, at least 100 mm/day."""
    largest = [float(run["precipitation_largest"].max()) for run in runs]
    return 10.0 ** max(2.0, np.ceil(np.log10(np.nanmax(largest))))


FIGURE = FigureSpec(
    name="precipitation_distribution",
    order=54,
    title="Distribution of precipitation",
    caption=(
        "Fraction of area and time per decade of precipitation, over all columns and over columns"
        " that are more than half land, open ocean or sea ice. From the finest history stream "
        "that the reference has (hourly, else daily); of runs that became unstable, over the time"
        " until then."
    ),
    draw=draw,
    variants=recipe_variants,
    remarks=remarks,
    by_recipe=True,
)
