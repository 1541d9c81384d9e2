"""What the confidence heads predicted along coupled runs."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from climsim.figures.growth import label_time, mark_end
from climsim.figures.panels import (
    legend_below,
    network_handles,
    network_line,
    panel_grid,
    title_panel,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import unstable_ends
from climsim.figures.style import FLOOR_DASHES, LineLook
from climsim.results.selection import defined, online_members, run_by_run
from climsim.results.study import NothingToDrawError, Study
from climsim.results.time_axis import time_axis

_NAMES = {
    "DTPHYS": "dT/dt",
    "DQ1PHYS": "dQ$_v$/dt",
    "DQNPHYS": "dQ$_{cloud}$/dt",
    "DUPHYS": "dU/dt",
}


def draw(study: Study, variant: str) -> Figure:
    """Draw the predicted loss against time, and the true loss where it was recorded."""
    members = online_members(study)
    axis = time_axis(study)
    word = axis.word
    names = [n for n in _NAMES if f"confidence_{word}_{n}CONF" in members]
    if not names:
        raise NothingToDrawError("no model with a confidence head ran coupled")
    shown = _confident(members, word)
    x = axis.elapsed(members)
    figure, axes = panel_grid(len(names), 2, 1.9, width=7.2, sharex=True)
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        predicted, known = (f"confidence_{word}_{name}{kind}" for kind in ("CONF", "LOSS"))
        for run in run_by_run(shown, predicted, known):
            line = network_line(str(run["network"].values), x.size)
            ax.plot(x, run[predicted], **line)
            mark_end(
                ax=ax, x=x, y=run[predicted].values, run=run, colour=line["color"], unit=axis.days
            )
            if known in run:
                true: LineLook = {**line, "linestyle": FLOOR_DASHES, "marker": None}
                ax.plot(x, run[known], **true)
        _axes(ax, f"{_NAMES[name]}", i)
    label_time(axes, 2, axis.name)
    handles = network_handles(shown["network"].values.tolist())
    if _has_true(shown, word):
        handles.append(Line2D([], [], color="#444444", linestyle=FLOOR_DASHES, label="true loss"))
    legend_below(figure, handles)
    return figure


def _confident(members: xarray.Dataset, word: str) -> xarray.Dataset:
    """Members that have a confidence head."""
    known = [defined(members, f"confidence_{word}_{name}CONF") for name in _NAMES]
    return members.isel(run=np.flatnonzero(np.logical_or.reduce(known)))


def _has_true(members: xarray.Dataset, word: str) -> bool:
    return any(defined(members, f"confidence_{word}_{name}LOSS").any() for name in _NAMES)


def remarks(study: Study, variant: str) -> list[str]:
    """What is drawn beside the predicted losses."""
    word = time_axis(study).word
    shown = _confident(online_members(study), word)
    found = unstable_ends(shown, np.ones(shown.sizes["run"], dtype=bool))
    if _has_true(shown, word):
        found.append("Dashed: the true loss, of runs in which the physics ran beside the network.")
    return found


def _axes(ax: Axes, title: str, number: int) -> None:
    title_panel(ax, title, number)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("predicted loss")


FIGURE = FigureSpec(
    "online_confidence",
    42,
    "Confidence along the coupled runs",
    "Loss that the confidence heads predict, mass-weighted mean over the globe, period by period, "
    "in units of the training loss. A head that knows its limits predicts a growing loss where a "
    "run drifts away.",
    draw,
    remarks=remarks,
    by_recipe=True,
)
