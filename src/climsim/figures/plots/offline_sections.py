"""Offline R2 as latitude-pressure sections."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.panels import colour_bar, panel_grid, require_defined, section, title_panel
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import scores_of_recipe
from climsim.figures.style import SEQUENTIAL, network_style
from climsim.results.labels import recipe_label
from climsim.results.measures import score_label
from climsim.results.quantities import quantity
from climsim.results.seeds import groups_of, over_seeds
from climsim.results.selection import scored_profiles
from climsim.results.study import NothingToDrawError, Study

_SCORE = "r2_section_columns"


def variants(study: Study) -> tuple[str, ...]:
    """Every recipe."""
    if study.offline is None:
        return ()
    return tuple(dict.fromkeys(group[1] for group in groups_of(study.offline)))


def draw(study: Study, variant: str) -> Figure:
    """Draw sections of R2: a row for each network, a column for each tendency."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    groups = [g for g in groups_of(study.offline) if g[1] == variant]
    names = scored_profiles(study)
    by_row = len(groups) > 1
    columns = len(names) if by_row else 4
    figure, axes = panel_grid(len(groups) * len(names), columns, 1.35 if by_row else 1.9, width=7.2)
    label, meshes = score_label(_SCORE), []
    found = [
        over_seeds(study.offline[f"{_SCORE}_{name}"], group, floor=0.0).mean
        for group in groups
        for name in names
    ]
    require_defined(found)
    for i, (ax, values) in enumerate(zip(axes, found, strict=True)):
        group, name = groups[i // len(names)], names[i % len(names)]
        meshes.append(section(ax, values, 0.0, 1.0, SEQUENTIAL, label=i % columns == 0))
        title_panel(ax, quantity(name).symbol if i < columns or not by_row else "", i)
        ax.label_outer()
        if by_row and i % columns == 0:
            ax.set_ylabel(f"{network_style(group[0]).label}\npressure (hPa)")
    colour_bar(
        figure,
        meshes[-1],
        axes,
        label if variants(study) == ("",) else f"{label}, {recipe_label(variant)}",
        extend="neither",
        aspect=60,
        shrink=0.8,
    )
    return figure


FIGURE = FigureSpec(
    name="offline_sections",
    order=22,
    title="Where the offline skill lies",
    caption=(
        "Coefficient of determination of each column over time, averaged by area in bins of 10 "
        "degrees of latitude, by level, mean over seeds. Negative values are drawn at 0; grey "
        "cells have no variance in the truth, or no columns."
    ),
    draw=draw,
    variants=variants,
    remarks=scores_of_recipe,
)
