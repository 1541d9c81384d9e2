"""Reliability of the confidence heads."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.figures.panels import (
    legend_below,
    mark_every,
    network_handles,
    panel_grid,
    pressure_axis,
    title_panel,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import offline_scores, seed_range
from climsim.figures.style import network_style
from climsim.results.quantities import quantity
from climsim.results.seeds import groups_of, over_seeds
from climsim.results.selection import defined
from climsim.results.study import NothingToDrawError, Study

_TARGETS = ("ptend_t", "ptend_q0001", "ptend_qn", "ptend_u")
_HPA = 100.0


def draw(study: Study, variant: str) -> Figure:
    """Draw true against predicted loss above, their correlation by level below."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    if "confidence_true" not in study.offline:
        raise NothingToDrawError("no model with a confidence head was scored")
    known = defined(study.offline, "confidence_true", "member")
    if not known.any():
        raise NothingToDrawError("no predicted loss is defined")
    offline = study.offline.isel(member=np.flatnonzero(known))
    figure, axes = panel_grid(2 * len(_TARGETS), len(_TARGETS), 2.1, width=7.2)
    for i, name in enumerate(_TARGETS):
        for number, ax in ((i, axes[i]), (i + len(_TARGETS), axes[i + len(_TARGETS)])):
            title_panel(ax, quantity(name).symbol, number)
            ax.grid(visible=True)
        _reliability(axes[i], offline, name, label=i == 0)
        _correlation(axes[i + len(_TARGETS)], offline, name, label=i == 0)
    legend_below(figure, network_handles(offline["network"].values.tolist()))
    return figure


def _reliability(ax: Axes, offline: xarray.Dataset, name: str, label: bool) -> None:
    """Draw the mean true loss in bins of predicted loss; on the diagonal they agree."""
    colours = []
    for member in _of_target(offline, name):
        style = network_style(str(member["network"].values))
        ax.plot(
            member["confidence_predicted"],
            member["confidence_true"],
            color=style.colour,
            marker=style.marker,
            markersize=2.5,
            linewidth=0.9,
        )
        colours.append(style.colour)
    ax.set_xscale("log")
    ax.set_yscale("log")
    low, high = _limits(offline)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.plot([low, high], [low, high], color="#777777", linewidth=0.8, zorder=0)
    for member, colour in zip(_of_target(offline, name), colours, strict=True):
        below = member["confidence_predicted"].values[_below(member, low)]
        if below.size:
            ax.plot(below, np.full(below.shape, low), "v", color=colour, ms=4, clip_on=False)
    ax.set_xlabel("predicted loss")
    if label:
        ax.set_ylabel("true loss")


def _of_target(offline: xarray.Dataset, name: str) -> list[xarray.Dataset]:
    """Metrics of one output, member by member."""
    return [offline.isel(member=i).sel(target=name) for i in range(offline.sizes["member"])]


def _limits(offline: xarray.Dataset) -> tuple[float, float]:
    """Ends of both axes: the powers of ten around the predicted losses and below the true ones.

    The true loss of a bin of few samples can be smaller than any that matters, down to the smallest
    number of a computer.
    """
    predicted, true = (
        offline[f"confidence_{kind}"].sel(target=list(_TARGETS)).values
        for kind in ("predicted", "true")
    )
    low, high = np.nanmin(predicted[predicted > 0]), np.nanmax([*predicted.flat, *true.flat])
    return float(10 ** np.floor(np.log10(low))), float(10 ** np.ceil(np.log10(high)))


def _below(member: xarray.Dataset, low: float) -> np.ndarray:
    """Which bins have a true loss below the axis."""
    return np.asarray(member["confidence_true"].values < low)


def remarks(study: Study, variant: str) -> list[str]:
    """Which split was scored, and what shading and arrows are, where there are some."""
    found, offline = [*offline_scores(study), *seed_range(study.offline)], study.offline
    if offline is not None and (offline["confidence_true"] < _limits(offline)[0]).any():
        found.append("An arrow at the lower edge: the true loss is smaller than the axis shows.")
    return found


def _correlation(ax: Axes, offline: xarray.Dataset, name: str, label: bool) -> None:
    """Draw the correlation of predicted and true loss by level, mean and range over seeds."""
    pressure = offline["pressure"].values / _HPA
    for group in groups_of(offline):
        style = network_style(group[0])
        found = over_seeds(offline[f"confidence_correlation_{name}"], group)
        every = mark_every(pressure.size, group[0])
        ax.plot(found.mean, pressure, color=style.colour, marker=style.marker, markevery=every)
        ax.fill_betweenx(pressure, found.low, found.high, color=style.colour, alpha=0.12, lw=0)
    ax.set_xlim(-0.2, 1)
    ax.set_xlabel("correlation")
    pressure_axis(ax, offline["pressure"].values, label)


FIGURE = FigureSpec(
    "confidence",
    26,
    "Reliability of the confidence heads",
    "Above: mean true loss of the samples in bins of the predicted loss, in units of the training "
    "loss; a reliable head lies on the diagonal. Below: correlation of predicted and true loss by "
    "level; blank where either is constant.",
    draw,
    remarks=remarks,
)
