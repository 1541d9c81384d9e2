"""Regional means of water, temperature and cloud against time, by recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.figures.growth import label_time, legend_handles, mark_end, seeds_as_band
from climsim.figures.panels import (
    full_physics_runs,
    legend_below,
    network_line,
    panel_grid,
    seed_bands,
    title_panel,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import line_ends, not_shown, runs_with_full_physics
from climsim.figures.style import literal
from climsim.results.labels import recipe_label
from climsim.results.quantities import quantity
from climsim.results.selection import (
    defined,
    of_recipe,
    online_members,
    online_reference,
    recipe_variants,
    run_by_run,
)
from climsim.results.study import Study
from climsim.results.time_axis import time_axis

_BANDS = (
    "Shading: range over seeds; lines: the seed nearest to their median in mean distance from the "
    "reference."
)


@dataclass(frozen=True)
class _Series:
    """What a figure shows.

    Attributes:
        name: quantity.
        statistic: ``mean`` or ``deviation`` over the area of a region.
    """

    name: str
    statistic: str

    def key(self, word: str) -> str:
        """Name of the saved variable for daily or monthly means."""
        return f"series_{word}_{self.name}_{self.statistic}"

    @property
    def label(self) -> str:
        """Name in words."""
        what = quantity(self.name).symbol
        return what if self.statistic == "mean" else f"{what}, standard deviation over the area"


_SERIES: Final = {
    name if statistic == "mean" else f"{name}_{statistic}": _Series(name, statistic)
    for statistic in ("mean", "deviation")
    for name in ("TMQ", "T_lowest", "cloud_path")
}
"""By the name of the variant."""


def variants(study: Study) -> tuple[str, ...]:
    """One figure for each quantity that the runs have, of its mean and its standard deviation."""
    if study.online is None:
        return ()
    word = time_axis(study).word
    found = {name: study.online.get(series.key(word)) for name, series in _SERIES.items()}
    return tuple(n for n, a in found.items() if a is not None and bool(a.notnull().any()))


def draw(study: Study, variant: str) -> Figure:
    """Draw the area mean of a quantity: a column for each region, a row for each recipe."""
    members = online_members(study)
    axis, series = time_axis(study), _SERIES[variant or "TMQ"]
    recipes, regions = recipe_variants(study), [str(r) for r in members["region"].values]
    columns = len(regions) if len(recipes) > 1 else 2
    panels = [(recipe, region) for recipe in recipes for region in regions]
    figure, axes = panel_grid(len(panels), columns, 1.6, width=7.2, sharex=True)
    for i, (ax, (recipe, region)) in enumerate(zip(axes, panels, strict=True)):
        _draw_region(ax, study, of_recipe(members, recipe), series, region)
        title_panel(ax, literal(region), i)
        if i % columns == 0:
            ax.set_ylabel(recipe_label(recipe) if len(recipes) > 1 else "")
    label_time(axes, columns, axis.name)
    label = f"{series.label} ({quantity(series.name).unit})"
    figure.supylabel(label, fontsize=axes[0].yaxis.label.get_fontsize())
    legend_below(figure, legend_handles(study, members, reference=True))
    return figure


def _draw_region(
    ax: Axes, study: Study, members: xarray.Dataset, series: _Series, region: str
) -> None:
    """Draw the seeds of each network as band, or each run, and the runs with full physics."""
    axis = time_axis(study)
    x = axis.elapsed(members)

    def values_of(runs: xarray.Dataset) -> xarray.DataArray:
        return quantity(series.name).shown(runs[series.key(axis.word)].sel(region=region))

    if seeds_as_band(study, online_members(study)):
        seed_bands(ax, x, values_of(members), values_of(online_reference(study)).values)
    else:
        for run in run_by_run(members, series.key(axis.word)):
            line = network_line(str(run["network"].values), x.size, linewidth=0.9)
            y = values_of(run).values
            ax.plot(x, y, **line)
            mark_end(ax=ax, x=x, y=y, run=run, colour=line["color"], unit=axis.days)
    for run, look in full_physics_runs(study):
        ax.plot(x, values_of(run), linewidth=1.4, **look)


def remarks(study: Study, variant: str) -> list[str]:
    """What the black lines, bands and crosses are, and which members are missing."""
    members, axis = online_members(study), time_axis(study)
    known, black = defined(members, _SERIES[variant].key(axis.word)), runs_with_full_physics(study)
    if seeds_as_band(study, members):
        return [_BANDS, *black, *not_shown(study, members, known)]
    return [*black, *line_ends(study, members, known, axis.name)]


FIGURE = FigureSpec(
    name="regional_series",
    order=50,
    title="Regional means",
    caption=(
        "Area mean, or standard deviation over the area, of the globe, the tropics (30S-30N) and "
        "the rest of each hemisphere, period by period. A line that ends is a run that did."
    ),
    draw=draw,
    variants=variants,
    remarks=remarks,
    label=lambda variant: _SERIES[variant].label,
    by_recipe=True,
)
