"""Panels of online error against time, shared by the figures of error growth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from climsim.evaluation.members import NETWORKS, RECIPES
from climsim.evaluation.stability import UNSTABLE
from climsim.figures.labels import quantity
from climsim.figures.panels import (
    dashes,
    head,
    legend_below,
    mark_every,
    network_handles,
    panel_grid,
    recipe_handles,
    unique,
)
from climsim.figures.registry import NothingToDrawError
from climsim.figures.study import Study
from climsim.figures.style import MMF_COLOUR, network_style, recipe_label

Panel = tuple[str, str | None]
"""A field, and the recipe that the panel shows; None for all."""


def time_axis(study: Study) -> tuple[str, str]:
    """Word and axis of the periods that lines are drawn over.

    Months where the reference has at least two, else days.

    Raises:
        NothingToDrawError: if there are neither.
    """
    if study.online is None:
        raise NothingToDrawError("no online metrics were given")
    if study.online.sizes.get("month", 0) >= 2 or "day" not in study.online.sizes:
        if "month" not in study.online.sizes:
            raise NothingToDrawError("the runs have neither daily nor monthly history files")
        return "monthly", "month"
    return "daily", "day"


def recipes_of(study: Study) -> list[str]:
    """Recipes of the online members, in the order of the study.

    Raises:
        NothingToDrawError: if there are no members.
    """
    members = study.members()
    if members is None:
        raise NothingToDrawError("no run with emulated physics was given")
    found = unique(members["recipe"].values.tolist())
    return sorted(found, key=lambda r: RECIPES.index(r) if r in RECIPES else len(RECIPES))


def elapsed(study: Study, axis: str) -> tuple[np.ndarray, str]:
    """Horizontal coordinate and its label: days since the start, or the number of the month."""
    assert study.online is not None
    if axis == "month":
        return np.arange(1, study.online.sizes["month"] + 1), "month"
    return study.online["day"].values, "day"


def draw_growth(study: Study, panels: Sequence[Panel], columns: int) -> Figure:
    """Draw errors against time, with the floor.

    Args:
        study: its metrics.
        panels: what each panel shows.
        columns: most panels in a row.
    """
    word, axis = time_axis(study)
    members = study.members()
    if members is None:
        raise NothingToDrawError("no run with emulated physics was given")
    panels = [p for p in panels if _known(members, f"growth_{word}_{p[0]}")]
    if not panels:
        raise NothingToDrawError("no run shares a period with the reference")
    figure, axes = panel_grid(len(panels), columns, 1.75, width=7.2, sharex=True)
    x, x_label = elapsed(study, axis)
    for ax, (name, recipe) in zip(axes, panels, strict=True):
        for i in range(members.sizes["run"]):
            run = members.isel(run=i)
            if recipe is None or str(run["recipe"].values) == recipe:
                _run_line(ax, x, run, f"growth_{word}_{name}")
        _floor_line(ax, x, study, f"growth_{word}_{name}")
        written = quantity(name)
        title = f"{written.symbol}, {recipe_label(recipe)}" if recipe else written.symbol
        head(ax, title, axes.index(ax))
        ax.set_ylabel(f"RMSE ({written.unit})")
        ax.grid(visible=True)
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0, top=_top(members, f"growth_{word}_{name}"))
    for ax in axes[-columns:]:
        ax.set_xlabel(x_label)
        ax.tick_params(labelbottom=True)
    legend_below(figure, legend_handles(study, by_recipe=any(p[1] is None for p in panels)))
    return figure


def _known(members: xarray.Dataset, name: str) -> bool:
    return name in members and bool(np.isfinite(members[name].values).any())


def _top(members: xarray.Dataset, name: str) -> float | None:
    """Upper end of the axis: members that blow up must not flatten all others."""
    values = quantity(name.rsplit("_", 1)[1]).shown(members[name])
    last = values.max(str(values.dims[-1])).values
    typical = np.nanmedian(last)
    largest = np.nanmax(last)
    return float(3 * typical) if largest > 5 * typical else None


def _run_line(ax: Axes, x: np.ndarray, run: xarray.Dataset, name: str) -> None:
    network, recipe = str(run["network"].values), str(run["recipe"].values)
    style = network_style(network)
    y = quantity(name.rsplit("_", 1)[1]).shown(run[name]).values
    ax.plot(
        x,
        y,
        color=style.colour,
        linestyle=dashes(recipe),
        marker=style.marker,
        markevery=mark_every(x.size, network),
        linewidth=1.0,
    )
    finite = np.flatnonzero(np.isfinite(y))
    if str(run["status"].values) == UNSTABLE and finite.size:
        ax.plot(x[finite[-1]], y[finite[-1]], "x", color=style.colour, ms=7, mew=1.8, clip_on=False)


def _floor_line(ax: Axes, x: np.ndarray, study: Study, name: str) -> None:
    floor = study.floor()
    if floor is not None and name in floor:
        y = quantity(name.rsplit("_", 1)[1]).shown(floor[name])
        ax.plot(x, y, color=MMF_COLOUR, linestyle=(0, (4, 1.5)), linewidth=1.4)


def legend_handles(study: Study, by_recipe: bool, reference: bool = False) -> list[Line2D]:
    """Legend entries of all online members.

    Args:
        study: its metrics.
        by_recipe: whether dashes tell recipes apart.
        reference: whether the reference run is drawn too.
    """
    members = study.members()
    assert members is not None
    networks = unique(members["network"].values.tolist())
    networks.sort(key=lambda n: NETWORKS.index(n) if n in NETWORKS else len(NETWORKS))
    handles = network_handles(networks)
    recipes = recipes_of(study)
    if by_recipe and len(recipes) > 1:
        handles += recipe_handles(recipes)
    if reference:
        label = network_style("MMF1").label
        handles.append(Line2D([], [], color=MMF_COLOUR, label=label))
    if study.floor() is not None:
        label = network_style("MMF2").label
        handles.append(Line2D([], [], color=MMF_COLOUR, linestyle=(0, (4, 1.5)), label=label))
    if not reference and (members["status"] == UNSTABLE).any():
        cross = Line2D([], [], color="#444444", marker="x", ms=6, linestyle="", label="unstable")
        handles.append(cross)
    return handles
