"""Offline R2 by level and of the fluxes: the standard recipe beside another one."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from climsim.figures.panels import (
    dashes,
    legend_below,
    network_handles,
    network_line,
    new_figure,
    pressure_axis,
    recipe_handles,
    title_panel,
    unique,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import offline_scores, seed_range
from climsim.figures.style import EXTERNAL_COLOUR, LineLook, literal, network_style
from climsim.results.measures import score_label
from climsim.results.quantities import quantity
from climsim.results.seeds import Group, groups_of, over_seeds
from climsim.results.selection import predicted_profiles
from climsim.results.study import NothingToDrawError, Study
from climsim.variables import OUTPUTS

_BASE = "standard"
_HPA = 100.0
_COLUMNS = 3
_EXTERNAL_DASHES: Final = ("-", "--", ":")


def variants(study: Study) -> tuple[str, ...]:
    """Every recipe but the standard one; the standard one alone where there is no other."""
    if study.offline is None:
        return ()
    recipes = unique(group[1] for group in groups_of(study.offline))
    return tuple(r for r in recipes if r != _BASE) or tuple(recipes[:1])


def draw(study: Study, variant: str) -> Figure:
    """Draw R2 of the tendencies by level and of the fluxes as bars, seeds as range."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    chosen = _groups(study, variant)
    recipes = unique(g[1] for g in chosen)
    several = len(recipes) > 1
    names = predicted_profiles(study)
    figure = new_figure(7.2, 7.6)
    rows = -(-len(names) // _COLUMNS)
    grid = figure.add_gridspec(rows + 1, _COLUMNS, height_ratios=[*[1.0] * rows, 0.8])
    for i, name in enumerate(names):
        ax = figure.add_subplot(grid[divmod(i, _COLUMNS)])
        for group in chosen:
            _line(ax, study, name, group, several)
        _external_lines(ax, study, name)
        title_panel(ax, quantity(name).symbol, i)
        ax.set_xlim(0, 1)
        ax.grid(visible=True)
        pressure_axis(ax, study.offline["pressure"].values, label=i % _COLUMNS == 0)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        if i // _COLUMNS == rows - 1:
            ax.set_xlabel(score_label("r2"))
    bars = figure.add_subplot(grid[rows, :])
    _bars(bars, study, chosen, several)
    _external_marks(bars, study)
    title_panel(bars, "surface fluxes", len(names))
    networks = [g[0] for g in chosen]
    handles = [*network_handles(networks), *recipe_handles(recipes if several else [])]
    legend_below(figure, [*handles, *_external_handles(study)])
    return figure


def _external_lines(ax: Axes, study: Study, name: str) -> None:
    """Draw R2 of other studies by level, negative values at 0."""
    assert study.offline is not None
    pressure = study.offline["pressure"].values / _HPA
    for number, other in enumerate(study.external_r2):
        if name in other.values:
            values = np.maximum(other.values[name], 0.0)
            style = _EXTERNAL_DASHES[number % len(_EXTERNAL_DASHES)]
            ax.plot(values, pressure, style, color=EXTERNAL_COLOUR, zorder=4)


def _external_marks(ax: Axes, study: Study) -> None:
    """Draw R2 of other studies across the bars of each flux."""
    for number, other in enumerate(study.external_r2):
        for i, name in enumerate(_fluxes(study)):
            if name in other.values:
                height = max(float(other.values[name][0]), 0.0)
                style = _EXTERNAL_DASHES[number % len(_EXTERNAL_DASHES)]
                ax.plot([i - 0.45, i + 0.45], [height] * 2, style, color=EXTERNAL_COLOUR)


def _external_handles(study: Study) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            color=EXTERNAL_COLOUR,
            linestyle=_EXTERNAL_DASHES[number % len(_EXTERNAL_DASHES)],
            label=literal(other.label),
        )
        for number, other in enumerate(study.external_r2)
    ]


def _fluxes(study: Study) -> list[str]:
    """Surface fluxes that the metrics hold."""
    assert study.offline is not None
    return [name for name in OUTPUTS.scalars if f"r2_{name}" in study.offline]


def _bars(ax: Axes, study: Study, chosen: list[Group], several: bool) -> None:
    """Draw R2 of each flux: a bar for each network and recipe, the standard recipe pale."""
    assert study.offline is not None
    names = _fluxes(study)
    width = 0.8 / max(len(chosen), 1)
    order = sorted(chosen, key=lambda group: [g[0] for g in chosen].index(group[0]))
    for i, group in enumerate(order):
        ranges = [over_seeds(study.offline[f"r2_{n}"], group, floor=0.0) for n in names]
        middle, low, high = (
            np.array([float(getattr(r, key)) for r in ranges]) for key in ("median", "low", "high")
        )
        ax.bar(
            np.arange(len(names)) + (i - (len(order) - 1) / 2) * width,
            middle,
            width,
            yerr=np.maximum([middle - low, high - middle], 0.0),
            color=network_style(group[0]).colour,
            alpha=0.45 if several and group[1] == _BASE else 1.0,
            error_kw={"linewidth": 0.6},
        )
    ax.set_xticks(np.arange(len(names)), [quantity(name).symbol for name in names])
    ax.set_ylim(0, 1)
    ax.set_ylabel(score_label("r2"))
    ax.grid(visible=True, axis="y")


def remarks(study: Study, variant: str) -> list[str]:
    """Which split was scored, and what thin lines and shading are, where there are some."""
    recipes = unique(g[1] for g in _groups(study, variant))
    beside = ["Thin, solid, and pale bars: the standard recipe."] if len(recipes) > 1 else []
    others = ["Grey: models of other studies."] if study.external_r2 else []
    lines = seed_range(study.offline, "medians")
    return [*offline_scores(study, recipes), *beside, *lines, *others]


def _groups(study: Study, variant: str) -> list[Group]:
    """Networks under the standard recipe and under the one that is looked at."""
    assert study.offline is not None
    return [g for g in groups_of(study.offline) if g[1] in (_BASE, variant)]


def _line(ax: Axes, study: Study, name: str, group: Group, several: bool) -> None:
    assert study.offline is not None
    base = several and group[1] == _BASE
    found = over_seeds(study.offline[f"r2_{name}"], group, floor=0.0)
    pressure = study.offline["pressure"].values / _HPA
    # The recipe that is looked at stands in front of the standard one, drawn thin.
    shape: LineLook = {"linewidth": 0.8, "markersize": 2.2} if base else {"linewidth": 1.1}
    line = network_line(group[0], pressure.size, **shape)
    ax.plot(
        found.median,
        pressure,
        linestyle=dashes(group[1]) if several else "-",
        zorder=2 if base else 3,
        **line,
    )
    if found.count > 1:
        alpha = 0.06 if base else 0.12
        ax.fill_betweenx(pressure, found.low, found.high, color=line["color"], alpha=alpha, lw=0)


FIGURE = FigureSpec(
    name="offline_profiles",
    order=20,
    title="Offline R² by level",
    caption=(
        "Coefficient of determination of the predicted tendencies over all samples and columns, by "
        "level (nominal pressure), and of the surface fluxes. Negative values are drawn at 0, and "
        "levels on which the truth has no variance are left blank. 1 is perfect, 0 no better than "
        "predicting the mean."
    ),
    draw=draw,
    variants=variants,
    remarks=remarks,
)
