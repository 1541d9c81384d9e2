"""Zonal-mean offline bias of the moistening, smallest and largest over the networks."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from climsim.figures.panels import colour_bar, head, panel_grid, section, symmetric_limit
from climsim.figures.registry import FigureSpec
from climsim.figures.style import DIVERGING
from climsim.notation import written
from climsim.results.labels import label_of
from climsim.results.quantities import quantity
from climsim.results.ranking import smallest_and_largest
from climsim.results.study import NothingToDrawError, Study

_NAMES = ("ptend_q0001", "ptend_t")


def draw(study: Study, variant: str) -> Figure:
    """Draw bias sections of moistening and heating for the members of smallest and largest bias."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    rows = [(name, i) for name in _NAMES for i in smallest_and_largest(study.offline, name)]
    columns = max(1, len(rows) // len(_NAMES))
    figure, axes = panel_grid(len(rows), columns, 2.1, width=7.2 if columns > 1 else 4.5)
    for number, (ax, (name, i)) in enumerate(zip(axes, rows, strict=True)):
        shown = quantity(name)
        values = shown.shown(study.offline[f"bias_section_{name}"].isel(member=i))
        shared = shown.shown(study.offline[f"bias_section_{name}"])
        limit = symmetric_limit(shared.isel(member=[j for n, j in rows if n == name]))
        mesh = section(ax, values, -limit, limit, DIVERGING, label=number % columns == 0)
        colour_bar(figure, mesh, ax, shown.unit)
        size = float(np.sqrt((values**2).mean()))
        member = study.offline.isel(member=i)
        label = label_of(member)
        head(ax, f"{shown.symbol}: {label}\n({written(size, 2)} {shown.unit})", number)
    return figure


FIGURE = FigureSpec(
    "offline_moistening",
    24,
    "Offline bias of moistening and heating",
    "Zonal-mean difference of predicted and true physics tendency on the test split, for the "
    "member with the smallest and the one with the largest bias (root mean square over the "
    "section, in brackets), on one scale for each tendency.",
    draw,
)
