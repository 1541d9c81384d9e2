"""Offline bias of the moistening by percentile of precipitation."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from climsim.figures.panels import (
    colour_bar,
    head,
    panel_grid,
    pressure_axis,
    symmetric_limit,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.style import DIVERGING, UNDEFINED_COLOUR, literal
from climsim.results.labels import label_of
from climsim.results.quantities import quantity
from climsim.results.ranking import smallest_and_largest
from climsim.results.study import NothingToDrawError, Study

_NAME = "ptend_q0001"
_HPA = 100.0


def draw(study: Study, variant: str) -> Figure:
    """Draw percentile-pressure sections of the bias for the smallest and the largest bias."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    chosen = smallest_and_largest(study.offline, _NAME)
    if not chosen:
        raise NothingToDrawError("no member has a defined bias of moistening")
    written = quantity(_NAME)
    biases = written.shown(study.offline[f"bias_by_precipitation_{_NAME}"]).isel(member=chosen)
    limit = symmetric_limit(biases)
    figure, axes = panel_grid(len(chosen), 2, 2.6, width=7.2 if len(chosen) > 1 else 4.5)
    labels = [literal(str(p)) for p in biases["percentile"].values]
    pressure = biases["pressure"].values
    mesh = None
    for i, ax in enumerate(axes):
        bias = biases.isel(member=i)
        ax.set_facecolor(UNDEFINED_COLOUR)
        mesh = ax.pcolormesh(
            np.arange(len(labels)),
            pressure / _HPA,
            np.ma.masked_invalid(bias.transpose("level", "percentile").values),
            vmin=-limit,
            vmax=limit,
            cmap=DIVERGING,
            shading="nearest",
            rasterized=True,
        )
        ax.set_xticks(np.arange(len(labels)), labels, rotation=60, ha="right")
        ax.set_xlabel("percentile of precipitation")
        pressure_axis(ax, pressure, label=i == 0)
        head(ax, label_of(bias), i)
    colour_bar(figure, mesh, axes, f"bias of {written.label}")
    return figure


FIGURE = FigureSpec(
    "offline_by_precipitation",
    25,
    "Offline bias of moistening by precipitation",
    "Mean difference of predicted and true moistening over the samples of the test split in each "
    "percentile of the true precipitation, for the members of smallest and largest zonal-mean "
    "bias. Grey: no samples (many columns are dry, so low percentiles can share one bin).",
    draw,
)
