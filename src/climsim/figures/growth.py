"""Panels of online error against time, shared by the figures of error growth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from climsim.arrays import Array
from climsim.figures.panels import (
    full_physics_handles,
    full_physics_runs,
    legend_below,
    network_handles,
    network_line,
    panel_grid,
    seed_bands,
    title_panel,
)
from climsim.figures.remarks import BEYOND, line_ends, not_shown
from climsim.figures.style import network_style
from climsim.notation import written
from climsim.results.labels import full_physics_name, recipe_label
from climsim.results.measures import Measure
from climsim.results.seeds import groups_of
from climsim.results.selection import defined, of_recipe, online_members, run_by_run
from climsim.results.stability import became_unstable, is_unstable
from climsim.results.study import NothingToDrawError, Study
from climsim.results.time_axis import TimeAxis, time_axis

_FLOOR = (
    "Black, dashed: {second}, a second run with full physics from a perturbed start: its distance "
    "from the reference is internal variability, below which no difference means anything."
)
_UNRELATED = (
    "Dotted: two days of the reference that share no weather, five days apart: errors of daily "
    "means level off there in any run whose climate is right, as weather cannot be foreseen."
)
_BANDS = (
    "Shading: range over seeds; lines: the seed nearest to their median{by}. Numbers: seeds that "
    "survived, of all, in the colour of the network."
)
_BY_DISTANCE = " in mean distance from {second}"
Panel = tuple[str, str]
"""A field, and the recipe that the panel shows."""


def draw_growth(study: Study, panels: Sequence[Panel], columns: int) -> Figure:
    """Draw errors against time, with the floor.

    Args:
        study: its metrics.
        panels: what each panel shows.
        columns: most panels in a row.
    """
    members = online_members(study)
    axis = time_axis(study)
    panels = [p for p in panels if axis.growth(p[0]).known(members)]
    if not panels:
        raise NothingToDrawError("no run shares a period with the reference")
    figure, axes = panel_grid(len(panels), columns, 1.75, width=7.2, sharex=True)
    x = axis.elapsed(members)
    recipes, bands = {recipe for _, recipe in panels}, seeds_as_band(study, members)
    for i, (ax, (name, recipe)) in enumerate(zip(axes, panels, strict=True)):
        shown, measure = of_recipe(members, recipe), axis.growth(name)
        top = None if bands else _top(shown, measure)
        if bands:
            _seed_bands(ax, x, study, shown, measure)
        else:
            _seed_lines(ax, x, shown, measure, axis=axis, top=top)
        _floor_line(ax, x, study, measure)
        _unrelated_line(ax, study, axis.unrelated(name))
        written = measure.quantity
        of_recipe_too = f", {recipe_label(recipe)}" if len(recipes) > 1 else ""
        title_panel(ax, f"{written.symbol}{of_recipe_too}", i)
        ax.set_ylabel(measure.label)
        if not bands:
            ax.set_ylim(bottom=0, top=top)
    # Once all lines are there: panels that share an axis end where the longest run does.
    axes[0].set_xlim(left=0)
    label_time(axes, columns, axis.name)
    drawn = of_recipe(members, *recipes)
    legend_below(figure, legend_handles(study, drawn, crosses=not bands))
    return figure


def seeds_as_band(study: Study, members: xarray.Dataset) -> bool:
    """Whether seeds are drawn as one line with their range: where a network has several of them."""
    return not study.seed_lines and len(groups_of(members)) < members.sizes["run"]


def _seed_lines(
    ax: Axes,
    x: np.ndarray,
    shown: xarray.Dataset,
    measure: Measure,
    axis: TimeAxis,
    top: float | None,
) -> None:
    """Draw a line for each run."""
    arrows = 0
    for run in run_by_run(shown, measure.key):
        y = measure.shown(run).values
        arrows += _run_line(ax=ax, line_at=(x, y), run=run, axis=axis, top=top, arrows=arrows)


def _seed_bands(
    ax: Axes, x: np.ndarray, study: Study, shown: xarray.Dataset, measure: Measure
) -> None:
    """Draw the range over the seeds of each network, a line for the median seed, and who survived.

    A seed survived if it has a value for every period.
    """
    values = measure.shown(shown)
    seed_bands(ax, x, values, _floor_values(study, measure))
    whole = np.isfinite(values.values).all(axis=1)
    for i, (network, _) in enumerate(groups_of(shown)):
        seeds = whole[shown["network"].values == network]
        ax.text(
            0.02 + 0.13 * i,
            0.97,
            f"{seeds.sum()}/{seeds.size}",
            color=network_style(network).colour,
            fontsize=6,
            va="top",
            transform=ax.transAxes,
        )
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _floor_values(study: Study, measure: Measure) -> Array | None:
    """Values (period,) of the second run with full physics; None where it has none."""
    floor = study.floor()
    if floor is None or not measure.known(floor):
        return None
    return np.asarray(measure.shown(floor).values)


def growth_remarks(study: Study, panels: Sequence[Panel]) -> list[str]:
    """What `draw_growth` drew beside the lines of stable runs, for the caption."""
    members, axis = online_members(study), time_axis(study)
    shown = members.isel(
        run=np.flatnonzero(np.isin(members["recipe"].values, [recipe for _, recipe in panels]))
    )
    known = defined(shown, axis.growth(panels[0][0]).key)
    names = [(axis.growth(name), recipe) for name, recipe in panels]
    beyond = any(_top(of_recipe(shown, r), n) is not None for n, r in names if n.key in shown)
    floor = study.floor()
    drawn = any(_floor_values(study, measure) is not None for measure, _ in names)
    second = full_physics_name(floor) if floor is not None and drawn else ""
    if seeds_as_band(study, members):
        by = _BY_DISTANCE.format(second=second) if second else ""
        remarks = [_BANDS.format(by=by), *not_shown(study, shown, known)]
    else:
        remarks = [*line_ends(study, shown, known, axis.name), *([BEYOND] if beyond else [])]
    online = study.online
    if online is not None and any(axis.unrelated(n).known(online) for n, _ in panels):
        remarks.append(_UNRELATED)
    if not second:
        return [
            *remarks,
            "Without values of a second run with full physics, internal variability is unknown.",
        ]
    return [*remarks, _FLOOR.format(second=second)]


def label_time(axes: Sequence[Axes], columns: int, label: str) -> None:
    """Whole days or months on the horizontal axes, named in the last row of panels.

    The last panel of a column that ends earlier has numbers alone: a name would part the rows.
    """
    last_row = (len(axes) - 1) // columns
    for i, ax in enumerate(axes):
        ax.grid(visible=True)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        if i + columns >= len(axes):
            ax.tick_params(labelbottom=True)
        if i // columns == last_row:
            ax.set_xlabel(label)


def _top(members: xarray.Dataset, measure: Measure) -> float | None:
    """Upper end of the axis: members that blow up must not flatten all others."""
    values = measure.shown(members)
    last = values.max(str(values.dims[-1])).dropna("run").values
    if not last.size:
        return None
    typical, largest = np.median(last), np.max(last)
    return float(3 * typical) if largest > 5 * typical else None


def _run_line(
    ax: Axes,
    line_at: tuple[np.ndarray, np.ndarray],
    run: xarray.Dataset,
    axis: TimeAxis,
    top: float | None,
    arrows: int,
) -> int:
    """Draw the error of one run; returns how many arrows that took."""
    x, y = line_at
    line = network_line(str(run["network"].values), x.size)
    ax.plot(x, y, **line)
    mark_end(
        ax=ax,
        x=x,
        y=np.where(y > top, top, y) if top else y,
        run=run,
        colour=line["color"],
        unit=axis.days,
    )
    if top is None or not (y > top).any():
        return 0
    _mark_beyond(ax=ax, x=x, y=y, top=top, colour=line["color"], before=arrows)
    return 1


def mark_end(
    ax: Axes, x: np.ndarray, y: np.ndarray, run: xarray.Dataset, colour: str, unit: float
) -> None:
    """Cross the last whole period of a run that became unstable; its end on the axis without one.

    Args:
        ax: panel.
        x: (period,) horizontal coordinate of `elapsed`.
        y: (period,) values in the display unit; NaN after the end.
        run: metrics of the run.
        colour: of its line.
        unit: length of one on the horizontal axis, see `TimeAxis` [days].
    """
    if not is_unstable(run):
        return
    finite = np.flatnonzero(np.isfinite(y))
    if finite.size:
        at, transform = (x[finite[-1]], y[finite[-1]]), ax.transData
    else:
        at, transform = (float(run["days"]) / unit, 0.0), ax.get_xaxis_transform()
    ax.plot(*at, "x", color=colour, ms=7, mew=1.8, clip_on=False, transform=transform)


def _mark_beyond(
    ax: Axes, x: np.ndarray, y: np.ndarray, top: float, colour: str, before: int
) -> None:
    """Mark with an arrow where a line leaves through the upper edge, and write its largest value.

    Args:
        ax: panel.
        x: (period,) horizontal coordinate.
        y: (period,) values.
        top: upper end of the axis.
        colour: of the line.
        before: arrows that the panel has already; their numbers are not covered.
    """
    i = int(np.flatnonzero(y > top)[0])
    where = float(x[i])
    if i and np.isfinite(y[i - 1]):
        where = float(np.interp(top, [y[i - 1], y[i]], [x[i - 1], x[i]]))
    ax.plot(where, top, "^", color=colour, ms=5, clip_on=False, zorder=5)
    left = where > 0.6 * float(x[-1])
    ax.annotate(
        written(float(np.nanmax(y)), 2),
        (where, top),
        (-5 if left else 5, -1 - 7 * before),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        fontsize=6,
        color=colour,
    )


def _floor_line(ax: Axes, x: np.ndarray, study: Study, measure: Measure) -> None:
    for floor, look in full_physics_runs(study, reference=False):
        if measure.known(floor):
            ax.plot(x, measure.shown(floor), linewidth=1.4, **look)


def _unrelated_line(ax: Axes, study: Study, measure: Measure) -> None:
    """Where errors of means level off in any run; no reason to stretch the axis."""
    online = study.online
    if online is not None and measure.known(online):
        value, top = float(measure.shown(online)), ax.get_ylim()[1]
        if value <= top:
            ax.axhline(value, color="#777777", linestyle=":", linewidth=1.2)


def legend_handles(
    study: Study, members: xarray.Dataset, reference: bool = False, crosses: bool = True
) -> list[Line2D]:
    """Legend entries of the networks of online members, and of the runs with full physics.

    Args:
        study: its metrics.
        members: that the figure shows.
        reference: whether the reference run is drawn too.
        crosses: whether the ends of unstable runs are marked, beside runs that are not.
    """
    handles = network_handles(members["network"].values.tolist())
    handles += full_physics_handles(study, reference)
    if crosses and not reference and became_unstable(members).any():
        cross = Line2D([], [], color="#444444", marker="x", ms=6, linestyle="", label="unstable")
        handles.append(cross)
    return handles
