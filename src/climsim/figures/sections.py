"""Panels of zonal-mean bias with the tropopause, shared by the figures of bias."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.figures.panels import colour_bar, require_defined, section, symmetric_limit
from climsim.figures.style import DIVERGING
from climsim.results.quantities import quantity
from climsim.results.study import Study

_HPA = 100.0


def bias_panel(
    figure: Figure,
    ax: Axes,
    study: Study,
    run: xarray.Dataset,
    name: str,
    *,
    label: bool = True,
    limit: float | None = None,
) -> None:
    """Draw the zonal-mean bias of one field of one run, with the tropopause and a colour bar.

    Args:
        figure: that holds the panel.
        ax: panel.
        study: gives the tropopause.
        run: metrics of the run.
        name: field.
        label: whether to label the vertical axis.
        limit: end of the colour scale in the display unit; chosen from the values if not given.
    """
    written = quantity(name)
    values = written.shown(run[f"zonal_bias_{name}"])
    require_defined([values])
    limit = limit or symmetric_limit(values)
    mesh = section(ax=ax, values=values, low=-limit, high=limit, colours=DIVERGING, label=label)
    assert study.online is not None
    if "tropopause" in study.online:
        line = study.online["tropopause"].values
        known = np.isfinite(line)
        latitude = study.online["latitude"].values[known]
        ax.plot(latitude, line[known] / _HPA, color="#222222", linewidth=1.0)
    colour_bar(figure, mesh, ax, written.unit)
