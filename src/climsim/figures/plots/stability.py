"""Fraction of seeds alive against time."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.panels import (
    SHIFT,
    legend_below,
    network_handles,
    panel_grid,
    title_panel,
    unique,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import too_short
from climsim.figures.style import network_style
from climsim.results.labels import recipe_label
from climsim.results.selection import online_members
from climsim.results.study import Study


def draw(study: Study, variant: str) -> Figure:
    """Draw survival curves: a panel for each recipe, a line for each network."""
    members = online_members(study)
    groups = list(zip(members["group_network"].values, members["group_recipe"].values, strict=True))
    recipes = unique(str(g[1]) for g in groups)
    figure, axes = panel_grid(len(recipes), 3, 1.8, sharey=True)
    days, several = members["elapsed"].values, len(recipes) > 1
    for i, (ax, recipe) in enumerate(zip(axes, recipes, strict=True)):
        shown = [j for j, g in enumerate(groups) if g[1] == recipe]
        for rank, j in enumerate(shown):
            style = network_style(str(groups[j][0]))
            ax.step(
                days,
                members["alive_fraction"].values[j] - SHIFT * rank,
                where="post",
                color=style.colour,
                marker=style.marker,
                markevery=[days.size - 1],
                clip_on=False,
            )
        ax.set_ylim(-0.03, 1.03)
        ax.set_xlim(0, max(float(days.max()), 1e-6))
        ax.set_xlabel("day")
        ax.grid(visible=True)
        if i % 3 == 0:
            ax.set_ylabel("fraction of seeds alive")
        title = recipe_label(recipe) if recipe or several else "all runs"
        title_panel(ax, title, i if several else None)
    legend_below(figure, network_handles(str(g[0]) for g in groups), 3)
    return figure


FIGURE = FigureSpec(
    "stability",
    30,
    "Stability of the coupled runs",
    "Fraction of the seeds of each network and recipe that had not become unstable, against "
    "simulated time. A run counts as unstable when a physical bound was violated; a run that was "
    "stopped for another reason leaves the count. Lines are shifted slightly to stay visible.",
    draw,
    remarks=lambda study, variant: too_short(study),
    by_recipe=True,
)
