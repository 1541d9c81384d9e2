"""Online error against speed and against the time of training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from climsim.figures.panels import legend_below, new_figure, title_panel, unique
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import not_shown
from climsim.figures.style import network_style
from climsim.results.cost import Cost, member_costs
from climsim.results.labels import recipe_label
from climsim.results.measures import Measure
from climsim.results.published import STATE_OF_THE_ART
from climsim.results.seeds import groups_of
from climsim.results.selection import defined, online_members, run_by_run, with_mean
from climsim.results.stability import comparable
from climsim.results.study import NothingToDrawError, Study

_NAMES = tuple(STATE_OF_THE_ART)
_BARS = {"parameters": "trainable parameters", "training_hours": "training time (h)"}
_COLUMNS = 3


def draw(study: Study, variant: str) -> Figure:
    """Draw RMSE of the time mean against speed; below, parameters and training time by recipe."""
    members = with_mean(online_members(study), "rmse_mean_T")
    costs = member_costs(study)
    names = [n for n in _NAMES if defined(members, f"rmse_mean_{n}").any()]
    scatter = names if np.isfinite(members["sypd"].values).any() else []
    bars = [key for key in _BARS if any(np.isfinite(getattr(c, key)) for c in costs.values())]
    if not scatter and not bars:
        raise NothingToDrawError("no run recorded its speed, and no model its training time")
    rows = -(-len(scatter) // _COLUMNS)
    figure = new_figure(7.2, 2.1 * rows + 1.6 * len(bars) + 0.7)
    heights = [*[1.0] * rows, *[0.75] * len(bars)]
    grid = figure.add_gridspec(len(heights), _COLUMNS, height_ratios=heights)
    for i, name in enumerate(scatter):
        _speed(figure.add_subplot(grid[divmod(i, _COLUMNS)]), study, members, name, i)
    for i, key in enumerate(bars):
        ax = figure.add_subplot(grid[rows + i, :])
        _cost_bars(ax, study, costs, key)
        title_panel(ax, _BARS[key], len(scatter) + i)
    legend_below(figure, _handles(members), 5)
    return figure


def _speed(ax: Axes, study: Study, members: xarray.Dataset, name: str, number: int) -> None:
    """Draw speed against the error of one field: colours are networks, markers recipes."""
    measure = Measure("rmse_mean", name)
    for run, leads in zip(
        run_by_run(members, measure.key, "sypd"), comparable(members), strict=True
    ):
        colour = network_style(str(run["network"].values)).colour
        marker = network_style(str(run["recipe"].values)).marker
        ax.scatter(
            float(measure.shown(run)),
            float(run["sypd"]),
            s=44 if marker == "*" else 22,
            marker=marker,
            facecolor=colour if leads else "none",
            edgecolor="white" if leads else colour,
            linewidth=0.4 if leads else 0.9,
        )
    ax.axvline(STATE_OF_THE_ART[name], color="#888888", linestyle="--", linewidth=0.9)
    # From 0, with room for whole points at the other end.
    ax.set_xlim(0, 1.05 * ax.get_xlim()[1])
    ax.set_ylim(0, 1.08 * ax.get_ylim()[1])
    ax.set_xlabel(measure.label)
    ax.set_ylabel("simulated years per day" if number % _COLUMNS == 0 else "")
    ax.grid(visible=True)
    title_panel(ax, measure.quantity.symbol, number)


def _cost_bars(ax: Axes, study: Study, costs: Mapping[str, Cost], key: str) -> None:
    """Draw what a network costs under each recipe, mean over its seeds."""
    assert study.offline is not None
    groups = groups_of(study.offline)
    recipes, networks = (unique(g[k] for g in groups) for k in (1, 0))
    width = 0.8 / len(networks)
    labels = study.offline["member"].values.astype(str)
    for network, recipe in groups:
        chosen = (study.offline["network"] == network) & (study.offline["recipe"] == recipe)
        values = [getattr(costs[label], key) for label in labels[chosen.values]]
        at = recipes.index(recipe) + (networks.index(network) - (len(networks) - 1) / 2) * width
        ax.bar(at, np.mean(values), width, color=network_style(network).colour)
    ax.set_xticks(range(len(recipes)), [recipe_label(name) for name in recipes])
    ax.grid(visible=True, axis="y")


def _handles(members: xarray.Dataset) -> list[Line2D]:
    """Colours of networks, markers of recipes, the state of the art, and hollow points."""
    networks, recipes = (unique(members[key].values.tolist()) for key in ("network", "recipe"))
    handles = [_key(network_style(n).label, network_style(n).colour, "s") for n in networks]
    handles += [_key(recipe_label(r), "#888888", network_style(r).marker) for r in recipes]
    handles.append(Line2D([], [], color="#888888", linestyle="--", label="state of the art"))
    if not comparable(members).all():
        handles.append(_key("unstable, or shorter mean", "#888888", "o", filled=False))
    return handles


def _key(label: str, colour: str, marker: str, filled: bool = True) -> Line2D:
    line = Line2D([], [], color=colour, marker=marker, markersize=5, linestyle="", label=label)
    line.set_markeredgewidth(0 if filled else 0.9)
    line.set_markerfacecolor(colour if filled else "none")
    return line


def remarks(study: Study, variant: str) -> list[str]:
    """What hollow points are, and which members are missing."""
    members = online_members(study)
    known = defined(members, "rmse_mean_T")
    hollow = "Hollow: runs that became unstable or whose time mean is shorter, which flatters them."
    found = [hollow] if (known & ~comparable(members)).any() else []
    return [*found, *not_shown(study, members, known)]


FIGURE = FigureSpec(
    "cost",
    60,
    "Error against speed and training time",
    "Mass-weighted RMSE of the time mean of six fields, and simulated years per day of wall time "
    "(of the machine that each run was on); dashed: the state of the art. Below, where the model "
    "files say it, trainable parameters and wall time of the training, mean over seeds.",
    draw,
    remarks=remarks,
)
