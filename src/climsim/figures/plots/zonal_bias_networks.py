"""Zonal-mean biases beside each other for the best member of each network."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.panels import panel_grid, symmetric_limit, title_panel
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import all_unstable, tropopause
from climsim.figures.sections import bias_panel
from climsim.results.labels import label_of
from climsim.results.quantities import FIELD_PAIRS, quantity
from climsim.results.selection import best_of_networks
from climsim.results.study import NothingToDrawError, Study


def variants(study: Study) -> tuple[str, ...]:
    """One figure for each pair of fields that the runs hold."""
    if study.online is None:
        return ()
    held = study.online
    return tuple(
        pair for pair, names in FIELD_PAIRS.items() if any(f"zonal_bias_{n}" in held for n in names)
    )


def draw(study: Study, variant: str) -> Figure:
    """Draw the biases of a pair of fields: a row for each network, one scale for each field."""
    members = best_of_networks(study)
    names = [n for n in FIELD_PAIRS[variant or "state"] if f"zonal_bias_{n}" in members]
    if not names:
        raise NothingToDrawError(f"the history files lack {', '.join(FIELD_PAIRS[variant])}")
    figure, axes = panel_grid(members.sizes["run"] * len(names), len(names), 1.75, width=7.2)
    limits = {
        n: symmetric_limit(quantity(n).shown(members[f"zonal_bias_{n}"]), 0.98) for n in names
    }
    for i, ax in enumerate(axes):
        run, name = members.isel(run=i // len(names)), names[i % len(names)]
        bias_panel(figure, ax, study, run, name, label=i % len(names) == 0, limit=limits[name])
        label = label_of(run, seed=True)
        title_panel(ax, f"{quantity(name).symbol}: {label}", i)
    return figure


FIGURE = FigureSpec(
    name="zonal_bias_networks",
    order=47,
    title="Zonal-mean bias by network",
    caption=(
        "Time- and zonal-mean difference from the reference, in bins of 10 degrees of latitude, "
        "for the member of each network with the smallest RMSE of the time mean of temperature "
        "among those that ran longest and stayed stable. One colour scale for each field."
    ),
    draw=draw,
    variants=variants,
    remarks=lambda study, variant: [*tropopause(study), *all_unstable(study)],
    by_recipe=True,
)
