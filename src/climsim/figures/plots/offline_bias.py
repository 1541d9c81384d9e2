"""Zonal-mean offline bias of the seed-averaged predictions of every network, or of each seed."""

from __future__ import annotations

import xarray
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from climsim.figures.panels import (
    colour_bar,
    panel_grid,
    require_defined,
    section,
    symmetric_limit,
    title_panel,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import offline_scores
from climsim.figures.style import DIVERGING, network_style
from climsim.results.quantities import quantity
from climsim.results.seeds import groups_of, rows_of
from climsim.results.selection import network_means, predicted_profiles
from climsim.results.study import NothingToDrawError, Study


def variants(study: Study) -> tuple[str, ...]:
    """Every recipe."""
    if study.offline is None:
        return ()
    return tuple(dict.fromkeys(group[1] for group in groups_of(study.offline)))


def draw(study: Study, variant: str) -> Figure:
    """Draw sections of the bias: a row for each network or seed, a column for each tendency."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    names = predicted_profiles(study)
    of_rows = _of_seeds if study.seed_lines else _of_networks
    found = {n: of_rows(study, f"bias_section_{n}", variant) for n in names}
    require_defined(values for rows in found.values() for values in rows.values())
    rows = list(found[names[0]])
    figure, axes = panel_grid(len(rows) * len(names), len(names), 1.35, width=7.2)
    for column, name in enumerate(names):
        shown = quantity(name)
        values = [shown.shown(found[name][row]) for row in rows]
        limit = max(symmetric_limit(bias) for bias in values)
        for row, (label, bias) in enumerate(zip(rows, values, strict=True)):
            ax = axes[row * len(names) + column]
            mesh = section(ax, bias, -limit, limit, DIVERGING, label=column == 0)
            title_panel(ax, shown.symbol if row == 0 else "", row * len(names) + column)
            ax.label_outer()
            if column == 0:
                ax.set_ylabel(f"{label}\npressure (hPa)")
        below = {"location": "bottom", "aspect": 12, "ticks": MaxNLocator(2)}
        bar = colour_bar(figure, mesh, axes[column :: len(names)], shown.unit, **below)
        bar.ax.tick_params(labelsize=5)
    return figure


def _of_networks(study: Study, key: str, recipe: str) -> dict[str, xarray.DataArray]:
    """Of the seed-averaged prediction of each network, by its name in words."""
    means = network_means(study, key, recipe)
    return {network_style(network).label: values for network, values in means.items()}


def _of_seeds(study: Study, key: str, recipe: str) -> dict[str, xarray.DataArray]:
    """Of each seed of each network, by its name in words."""
    assert study.offline is not None
    found = {}
    for group in groups_of(study.offline):
        for row in rows_of(study.offline, group) if group[1] == recipe else ():
            bias = study.offline[key].isel(member=row)
            found[f"{network_style(group[0]).label}, {int(bias['seed'])}"] = bias
    return found


def remarks(study: Study, variant: str) -> list[str]:
    """Which split was scored, and what a row is, where it is no mean."""
    rows = ["A row for each seed, whose number stands beside it."] if study.seed_lines else []
    return [*offline_scores(study, [variant]), *rows]


FIGURE = FigureSpec(
    name="offline_bias",
    order=23,
    title="Offline bias by network",
    caption=(
        "Zonal-mean difference of predicted and true physics tendency, of the prediction averaged "
        "over the seeds of each network, weighted by area. One scale for each tendency."
    ),
    draw=draw,
    variants=variants,
    remarks=remarks,
)
