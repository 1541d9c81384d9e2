"""Offline R2 by level: the standard recipe beside another one."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.figures.panels import (
    dashes,
    head,
    legend_below,
    network_handles,
    network_line,
    panel_grid,
    pressure_axis,
    recipe_handles,
    unique,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import seed_range
from climsim.results.quantities import quantity
from climsim.results.seeds import Group, groups_of, over_seeds
from climsim.results.selection import scored_profiles
from climsim.results.study import NothingToDrawError, Study

_BASE = "standard"
_HPA = 100.0
_COLUMNS = 4


def variants(study: Study) -> tuple[str, ...]:
    """Every recipe but the standard one; the standard one alone where there is no other."""
    if study.offline is None:
        return ()
    recipes = unique(group[1] for group in groups_of(study.offline))
    return tuple(r for r in recipes if r != _BASE) or tuple(recipes[:1])


def draw(study: Study, variant: str) -> Figure:
    """Draw R2 of the tendencies by level, networks as colours, seeds as range."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    chosen = _groups(study, variant)
    recipes = unique(g[1] for g in chosen)
    several = len(recipes) > 1
    names = scored_profiles(study)
    figure, axes = panel_grid(len(names), _COLUMNS, 2.6, width=7.2, sharex=True)
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        for group in chosen:
            _line(ax, study, name, group, several)
        head(ax, quantity(name).symbol, i)
        ax.set_xlim(0, 1)
        ax.grid(visible=True)
        pressure_axis(ax, study.offline["pressure"].values, label=i % _COLUMNS == 0)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        if i + _COLUMNS >= len(names):
            ax.tick_params(labelbottom=True)
        if i // _COLUMNS == (len(names) - 1) // _COLUMNS:
            ax.set_xlabel("R$^2$")
    networks = [g[0] for g in chosen]
    legend_below(figure, [*network_handles(networks), *recipe_handles(recipes if several else [])])
    return figure


def remarks(study: Study, variant: str) -> list[str]:
    """What thin lines and shading are, where there are some."""
    recipes = unique(g[1] for g in _groups(study, variant))
    beside = ["Thin, solid: the standard recipe."] if len(recipes) > 1 else []
    return [*beside, *seed_range(study.offline)]


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
    shape = {"linewidth": 0.8, "markersize": 2.2} if base else {"linewidth": 1.1}
    line = network_line(group[0], pressure.size, **shape)
    ax.plot(
        found.mean,
        pressure,
        linestyle=dashes(group[1]) if several else "-",
        zorder=2 if base else 3,
        **line,
    )
    if found.count > 1:
        alpha = 0.06 if base else 0.12
        ax.fill_betweenx(pressure, found.low, found.high, color=line["color"], alpha=alpha, lw=0)


FIGURE = FigureSpec(
    "offline_profiles",
    20,
    "Offline R² by level",
    "Coefficient of determination of the predicted tendencies over all samples and columns of the "
    "test split, by level (nominal pressure). Cloud is liquid plus ice. Negative values are drawn "
    "at 0, and levels on which the truth has no variance are left blank. 1 is perfect, 0 no better "
    "than predicting the mean.",
    draw,
    variants,
    remarks,
)
