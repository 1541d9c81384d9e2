"""Zonal-mean biases of the best members, nine fields."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.panels import panel_grid, title_panel
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import all_unstable, tropopause
from climsim.figures.sections import bias_panel
from climsim.results.labels import label_of
from climsim.results.quantities import quantity
from climsim.results.selection import best_members
from climsim.results.study import NothingToDrawError, Study

_NAMES = ("T", "Q", "U", "CLDLIQ", "CLDICE", "DTPHYS", "DQ1PHYS", "DQnPHYS", "DUPHYS")


def draw(study: Study, variant: str) -> Figure:
    """Draw the bias of nine fields, each of the member that is best in it."""
    if study.online is None:
        raise NothingToDrawError("no online metrics were given")
    names = [n for n in _NAMES if f"zonal_bias_{n}" in study.online]
    if not names:
        raise NothingToDrawError("no run shares a whole period with the reference")
    figure, axes = panel_grid(len(names), 3, 2.0, width=7.2)
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        run = best_members(study, name, count=1).isel(run=0)
        bias_panel(figure, ax, study, run, name, label=i % 3 == 0)
        label = label_of(run, seed=True)
        title_panel(ax, f"{quantity(name).symbol}\n{label}", i)
    return figure


FIGURE = FigureSpec(
    "zonal_bias",
    46,
    "Zonal-mean bias of the best members",
    "Time- and zonal-mean difference from the reference, in bins of 10 degrees of latitude, for "
    "each field of the member with the smallest RMSE of its time mean among those that ran "
    "longest and stayed stable. Colours end at the 99th percentile.",
    draw,
    remarks=lambda study, variant: [*tropopause(study), *all_unstable(study)],
)
