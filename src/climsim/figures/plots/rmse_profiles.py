"""Vertical profiles of the RMSE of the time mean of the best members."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.panels import (
    dashes,
    head,
    legend_below,
    member_handles,
    network_line,
    panel_grid,
    pressure_axis,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import all_unstable, second_run
from climsim.figures.style import FLOOR_DASHES, MMF_COLOUR
from climsim.results.quantities import quantity
from climsim.results.selection import best_of_networks, better_than_published, each
from climsim.results.study import Study

_NAMES = ("T", "Q", "U", "V", "CLDLIQ", "CLDICE", "DTPHYS", "DQ1PHYS", "DQ2PHYS")
_HPA = 100.0
_MOST = 8
"""Most members that a panel can show [1]."""


def draw(study: Study, variant: str) -> Figure:
    """Draw RMSE by level for the members that beat the published, else the best, with the floor."""
    beating = better_than_published(study)
    members = best_of_networks(study) if beating is None else beating.isel(run=slice(_MOST))
    floor = study.floor()
    names = [n for n in _NAMES if f"rmse_profile_{n}" in members]
    figure, axes = panel_grid(len(names), 3, 2.1, width=7.2)
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        written = quantity(name)
        pressure = members["pressure"].values / _HPA
        for run in each(members):
            line = network_line(str(run["network"].values), pressure.size, linewidth=1.2)
            style = dashes(str(run["recipe"].values))
            ax.plot(written.shown(run[f"rmse_profile_{name}"]), pressure, linestyle=style, **line)
        if floor is not None:
            values = written.shown(floor[f"rmse_profile_{name}"])
            ax.plot(values, pressure, color=MMF_COLOUR, linestyle=FLOOR_DASHES)
        pressure_axis(ax, members["pressure"].values, label=i % 3 == 0)
        ax.set_xlim(left=0)
        ax.set_xlabel(f"RMSE ({written.unit})")
        ax.grid(visible=True)
        head(ax, written.symbol, i)
    legend_below(figure, member_handles(members, floor is not None), 3)
    return figure


FIGURE = FigureSpec(
    "rmse_profiles",
    44,
    "Error of the time mean by level",
    "Area-weighted root mean squared difference of the time mean from that of MMF1, by level, for "
    "the members that beat the best published run in temperature, humidity and precipitation, or, "
    "where none does, for the best member of each network (smallest mass-weighted RMSE of "
    "temperature among the members that ran longest and stayed stable).",
    draw,
    remarks=lambda study, variant: [*second_run(study), *all_unstable(study)],
)
