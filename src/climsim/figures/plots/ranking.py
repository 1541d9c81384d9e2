"""Networks and recipes ranked by short runs from many starts, with what chance may explain."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from climsim.figures.panels import dashes, legend_below, new_figure, title_panel
from climsim.figures.registry import FigureSpec
from climsim.figures.style import network_style
from climsim.results.ranking import Ranking, rank
from climsim.results.study import NothingToDrawError, Study

_WIDTH = 7.2
_ROW = 0.21
"""Height of a row [inch]."""


def draw(study: Study, variant: str) -> Figure:
    """Draw the errors of all starts on the last day, and their growth over the days before."""
    if study.hindcasts is None:
        raise NothingToDrawError("no hindcasts were given")
    ranking = rank(study.hindcasts)
    if not ranking.rows:
        raise NothingToDrawError("the hindcasts are all of full physics")
    figure = new_figure(_WIDTH, max(2.6, _ROW * len(ranking.rows) + 1.4))
    grid = figure.add_gridspec(1, 2, width_ratios=(1.35, 1.0))
    left, right = (figure.add_subplot(grid[i]) for i in range(2))
    _places(left, ranking)
    title_panel(left, f"day {ranking.day:g}, all starts", 0)
    _growth(right, study, ranking)
    title_panel(right, "mean over starts", 1)
    legend_below(figure, _handles(ranking), 3)
    return figure


def _places(ax: Axes, ranking: Ranking) -> None:
    """One row for each network and recipe, the best at the top."""
    shown = ranking.measure.quantity.factor
    for place, row in enumerate(ranking.rows):
        style = network_style(row.network)
        errors = shown * row.errors[np.isfinite(row.errors)]
        ax.scatter(errors, np.full(errors.size, place), s=5, color=style.colour, lw=0, zorder=3)
        if ranking.tests_chance:
            ends = [shown * row.interval.low, shown * row.interval.high]
            ax.plot(
                ends, [place, place], color=style.colour, lw=2.4, alpha=0.5, solid_capstyle="butt"
            )
        ax.plot(
            shown * row.mean,
            place,
            marker=style.marker,
            color=style.colour,
            markerfacecolor="white" if ranking.distinguished(place) else style.colour,
            markersize=5,
        )
    ax.set_yticks(range(len(ranking.rows)), [_tick(ranking, i) for i in range(len(ranking.rows))])
    ax.set_ylim(len(ranking.rows) - 0.4, -0.6)
    ax.set_xlabel(ranking.measure.label)
    ax.grid(visible=True, axis="x")
    for value, look in ((ranking.unrelated, ":"), (ranking.floor, "--")):
        if np.isfinite(value):
            ax.axvline(shown * value, color="black", lw=0.9, ls=look)


def _tick(ranking: Ranking, place: int) -> str:
    """Name of a row, and how many of its runs were lost."""
    row = ranking.rows[place]
    return f"{row.name} ({row.lost} of {row.runs} †)" if row.lost else row.name


def _growth(ax: Axes, study: Study, ranking: Ranking) -> None:
    """Error against the day of the runs, mean over the starts that have all days before."""
    assert study.hindcasts is not None
    days = study.hindcasts["day"].values
    shown = ranking.measure.quantity.factor
    by_day = [rank(study.hindcasts, float(day)) for day in days]
    means = [{row.label: row.mean for row in at.rows} for at in by_day]
    for row in ranking.rows:
        style = network_style(row.network)
        first = row.label == ranking.rows[0].label
        ax.plot(
            days,
            shown * np.array([at[row.label] for at in means]),
            color=style.colour,
            marker=style.marker if first else None,
            linestyle=dashes(row.recipe),
            lw=1.6 if first else 0.9,
            alpha=1.0 if first else 0.7,
        )
    for values, look in (
        (np.array([at.floor for at in by_day]), "--"),
        (np.full(days.size, ranking.unrelated), ":"),
    ):
        if np.isfinite(values).any():
            ax.plot(days, shown * values, color="black", lw=0.9, ls=look)
    ax.set_xlabel("day")
    ax.set_ylabel(ranking.measure.label)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.grid(visible=True)


def _handles(ranking: Ranking) -> list[Line2D]:
    marks = {
        "first, or behind it by no more than chance": "0.3",
        "worse by more than chance": "white",
    }
    handles = [
        Line2D([], [], label=label, color="0.3", marker="o", ls="none", ms=5, markerfacecolor=face)
        for label, face in marks.items()
    ]
    lines = [("full physics, perturbed starts", ranking.floor, "--")]
    lines.append(("days that share no weather", ranking.unrelated, ":"))
    return handles + [
        Line2D([], [], label=label, color="black", ls=look, lw=0.9)
        for label, value, look in lines
        if np.isfinite(value)
    ]


def remarks(study: Study, variant: str) -> list[str]:
    """What the ranking says, in words."""
    return [] if study.hindcasts is None else [rank(study.hindcasts).sentence()]


FIGURE = FigureSpec(
    "ranking",
    32,
    "Ranking by short runs from many starts",
    "Mass-weighted RMSE of the daily mean of T against the run with full physics that the starts "
    "are taken from. Small points: single runs; bars: 95 % interval of their mean, by a bootstrap "
    "over starts and seeds. Hollow marks are behind the first by more than chance: the difference "
    "is taken start by start, and its interval allows for as many comparisons as there are rows.",
    draw,
    remarks=remarks,
)
