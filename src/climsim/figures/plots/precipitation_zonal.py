"""Zonal-mean precipitation of the best members beside the reference."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.growth import legend_handles
from climsim.figures.labels import quantity
from climsim.figures.members import online_members, with_mean
from climsim.figures.panels import dashes, head, latitude_axis, legend_below, panel_grid
from climsim.figures.registry import FigureSpec, NothingToDrawError
from climsim.figures.study import Study
from climsim.figures.style import MMF_COLOUR, network_style

_NAMES = ("PRECT", "TMQ", "FLUT", "FSNT")


def draw(study: Study, variant: str) -> Figure:
    """Draw zonal means of precipitation, water, and radiation at the top."""
    members = with_mean(online_members(study), "mean_days")
    reference, floor = study.reference(), study.floor()
    names = [n for n in _NAMES if f"zonal_mean_{n}" in members]
    if not names or reference is None:
        raise NothingToDrawError("the history files hold no precipitation")
    figure, axes = panel_grid(len(names), 2, 2.0, width=7.2)
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        written, key = quantity(name), f"zonal_mean_{name}"
        for j in range(members.sizes["run"]):
            run = members.isel(run=j)
            known = run[key].dropna("latitude")
            ax.plot(
                known["latitude"],
                written.shown(known),
                color=network_style(str(run["network"].values)).colour,
                linestyle=dashes(str(run["recipe"].values)),
                linewidth=1.0,
            )
        for truth, style in ((reference, "-"), (floor, (0, (4, 1.5)))):
            if truth is not None:
                known = truth[key].dropna("latitude")
                ax.plot(
                    known["latitude"],
                    written.shown(known),
                    color=MMF_COLOUR,
                    linestyle=style,
                    linewidth=1.5,
                )
        latitude_axis(ax)
        ax.set_ylabel(written.label)
        ax.grid(visible=True)
        head(ax, f"zonal-mean {written.symbol}", i)
    legend_below(figure, legend_handles(study, by_recipe=True, reference=True))
    return figure


FIGURE = FigureSpec(
    "precipitation_zonal",
    52,
    "Zonal means of precipitation, water and radiation",
    "Time and zonal mean of precipitation, precipitable water, and radiation at the model top, for "
    "every member, and for MMF1 (black) and MMF2 (black, dashed). A member's mean is over the "
    "periods that it finished.",
    draw,
)
