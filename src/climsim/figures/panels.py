"""Pieces that figures share: grids of panels, pressure axes, sections, legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType
from numpy.typing import NDArray

from climsim.evaluation.members import NETWORKS
from climsim.figures.style import (
    DOUBLE_WIDTH,
    FLOOR_DASHES,
    FULL_PHYSICS_COLOUR,
    OTHER_DASHES,
    RECIPE_DASHES,
    UNDEFINED_COLOUR,
    LineLook,
    network_style,
)
from climsim.results.labels import full_physics_label, recipe_label
from climsim.results.seeds import groups_of, median_seed
from climsim.results.study import NothingToDrawError, Study

_HPA = 100.0
_LATITUDES = {-90: "90S", -60: "60S", -30: "30S", 0: "0", 30: "30N", 60: "60N", 90: "90N"}
SHIFT = 0.006
"""Downwards between lines of survival, so that those at the same height all show [1]."""
_FEW_LATITUDES = {-60: "60S", 0: "0", 60: "60N"}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure whose texts can be measured while it is made.

    Without a canvas of its own, matplotlib makes a picture of the whole figure for every text that
    is measured, and keeps all of these until Python looks for cycles.

    Args:
        width: of the figure [inch].
        height: of the figure [inch].
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panel_grid(
    count: int,
    columns: int,
    height: float = 2.0,
    width: float | None = None,
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """Figure with ``count`` panels in rows, each with its letter.

    Args:
        count: number of panels.
        columns: most panels in a row.
        height: of a row [inch].
        width: of the figure [inch]; chosen by the number of columns if not given.
        **options: for `Figure.subplots`.

    Raises:
        NothingToDrawError: if there is no panel to draw.
    """
    if count == 0:
        raise NothingToDrawError("no member or quantity has a defined value")
    columns = min(columns, count)
    rows = -(-count // columns)
    width = width or max(3.5, DOUBLE_WIDTH * min(1.0, columns / 3 + 0.1))
    figure = new_figure(width, height * rows + 0.45)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel()
    for i, ax in enumerate(axes):
        if i >= count:
            ax.remove()
    return figure, list(axes[:count])


def title_panel(ax: Axes, text: str, number: int | None = None) -> None:
    """Write the letter and the title of a panel above its left end.

    Args:
        ax: panel.
        text: title.
        number: of the panel, 0 for the letter a; None for a panel that stands alone.
    """
    title = ax.set_title(text if number is None else f"({_letters(number)}) {text}", loc="left")
    spec = ax.get_subplotspec()
    if spec is not None and isinstance(ax.figure, Figure):
        share = len(spec.colspan) / spec.get_gridspec().ncols
        pitch = share * (ax.figure.get_figwidth() - _LEFT)
        _fit(title, max(pitch - _GAP, _FILLED * pitch) * float(ax.figure.dpi))


_LEFT = 0.55
"""Width of the labels of the vertical axis, left of the first panel [inch]."""
_GAP = 0.3
"""Between the end of a title and the next panel [inch]."""
_FILLED = 0.86
"""Share of the distance between two narrow panels that a title may fill [1]."""
_SMALLEST_TITLE = 5.0
"""Letters of titles get no smaller [points]."""


def _fit(title: Text, width: float) -> None:
    """Break a title before the words that would run into its neighbour; shrink single long words.

    Args:
        title: of a panel.
        width: of the longest line [pixels].
    """
    lines: list[str] = []
    for line in title.get_text().split("\n"):
        words = line.split(" ")
        lines.append(words[0])
        for word in words[1:]:
            title.set_text(f"{lines[-1]} {word}")
            if title.get_window_extent().width <= width:
                lines[-1] = title.get_text()
            else:
                lines.append(word)
    title.set_text("\n".join(lines))
    size = float(title.get_fontsize())
    while size > _SMALLEST_TITLE and title.get_window_extent().width > width:
        size -= 0.5
        title.set_fontsize(size)


def _letters(number: int) -> str:
    last = chr(ord("a") + number % 26)
    return last if number < 26 else _letters(number // 26 - 1) + last


def pressure_axis(ax: Axes, pressure: NDArray[np.floating], label: bool = True) -> None:
    """Pressure in hPa on the vertical axis, surface at the bottom."""
    ax.set_ylim(float(pressure.max()) / _HPA + 10, 0)
    ax.set_yticks([0, 200, 400, 600, 800, 1000])
    ax.set_ylabel("pressure (hPa)" if label else "")
    if not label:
        ax.tick_params(labelleft=False)


def latitude_axis(ax: Axes, few: bool = False) -> None:
    """Latitude on the horizontal axis, south to north, with few ticks in narrow panels."""
    ticks = _FEW_LATITUDES if few else _LATITUDES
    ax.set_xlim(-90, 90)
    ax.set_xticks(list(ticks), list(ticks.values()))


def section(
    ax: Axes, values: xarray.DataArray, low: float, high: float, colours: str, label: bool = True
) -> QuadMesh:
    """Latitude-pressure section in colours; undefined cells are grey.

    Bins of latitude without columns, which a `Study` leaves out, are bridged by their neighbours.

    Args:
        ax: panel.
        values: (level, latitude) in the display unit, with the coordinates ``pressure``
            [Pa] and ``latitude``.
        low: value of the first colour.
        high: value of the last colour.
        colours: colour map.
        label: whether to label the vertical axis.

    Returns:
        What a colour bar needs.
    """
    values = values.transpose("level", "latitude")
    pressure = values["pressure"].values
    ax.set_facecolor(UNDEFINED_COLOUR)
    mesh = ax.pcolormesh(
        values["latitude"].values,
        pressure / _HPA,
        np.ma.masked_invalid(values.values),
        vmin=low,
        vmax=high,
        cmap=colours,
        shading="nearest",
        rasterized=True,
    )
    pressure_axis(ax, pressure, label)
    latitude_axis(ax, few=True)
    return mesh


def require_defined(sections: Iterable[xarray.DataArray]) -> None:
    """Refuse sections of which none has a value.

    Raises:
        NothingToDrawError: if there is none.
    """
    if not any(bool(values.notnull().any()) for values in sections):
        raise NothingToDrawError("no latitude has a defined value")


def symmetric_limit(values: xarray.DataArray, quantile: float = 0.99) -> float:
    """Limit of a symmetric colour scale that cuts off the largest percent of the values."""
    finite = np.abs(values.values[np.isfinite(values.values)])
    limit = float(np.quantile(finite, quantile)) if finite.size else 0.0
    return limit if limit > 0 else 1.0


def colour_bar(
    figure: Figure, mesh: ScalarMappable, axes: Sequence[Axes] | Axes, label: str, **options: Any
) -> Colorbar:
    """Colour bar beside its panels, with arrows where values lie beyond it."""
    shape: dict[str, Any] = {"extend": "both", "pad": 0.02, "aspect": 25}
    shape |= {"format": "%g", "ticks": MaxNLocator(6)} | options
    bar = figure.colorbar(mesh, ax=axes, **shape)
    bar.set_label(label)
    bar.ax.tick_params(length=2)
    return bar


def network_handles(networks: Iterable[str]) -> list[Line2D]:
    """Legend entries of networks: colour and marker, in the order of the study."""
    result = []
    for name in sorted(
        unique(networks), key=lambda n: NETWORKS.index(n) if n in NETWORKS else len(NETWORKS)
    ):
        style = network_style(name)
        result.append(
            Line2D([], [], color=style.colour, marker=style.marker or None, label=style.label)
        )
    return result


def recipe_handles(recipes: Iterable[str]) -> list[Line2D]:
    """Legend entries of recipes: dashes."""
    return [
        Line2D([], [], color="#444444", linestyle=dashes(name), label=recipe_label(name))
        for name in recipes
    ]


def dashes(recipe: str) -> LineStyleType:
    """Line style of a recipe."""
    return RECIPE_DASHES.get(recipe, OTHER_DASHES)


_WIDEST_LEGEND = 0.92
"""Share of the width of a figure; at low resolution rounded letters make a legend 7 % wider [1]."""


def legend_below(figure: Figure, handles: Sequence[Line2D], columns: int = 4) -> None:
    """One legend for all panels, below them, in fewer columns than given if it is too wide."""
    for ncols in range(max(1, min(columns, len(handles))), 0, -1):
        legend = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=ncols,
            handlelength=2.8,
            columnspacing=1.4,
        )
        if ncols == 1 or legend.get_window_extent().width <= _WIDEST_LEGEND * figure.bbox.width:
            return
        legend.remove()


def mark_every(size: int, network: str) -> tuple[int, int]:
    """Where along a line its markers sit, shifted by network so that they do not cover."""
    step = max(1, size // 6)
    return sum(network.encode()) % step, step


def network_line(network: str, size: int, **style: Unpack[LineLook]) -> LineLook:
    """How a line of a network looks: colour, and markers along it as the second cue.

    Args:
        network: its name.
        size: number of points of the line.
        **style: what differs.
    """
    look = network_style(network)
    usual: LineLook = {
        "color": look.colour,
        "linewidth": 1.0,
        "marker": look.marker or None,
        "markevery": mark_every(size, network),
        "markersize": 2.8,
    }
    return usual | style


def seed_band(
    ax: Axes,
    x: NDArray[np.floating],
    values: NDArray[np.floating],
    network: str,
    against: NDArray[np.floating] | None = None,
) -> None:
    """Draw the range over the seeds of a network, and the line of its median seed.

    Args:
        ax: panel.
        x: (point,) horizontal coordinate.
        values: (seed, point) in the display unit; NaN where a seed has none.
        network: gives colour and marker.
        against: what the median seed is sought by, see `climsim.results.seeds.median_seed`.
    """
    seed = median_seed(values, against)
    if seed is None:
        return
    line = network_line(network, x.size)
    known = np.isfinite(values).any(axis=0)
    low, high = (f(values[:, known], axis=0) for f in (np.nanmin, np.nanmax))
    ax.fill_between(x[known], low, high, color=line["color"], alpha=0.15, lw=0)
    ax.plot(x, values[seed], **line)


def seed_bands(
    ax: Axes,
    x: NDArray[np.floating],
    values: xarray.DataArray,
    against: NDArray[np.floating] | None = None,
) -> None:
    """Draw `seed_band` for each network.

    Args:
        ax: panel.
        x: (point,) horizontal coordinate.
        values: (run, point) of one recipe, in the display unit.
        against: what the median seed is sought by its distance from.
    """
    for network, _ in groups_of(values):
        rows = np.flatnonzero(values["network"].values == network)
        seed_band(ax, x, values.values[rows], network, against)


def unique(values: Iterable[str]) -> list[str]:
    """Values without repetition, in order."""
    return list(dict.fromkeys(values))


def full_physics_runs(
    study: Study, reference: bool = True
) -> list[tuple[xarray.Dataset, LineLook]]:
    """The runs with full physics that there are, each with the look of its line.

    Args:
        study: its metrics.
        reference: whether the reference is drawn too, beside the second run.
    """
    solid: LineLook = {"color": FULL_PHYSICS_COLOUR, "linestyle": "-"}
    dashed: LineLook = {"color": FULL_PHYSICS_COLOUR, "linestyle": FLOOR_DASHES}
    runs = ((study.reference() if reference else None, solid), (study.floor(), dashed))
    return [(run, look) for run, look in runs if run is not None]


def full_physics_handles(study: Study, reference: bool = True) -> list[Line2D]:
    """Legend entries of `full_physics_runs`."""
    return [
        Line2D([], [], label=full_physics_label(run), **look)
        for run, look in full_physics_runs(study, reference)
    ]
