"""Offline R2 by level: the standard recipe beside another one."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.evaluation.members import NETWORKS
from climsim.evaluation.seeds import Group, groups_of, over_seeds
from climsim.figures.labels import quantity
from climsim.figures.panels import (
    dashes,
    head,
    legend_below,
    mark_every,
    network_handles,
    panel_grid,
    pressure_axis,
    recipe_handles,
    unique,
)
from climsim.figures.registry import FigureSpec, NothingToDrawError
from climsim.figures.study import Study
from climsim.figures.style import network_style
from climsim.variables import DOOR_OUTPUTS

_BASE = "standard"
_HPA = 100.0


def variants(study: Study) -> tuple[str, ...]:
    """Every recipe but the standard one; the standard one alone where there is no other."""
    if study.offline is None:
        return ()
    recipes = unique(group[1] for group in groups_of(study.offline))
    return tuple(r for r in recipes if r != _BASE) or tuple(recipes[:1])


def draw(study: Study, variant: str) -> Figure:
    """Draw R2 of the six tendencies by level, networks as colours, seeds as range."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    chosen = [g for g in groups_of(study.offline) if g[1] in (_BASE, variant)]
    figure, axes = panel_grid(len(DOOR_OUTPUTS.profiles), 3, 2.5, sharex=True)
    for i, (ax, name) in enumerate(zip(axes, DOOR_OUTPUTS.profiles, strict=True)):
        for group in chosen:
            _line(ax, study, name, group)
        head(ax, quantity(name).symbol, i)
        ax.set_xlim(0, 1)
        ax.grid(visible=True)
        pressure_axis(ax, study.offline["pressure"].values, label=i % 3 == 0)
        if i >= 3:
            ax.set_xlabel("R$^2$")
    networks = sorted(
        unique(g[0] for g in chosen), key=lambda n: NETWORKS.index(n) if n in NETWORKS else 99
    )
    handles = [*network_handles(networks), *recipe_handles(unique(g[1] for g in chosen))]
    legend_below(figure, handles)
    return figure


def _line(ax: Axes, study: Study, name: str, group: Group) -> None:
    assert study.offline is not None
    style = network_style(group[0])
    found = over_seeds(study.offline[f"r2_{name}"], group, floor=0.0)
    pressure = study.offline["pressure"].values / _HPA
    ax.plot(
        found.mean,
        pressure,
        color=style.colour,
        linestyle=dashes(group[1]),
        marker=style.marker,
        markevery=mark_every(pressure.size, group[0]),
    )
    if found.count > 1:
        ax.fill_betweenx(pressure, found.low, found.high, color=style.colour, alpha=0.12, lw=0)


FIGURE = FigureSpec(
    "offline_profiles",
    20,
    "Offline R² by level: {variant}",
    "Coefficient of determination of the predicted tendencies over all samples and columns of the "
    "test split, by level (nominal pressure), beside the standard recipe (solid lines) where the "
    "study has it. Lines are means over seeds, shading their range; "
    "negative values are drawn at 0, and levels on which the truth has no variance are left blank. "
    "1 is perfect, 0 no better than predicting the mean.",
    draw,
    variants,
)
