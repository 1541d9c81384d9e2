"""Offline bias of the moistening without rain and by decile of predicted rain."""

from __future__ import annotations

import matplotlib
import xarray
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from climsim.figures.panels import legend_below, panel_grid, pressure_axis, title_panel
from climsim.figures.plots.offline_bias import variants
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import offline_scores
from climsim.figures.style import SEQUENTIAL, literal, network_style
from climsim.results.quantities import quantity
from climsim.results.selection import extremes, network_means
from climsim.results.study import NothingToDrawError, Study

_NAME = "ptend_q0001"
_KEY = f"bias_by_predicted_precipitation_{_NAME}"
_HPA = 100.0
_ROW_LABELS = ("smallest over networks", "largest over networks")


def draw(study: Study, variant: str) -> Figure:
    """Draw the bias by level, a line for each decile: every network, then their extremes."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    means = network_means(study, _KEY, variant)
    panels = {network_style(network).label: values for network, values in means.items()}
    if len(means) > 1:
        panels |= dict(zip(_ROW_LABELS, extremes(means), strict=True))
    figure, axes = panel_grid(len(panels), 4, 2.3, width=7.2, sharex=True)
    for i, (ax, (title, values)) in enumerate(zip(axes, panels.items(), strict=True)):
        _deciles(ax, values)
        pressure_axis(ax, values["pressure"].values, label=i % 4 == 0)
        ax.set_xlabel(quantity(_NAME).unit)
        ax.grid(visible=True)
        title_panel(ax, title, i)
    labels = [literal(str(label)) for label in study.offline["rain_decile"].values]
    legend_below(figure, [_key(i, label, len(labels)) for i, label in enumerate(labels)], 6)
    return figure


def _deciles(ax: Axes, values: xarray.DataArray) -> None:
    shown = quantity(_NAME).shown(values).transpose("rain_decile", "level")
    for i, line in enumerate(shown):
        ax.plot(line, values["pressure"] / _HPA, color=_colour(i, len(shown)), linewidth=1.0)


def _colour(number: int, count: int) -> str:
    return to_hex(matplotlib.colormaps[SEQUENTIAL](0.95 * number / max(count - 1, 1)))


def _key(number: int, label: str, count: int) -> Line2D:
    words = label if number == 0 else f"{label} %"
    return Line2D([], [], color=_colour(number, count), label=words)


def remarks(study: Study, variant: str) -> list[str]:
    """Which split was scored; that the mean over seeds stands for an ensemble without one."""
    scored = offline_scores(study, [variant])
    if study.ensembles is not None and study.ensembles.sizes["member"]:
        return scored
    mean = "Mean over the seeds, each binned by its own prediction: no ensemble was scored."
    return [*scored, mean]


FIGURE = FigureSpec(
    name="offline_by_precipitation",
    order=25,
    title="Offline bias of moistening by predicted precipitation",
    caption=(
        "Mean difference of predicted and true moistening, weighted by area: where no rain is "
        "predicted, and in the deciles of active predicted rain, of the prediction averaged over "
        "the seeds of each network; then level by level the value of smallest and of largest "
        "magnitude over networks."
    ),
    draw=draw,
    variants=variants,
    remarks=remarks,
)
