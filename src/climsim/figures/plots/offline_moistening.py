"""Zonal-mean offline bias, cell by cell the smallest and the largest magnitude over networks."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.panels import (
    colour_bar,
    panel_grid,
    require_defined,
    section,
    symmetric_limit,
    title_panel,
)
from climsim.figures.plots.offline_bias import variants
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import scores_of_recipe
from climsim.figures.style import DIVERGING
from climsim.results.quantities import quantity
from climsim.results.selection import extremes, network_means, predicted_profiles
from climsim.results.study import NothingToDrawError, Study

_ROW_LABELS = ("smallest", "largest")


def draw(study: Study, variant: str) -> Figure:
    """Draw for each tendency the bias of smallest and of largest magnitude over networks."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    names = predicted_profiles(study)
    figure, axes = panel_grid(2 * len(names), 4, 1.9, width=7.2)
    found = [extremes(network_means(study, f"bias_section_{n}", variant)) for n in names]
    require_defined(least for least, _ in found)
    for i, name in enumerate(names):
        shown = quantity(name)
        pair = [shown.shown(values) for values in found[i]]
        limit = symmetric_limit(pair[1])
        for k, (values, word) in enumerate(zip(pair, _ROW_LABELS, strict=True)):
            ax = axes[2 * i + k]
            mesh = section(ax, values, -limit, limit, DIVERGING, label=i % 2 == 0 and k == 0)
            title_panel(ax, f"{shown.symbol}, {word}", 2 * i + k)
        colour_bar(figure, mesh, axes[2 * i : 2 * i + 2], shown.unit)
    return figure


FIGURE = FigureSpec(
    name="offline_moistening",
    order=24,
    title="Smallest and largest offline bias over networks",
    caption=(
        "Zonal-mean difference of predicted and true physics tendency, of the prediction averaged "
        "over the seeds of each network: in each cell the value of smallest and of largest "
        "magnitude over networks."
    ),
    draw=draw,
    variants=variants,
    remarks=scores_of_recipe,
)
