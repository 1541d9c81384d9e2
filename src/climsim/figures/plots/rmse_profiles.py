"""Vertical profiles of the RMSE of the time mean of the members that beat the state of the art."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from climsim.figures.panels import (
    dashes,
    full_physics_handles,
    full_physics_runs,
    legend_below,
    network_handles,
    network_line,
    panel_grid,
    pressure_axis,
    recipe_handles,
    title_panel,
    unique,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import all_unstable, second_run
from climsim.figures.style import EXTERNAL_COLOUR
from climsim.notation import written
from climsim.results.measures import Measure
from climsim.results.published import STATE_OF_THE_ART, beats_state_of_the_art
from climsim.results.selection import best_members, best_of_networks, run_by_run
from climsim.results.study import NothingToDrawError, Study

_HPA = 100.0
_EVERY = 10**6


def draw(study: Study, variant: str) -> Figure:
    """Draw RMSE by level: in each panel the members that beat the state of the art in its field."""
    members = best_members(study, "T", _EVERY)
    names = [n for n in STATE_OF_THE_ART if Measure("rmse_profile", n).known(members)]
    if not names:
        raise NothingToDrawError("no run shares a whole period with the reference")
    figure, axes = panel_grid(len(names), 3, 2.2, width=7.2)
    drawn = []
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        shown, title = _chosen(study, name)
        drawn.append(shown)
        _profiles(ax, study, shown, Measure("rmse_profile", name))
        pressure_axis(ax, members["pressure"].values, label=i % 3 == 0)
        ax.set_xlim(left=0)
        ax.set_xlabel(Measure("rmse_profile", name).label)
        ax.grid(visible=True)
        title_panel(ax, title, i)
    legend_below(figure, _handles(study, drawn), 5)
    return figure


def _chosen(study: Study, name: str) -> tuple[xarray.Dataset, str]:
    """Members of a panel, best first, and its title."""
    ranked = best_members(study, name, _EVERY)
    limit, shown = STATE_OF_THE_ART[name], Measure("rmse_mean", name).quantity
    beating = np.flatnonzero(beats_state_of_the_art(ranked, name))
    if beating.size:
        return ranked.isel(run=beating), f"{shown.symbol}: {beating.size} below {limit:g}"
    best = written(float(Measure("rmse_mean", name).shown(ranked).values[0]), 2)
    return best_of_networks(study, name), f"{shown.symbol}: none below {limit:g}, best {best}"


def _profiles(ax: Axes, study: Study, members: xarray.Dataset, measure: Measure) -> None:
    pressure = members["pressure"].values / _HPA
    for run in run_by_run(members, measure.key):
        line = network_line(str(run["network"].values), pressure.size, linewidth=1.0)
        ax.plot(measure.shown(run), pressure, linestyle=dashes(str(run["recipe"].values)), **line)
    external = study.external()
    if external is not None and measure.key in external:
        for run in run_by_run(external, measure.key):
            ax.plot(measure.shown(run), pressure, color=EXTERNAL_COLOUR, linewidth=1.2)
    for floor, look in full_physics_runs(study, reference=False):
        ax.plot(measure.shown(floor), pressure, **look)


def _handles(study: Study, drawn: list[xarray.Dataset]) -> list[Line2D]:
    """Networks and recipes that any panel shows, external runs and the floor."""
    networks, recipes = (
        unique(str(name) for shown in drawn for name in shown[key].values)
        for key in ("network", "recipe")
    )
    handles = [*network_handles(networks), *recipe_handles(recipes)]
    external = study.external()
    if external is not None:
        label = ", ".join(map(str, external["run"].values))
        handles.append(Line2D([], [], color=EXTERNAL_COLOUR, label=label))
    return [*handles, *full_physics_handles(study, reference=False)]


FIGURE = FigureSpec(
    "rmse_profiles",
    44,
    "Error of the time mean by level",
    "Area-weighted root mean squared difference of the time mean from that of the reference, by "
    "level. Each panel shows the members whose mass-weighted RMSE of its field, to two digits, is "
    "below that of the state of the art (in its title), or, where none is, the best member of "
    "each network.",
    draw,
    remarks=lambda study, variant: [*second_run(study), *all_unstable(study)],
)
