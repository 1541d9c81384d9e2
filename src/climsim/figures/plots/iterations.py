"""Error, water, roughness and survival of coupled runs by iteration on visited states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from climsim.evaluation.members import recipe_of_iteration
from climsim.figures.growth import label_time
from climsim.figures.panels import (
    SHIFT,
    full_physics_handles,
    full_physics_runs,
    legend_below,
    mark_every,
    panel_grid,
    title_panel,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import runs_with_full_physics, too_short
from climsim.figures.style import LineLook, iteration_style
from climsim.results.iterations import Iteration, iterations
from climsim.results.labels import member_label
from climsim.results.measures import Measure
from climsim.results.quantities import quantity
from climsim.results.seeds import rows_of
from climsim.results.study import NothingToDrawError, Study
from climsim.results.time_axis import TimeAxis, time_axis

_COLUMNS = 2


@dataclass(frozen=True)
class _Panel:
    """A measure against time.

    Attributes:
        title: what it is.
        label: of the vertical axis, with the unit.
        key: name of the saved measure.
        shown: saved values in the display unit.
        reference: whether the reference has it too; an error against it has not.
        from_zero: whether the vertical axis begins at 0.
    """

    title: str
    label: str
    key: str
    shown: Callable[[xarray.DataArray], xarray.DataArray]
    reference: bool = True
    from_zero: bool = True

    def of(self, runs: xarray.Dataset) -> xarray.DataArray:
        """Values (run, period) or (period,) in the display unit, over the globe."""
        values = runs[self.key]
        return self.shown(values.sel(region="global") if "region" in values.dims else values)


def variants(study: Study) -> tuple[str, ...]:
    """Networks and recipes that were trained more than once, as the names of members begin."""
    return tuple(dict.fromkeys(_group(iteration) for iteration in iterations(study)))


def _group(iteration: Iteration) -> str:
    return f"{iteration.network}-{iteration.recipe}"


def label(variant: str) -> str:
    """Network and recipe in words."""
    network, recipe = variant.split("-", 1)
    return member_label(network, recipe)


def draw(study: Study, variant: str) -> Figure:
    """Draw a line for each iteration: error, water, roughness, and the share of seeds alive."""
    shown = [iteration for iteration in iterations(study) if _group(iteration) == variant]
    if not shown:
        raise NothingToDrawError("no member was given that was trained again on visited states")
    axis = time_axis(study)
    panels = [p for p in _panels(axis) if any(p.key in iteration.runs for iteration in shown)]
    figure, axes = panel_grid(len(panels) + 1, _COLUMNS, 1.75, width=7.2)
    for number, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
        _measure(ax, study, shown, panel, axis)
        title_panel(ax, panel.title, number)
    label_time(axes[:-1], _COLUMNS, axis.name)
    _survival(axes[-1], shown)
    title_panel(axes[-1], "survival", len(panels))
    handles = [
        Line2D([], [], label=iteration_style(iteration.number).label, **_look(iteration, 1))
        for iteration in shown
    ]
    legend_below(figure, [*handles, *full_physics_handles(study)])
    return figure


def _panels(axis: TimeAxis) -> list[_Panel]:
    growth, rough = axis.growth("T"), Measure(f"roughness_{axis.word}", "T")
    water, series = quantity("TMQ"), f"series_{axis.word}_TMQ_mean"
    return [
        _Panel("error of T", growth.label, growth.key, growth.in_display_unit, reference=False),
        _Panel("water in the air", water.unit, series, water.shown, from_zero=False),
        _Panel("roughness of T", rough.label, rough.key, rough.in_display_unit),
    ]


def _look(iteration: Iteration, size: int) -> LineLook:
    style = iteration_style(iteration.number)
    return {
        "color": style.colour,
        "marker": style.marker,
        "markevery": mark_every(size, str(iteration.number)),
        "markersize": 2.8,
    }


def _measure(
    ax: Axes, study: Study, shown: Sequence[Iteration], panel: _Panel, axis: TimeAxis
) -> None:
    """Draw the mean over the seeds that have a value, and the range over these."""
    for iteration in shown:
        values = panel.of(iteration.runs).transpose("run", ...).values
        known = np.isfinite(values).any(axis=0)
        x, values = axis.elapsed(iteration.runs)[known], values[:, known]
        look = _look(iteration, x.size)
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        ax.fill_between(x, low, high, color=look["color"], alpha=0.15, lw=0)
        ax.plot(x, np.nanmean(values, axis=0), **look)
    for run, black in full_physics_runs(study, reference=panel.reference):
        if panel.key in run:
            ax.plot(axis.elapsed(run), panel.of(run), **black)
    ax.set_ylabel(panel.label)
    ax.set_ylim(bottom=0 if panel.from_zero else None)
    ax.set_xlim(left=0)


def _survival(ax: Axes, shown: Sequence[Iteration]) -> None:
    days = shown[0].runs["elapsed"].values
    groups = shown[0].runs[["group_network", "group_recipe"]]
    named = groups.rename(group_network="network", group_recipe="recipe")
    for rank, iteration in enumerate(shown):
        row = rows_of(
            named, (iteration.network, recipe_of_iteration(iteration.recipe, iteration.number))
        )
        alive = iteration.runs["alive_fraction"].values[row[0]] - SHIFT * rank
        ax.step(days, alive, where="post", clip_on=False, **_look(iteration, days.size))
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlim(0, max(float(days.max()), 1e-6))
    ax.set_xlabel("day")
    ax.set_ylabel("fraction of seeds alive")
    ax.grid(visible=True)


def remarks(study: Study, variant: str) -> list[str]:
    """What the black lines are, what shading is, and whether the runs test survival."""
    shown = [iteration for iteration in iterations(study) if _group(iteration) == variant]
    several = any(iteration.runs.sizes["run"] > 1 for iteration in shown)
    found = ["Lines are means over the seeds alive, shading their range."] if several else []
    return [*found, *runs_with_full_physics(study), *too_short(study)]


FIGURE = FigureSpec(
    "iterations",
    31,
    "Iterations of training on visited states",
    "Iteration 0 is trained on weather alone, each later one also on the states that the one "
    "before it visited. Mass-weighted RMSE of T against the reference, global mean of the water "
    "in the air, roughness of T below 500 hPa (RMS distance from the mean of the levels above "
    "and below), and the share of seeds whose run had not become unstable (its lines are shifted "
    "slightly to stay visible).",
    draw,
    variants=variants,
    remarks=remarks,
    label=label,
)
