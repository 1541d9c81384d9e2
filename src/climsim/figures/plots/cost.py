"""Online error against speed and against the time of training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from climsim.figures.panels import head, legend_below, panel_grid, unique
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import not_shown
from climsim.figures.style import network_style
from climsim.results.cost import Cost, member_costs
from climsim.results.quantities import quantity
from climsim.results.selection import defined, each, online_members, with_mean
from climsim.results.stability import comparable
from climsim.results.study import NothingToDrawError, Study

_NAMES = ("T", "Q")
_AXES = {"sypd": "simulated years per day", "training_hours": "training time (h)"}
_SIZES = (8.0, 70.0)
"""Areas of the points of 1e5 and of 1e8 parameters [points squared]."""
_LEAST, _MOST = 5, 8
"""Powers of ten of the numbers of parameters that the areas tell apart."""


def draw(study: Study, variant: str) -> Figure:
    """Draw RMSE of the time mean against speed and, where known, training time."""
    members = with_mean(online_members(study), "rmse_mean_T")
    costs = member_costs(study)
    shown = [(key, name) for key in _AXES for name in _NAMES if _known(members, costs, key)]
    if not shown:
        raise NothingToDrawError("no run recorded its speed, and no model its training time")
    figure, axes = panel_grid(len(shown), 2, 2.3, width=7.2)
    for i, (ax, (key, name)) in enumerate(zip(axes, shown, strict=True)):
        for run, leads in zip(each(members), comparable(members), strict=True):
            _point(ax, run, name, key, costs, filled=bool(leads))
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0)
        ax.set_xlabel(_AXES[key])
        ax.set_ylabel(f"RMSE of {quantity(name).label}")
        ax.grid(visible=True)
        head(ax, quantity(name).symbol, i)
    networks = unique(members["network"].values.tolist())
    handles = [*_network_keys(networks), *_size_keys(costs)]
    if not comparable(members).all():
        handles.append(_key("unstable, or shorter mean", "#888888", "o", 5.0, filled=False))
    legend_below(figure, handles, 5)
    return figure


def remarks(study: Study, variant: str) -> list[str]:
    """What hollow points are, and which members are missing."""
    members = online_members(study)
    known = defined(members, "rmse_mean_T")
    hollow = "Hollow: runs that became unstable or whose time mean is shorter, which flatters them."
    found = [hollow] if (known & ~comparable(members)).any() else []
    return [*found, *not_shown(study, members, known)]


def _known(members: xarray.Dataset, costs: Mapping[str, Cost], key: str) -> bool:
    return any(np.isfinite(_value(run, key, costs)) for run in each(members))


def _value(run: xarray.Dataset, key: str, costs: Mapping[str, Cost]) -> float:
    if key == "training_hours":
        return costs[str(run["run"].values)].training_hours
    return float(run[key])


def _point(
    ax: Axes, run: xarray.Dataset, name: str, key: str, costs: Mapping[str, Cost], *, filled: bool
) -> None:
    style = network_style(str(run["network"].values))
    ax.scatter(
        _value(run, key, costs),
        float(quantity(name).shown(run[f"rmse_mean_{name}"])),
        s=_area(costs[str(run["run"].values)].parameters),
        facecolor=style.colour if filled else "none",
        marker=style.marker,
        edgecolor="white" if filled else style.colour,
        linewidth=0.4 if filled else 0.9,
    )


def _area(parameters: float) -> float:
    """Area of a point, by the logarithm of the number of parameters from 1e5 to 1e8."""
    if not np.isfinite(parameters):
        return _SIZES[0]
    share = np.clip((np.log10(parameters) - _LEAST) / (_MOST - _LEAST), 0, 1)
    return float(_SIZES[0] + share * (_SIZES[1] - _SIZES[0]))


def _network_keys(networks: list[str]) -> list[Line2D]:
    styles = [network_style(name) for name in networks]
    return [_key(s.label, s.colour, s.marker, 5.0) for s in styles]


def _size_keys(costs: Mapping[str, Cost]) -> list[Line2D]:
    """What the areas of the points mean; nothing where no size is known."""
    if not any(np.isfinite(cost.parameters) for cost in costs.values()):
        return []
    sizes = [cost.parameters for cost in costs.values() if np.isfinite(cost.parameters)]
    low, high = np.floor(np.log10(min(sizes))), np.ceil(np.log10(max(sizes)))
    powers = [int(p) for p in np.arange(low, high + 1) if _LEAST <= p <= _MOST]
    return [_key(f"10$^{p}$ parameters", "#888888", "o", _area(10.0**p) ** 0.5) for p in powers]


def _key(label: str, colour: str, marker: str, size: float, filled: bool = True) -> Line2D:
    line = Line2D([], [], color=colour, marker=marker, markersize=size, linestyle="", label=label)
    line.set_markeredgewidth(0 if filled else 0.9)
    line.set_markerfacecolor(colour if filled else "none")
    return line


FIGURE = FigureSpec(
    "cost",
    60,
    "Error against speed and training time",
    "Mass-weighted RMSE of the time mean against simulated years per day of wall time (of the "
    "machine that each run was on) and, where the model files say it, against the wall time of "
    "the training. The area of a point grows with the logarithm of the number of trainable "
    "parameters.",
    draw,
    remarks=remarks,
)
