"""Online error against speed."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from climsim.figures.cost import member_costs
from climsim.figures.labels import quantity
from climsim.figures.members import each, online_members, with_mean
from climsim.figures.panels import head, legend_below, network_handles, panel_grid, unique
from climsim.figures.registry import FigureSpec, NothingToDrawError
from climsim.figures.study import Study
from climsim.figures.style import network_style

_NAMES = ("T", "Q")
_SIZES = (12.0, 90.0)
"""Areas of the smallest and the largest point [points squared]."""


def draw(study: Study, variant: str) -> Figure:
    """Draw RMSE of the time mean against simulated years per day; area shows parameters."""
    members = with_mean(online_members(study), "rmse_mean_T")
    if not np.isfinite(members["sypd"]).any():
        raise NothingToDrawError("no run recorded its speed")
    costs = member_costs(study)
    figure, axes = panel_grid(len(_NAMES), 2, 2.5, width=7.2)
    for i, (ax, name) in enumerate(zip(axes, _NAMES, strict=True)):
        written = quantity(name)
        for run in each(members):
            style = network_style(str(run["network"].values))
            parameters = costs[str(run["run"].values)].parameters if costs else np.nan
            ax.scatter(
                float(run["sypd"]),
                float(written.shown(run[f"rmse_mean_{name}"])),
                s=_area(parameters),
                color=style.colour,
                marker=style.marker,
                alpha=0.75,
                linewidth=0,
            )
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("simulated years per day")
        ax.set_ylabel(f"RMSE of {written.label}")
        ax.grid(visible=True)
        head(ax, written.symbol, i)
    legend_below(figure, network_handles(unique(members["network"].values.tolist())), 6)
    return figure


def _area(parameters: float) -> float:
    """Area of a point, by the logarithm of the number of parameters from 1e5 to 1e8."""
    if not np.isfinite(parameters):
        return _SIZES[0]
    share = np.clip((np.log10(parameters) - 5) / 3, 0, 1)
    return float(_SIZES[0] + share * (_SIZES[1] - _SIZES[0]))


FIGURE = FigureSpec(
    "cost",
    60,
    "Error against speed",
    "Mass-weighted RMSE of the time mean against simulated years per day of wall time (of the "
    "machine that each run was on). The area of a point grows with the logarithm of the number of "
    "trainable parameters, which the leaderboard also lists.",
    draw,
)
