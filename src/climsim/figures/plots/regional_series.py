"""Regional means of water, temperature and cloud against time."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.figures.growth import elapsed, legend_handles, time_axis
from climsim.figures.labels import quantity
from climsim.figures.members import online_members
from climsim.figures.panels import dashes, head, legend_below, panel_grid
from climsim.figures.registry import FigureSpec
from climsim.figures.study import Study
from climsim.figures.style import MMF_COLOUR, network_style

_QUANTITIES = ("TMQ", "T_lowest", "cloud_path")


def variants(study: Study) -> tuple[str, ...]:
    """One figure for each quantity that the runs have."""
    if study.online is None:
        return ()
    word, _ = time_axis(study)
    return tuple(
        n
        for n in _QUANTITIES
        if np.isfinite(study.online.get(f"series_{word}_{n}_mean", np.nan)).any()
    )


def draw(study: Study, variant: str) -> Figure:
    """Draw the area mean of a quantity in four regions, with its spread over the reference area."""
    members = online_members(study)
    word, axis = time_axis(study)
    x, x_label = elapsed(study, axis)
    name = f"series_{word}_{variant or _QUANTITIES[0]}_mean"
    regions = [str(r) for r in members["region"].values]
    figure, axes = panel_grid(len(regions), 2, 1.75, width=7.2, sharex=True)
    for i, (ax, region) in enumerate(zip(axes, regions, strict=True)):
        for j in range(members.sizes["run"]):
            run = members.isel(run=j)
            style = network_style(str(run["network"].values))
            line = dashes(str(run["recipe"].values))
            _line(ax, x, run, name, region, style.colour, line, 1.0)
        for truth, line in ((study.reference(), "-"), (study.floor(), (0, (4, 1.5)))):
            if truth is not None:
                _line(ax, x, truth, name, region, MMF_COLOUR, line, 1.5)
        ax.grid(visible=True)
        head(ax, region, i)
        if i % 2 == 0:
            ax.set_ylabel(quantity(variant or _QUANTITIES[0]).label)
    for ax in axes[-2:]:
        ax.set_xlabel(x_label)
    legend_below(figure, legend_handles(study, by_recipe=True, reference=True))
    return figure


def _line(
    ax: Axes,
    x: np.ndarray,
    run: xarray.Dataset,
    name: str,
    region: str,
    colour: str,
    line: object,
    width: float,
) -> None:
    values = quantity(name.removeprefix("series_").split("_", 1)[1].removesuffix("_mean"))
    y = values.shown(run[name].sel(region=region))
    ax.plot(x, y, color=colour, linestyle=line, linewidth=width)


FIGURE = FigureSpec(
    "regional_series",
    50,
    "Regional means: {variant}",
    "Area mean over the globe, the tropics (30S-30N) and the rest of each hemisphere, period by "
    "period. A line that ends is a run that did. Black: MMF1, dashed: MMF2.",
    draw,
    variants,
)
