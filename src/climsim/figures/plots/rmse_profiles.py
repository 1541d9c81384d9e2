"""Vertical profiles of the RMSE of the time mean of the best members."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.labels import quantity
from climsim.figures.members import best_of_networks, each
from climsim.figures.panels import (
    dashes,
    head,
    legend_below,
    mark_every,
    member_handles,
    panel_grid,
    pressure_axis,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.study import Study
from climsim.figures.style import FLOOR_DASHES, MMF_COLOUR, network_style

_NAMES = ("T", "Q", "U", "V", "CLDLIQ", "CLDICE", "DTPHYS", "DQ1PHYS", "DQ2PHYS")
_HPA = 100.0


def draw(study: Study, variant: str) -> Figure:
    """Draw RMSE by level for the best member of each network, with the floor."""
    members = best_of_networks(study)
    floor = study.floor()
    names = [n for n in _NAMES if f"rmse_profile_{n}" in members]
    figure, axes = panel_grid(len(names), 3, 2.1, width=7.2)
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        written = quantity(name)
        pressure = members["pressure"].values / _HPA
        for run in each(members):
            network = str(run["network"].values)
            ax.plot(
                written.shown(run[f"rmse_profile_{name}"]),
                pressure,
                color=network_style(network).colour,
                linestyle=dashes(str(run["recipe"].values)),
                marker=network_style(network).marker,
                markevery=mark_every(pressure.size, network),
            )
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
    "the best member of each network (smallest mass-weighted RMSE of temperature among the members "
    "that ran longest). Dashed black: MMF2 against MMF1.",
    draw,
)
