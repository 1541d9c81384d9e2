"""Bokeh plots of lines, sections and maps, in the colours and markers of the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import ColorBar, Div, HoverTool, LayoutDOM, LinearColorMapper, Span
from bokeh.plotting import figure
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.explore.selection import Line, Section, Selection
from climsim.figures.globe import LATITUDES, LONGITUDES, nearest_columns
from climsim.figures.style import (
    DIVERGING,
    FULL_PHYSICS_STYLE,
    RAIN,
    SEQUENTIAL,
    UNDEFINED_COLOUR,
    network_style,
)
from climsim.results.measures import score_label
from climsim.results.quantities import plain

_HPA = 100.0
_MARKERS: Final = {
    "o": "circle",
    "s": "square",
    "^": "triangle",
    "D": "diamond",
    "v": "inverted_triangle",
    "P": "plus",
    "X": "x",
    "<": "star",
    ">": "hex",
    "p": "square_pin",
    "h": "hex",
}
"""Bokeh's name of each marker of the figures."""
_DASHES: Final = {
    "conf_loss": "dashed",
    "diff_loss": "dashdot",
    "multirep": "dotted",
    "v6": "dotdash",
}
_TOOLS = "pan,wheel_zoom,box_zoom,reset,save"
_FADING = (1.0, 0.65, 0.4)
"""Opacity of the first, second and third seed of a network and recipe [1]."""
_SHOWN = 8
"""Most points of a line that carry a marker [1]."""
_NARROWEST = 300
"""Width of a plot on a small screen [px]."""
_LINE_HEIGHT, _LEGEND_ROW = 440, 22
"""Height of a plot of lines, and of each line of the legend below it [px]."""
_BAR = 10
"""Thickness of a colour bar [px]."""


def notice(text: str) -> LayoutDOM:
    """A sentence in place of a plot."""
    return Div(text=text, name="notice")


def profile_plot(lines: Sequence[Line], picked: Selection) -> LayoutDOM:
    """Lines against pressure, surface at the bottom."""
    if not lines:
        return notice("None of these members has this measure.")
    plot = _line_figure(lines, _label(picked), "pressure (hPa)", ("@x", "@y{0} hPa"))
    plot.y_range.flipped = True
    return plot


def time_plot(lines: Sequence[Line], picked: Selection, axis: str) -> LayoutDOM:
    """Lines against time."""
    if not lines:
        return notice("None of these members ran coupled.")
    return _line_figure(lines, axis, _label(picked), ("@y", f"{axis} @x"))


def cut_plot(lines: Sequence[Line], picked: Selection, pressure: float) -> LayoutDOM:
    """Lines against latitude at one level."""
    if not lines:
        return notice("None of these members has this measure.")
    plot = _line_figure(lines, "latitude (degrees north)", _label(picked), ("@y", "@x{0} N"))
    plot.title.text = f"level {picked.level}, {pressure / _HPA:.1f} hPa"
    plot.name = "cut"
    return plot


def _label(picked: Selection) -> str:
    """Symbol and unit of what is shown."""
    what = f"{score_label(picked.measure)} of {picked.score.quantity.symbol}"
    return plain(what if picked.score.dimensionless else f"{what} ({picked.score.unit})")


def _panel(width: int, height: int, **options: Any) -> figure:
    """A plot that is as wide as the window lets it be."""
    plot = figure(
        sizing_mode="stretch_width",
        min_width=_NARROWEST,
        max_width=width,
        height=height,
        tools=_TOOLS,
        **options,
    )
    plot.toolbar.logo = None
    return plot


def _line_figure(lines: Sequence[Line], x: str, y: str, hover: tuple[str, str]) -> figure:
    """Lines with markers, a legend below them, and values under the pointer."""
    height = _LINE_HEIGHT + _LEGEND_ROW * len({line.label for line in lines})
    plot = _panel(width=880, height=height, x_axis_label=x, y_axis_label=y, name="lines")
    drawn: Counter[tuple[str, str]] = Counter()
    for line in lines:
        style = FULL_PHYSICS_STYLE if line.full_physics else network_style(line.network)
        group = (line.network, line.recipe)
        data = {"x": line.x, "y": line.y, "label": np.full(line.x.size, line.label)}
        # Seeds share colour, marker and dashes: each next one is fainter.
        shape = {
            "color": style.colour,
            "alpha": _FADING[drawn[group] % len(_FADING)],
            "legend_label": line.label,
        }
        drawn[group] += 1
        dash = "dashed" if line.full_physics else _DASHES.get(line.recipe, "solid")
        plot.line("x", "y", source=data, line_width=2, line_dash=dash, name=line.label, **shape)
        if style.marker:
            every = slice(None, None, max(1, line.x.size // _SHOWN))
            points = {key: values[every] for key, values in data.items()}
            plot.scatter("x", "y", source=points, size=7, marker=_MARKERS[style.marker], **shape)
    value, axis = hover
    plot.add_tools(HoverTool(tooltips=[("member", "@label"), ("value", value), ("at", axis)]))
    plot.add_layout(plot.legend[0], "below")
    plot.legend.click_policy = "mute"
    plot.legend.label_text_font_size = "9pt"
    return plot


def section_grid(
    found: Sequence[Section], cut: LayoutDOM, picked: Selection, pressure: Array
) -> LayoutDOM:
    """Sections side by side on one colour scale, above the cut at the level that was picked."""
    if not found:
        return cut
    scale = _scale([s.values for s in found], signed=not picked.measure.startswith("r2"))
    drawn = [_section(section, scale, picked, pressure) for section in found]
    return column(_flowing(drawn), cut, sizing_mode="stretch_width")


def _flowing(drawn: Sequence[LayoutDOM]) -> LayoutDOM:
    """Plots side by side where there is room, and below each other where there is none."""
    wrapped = {"flex-wrap": "wrap"}
    return row(*drawn, sizing_mode="stretch_width", styles=wrapped)


def _section(
    section: Section, scale: LinearColorMapper, picked: Selection, pressure: Array
) -> figure:
    """One section: a box for each level and bin of latitude, and a line at the level picked."""
    plot = _panel(
        width=480,
        height=360,
        title=section.label,
        x_axis_label="latitude (degrees north)",
        y_axis_label="pressure (hPa)",
        name="section",
        x_range=(-90, 90),
        y_range=(float(pressure.max()) / _HPA, 0),
    )
    plot.background_fill_color = UNDEFINED_COLOUR
    left, right = _edges(section.latitude)
    top, bottom = _edges(pressure / _HPA)
    rows, columns = (i.ravel() for i in np.indices(section.values.shape))
    data = {
        "left": left[columns],
        "right": right[columns],
        "top": top[rows],
        "bottom": bottom[rows],
        "value": section.values.ravel(),
        "latitude": section.latitude[columns],
        "pressure": pressure[rows] / _HPA,
    }
    known = np.isfinite(data["value"])
    plot.quad(
        "left",
        "right",
        "top",
        "bottom",
        source={k: v[known] for k, v in data.items()},
        fill_color={"field": "value", "transform": scale},
        line_color=None,
    )
    plot.add_layout(
        Span(location=pressure[picked.level] / _HPA, dimension="width", line_dash="dashed")
    )
    tips = [("value", "@value"), ("latitude", "@latitude{0}"), ("pressure", "@pressure{0} hPa")]
    plot.add_tools(HoverTool(tooltips=tips))
    _add_colour_bar(plot, scale, _label(picked))
    return plot


def _add_colour_bar(plot: figure, scale: LinearColorMapper, title: str) -> None:
    """The scale of a panel, below it, headed by what it shows."""
    # Small enough for the longest title above a panel of a telephone.
    bar = ColorBar(color_mapper=scale, title=title, height=_BAR, title_text_font_size="8pt")
    plot.add_layout(bar, "below")


def map_grid(
    found: Sequence[Section],
    picked: Selection,
    columns: tuple[Array, Array],
    land: Array | None,
) -> LayoutDOM:
    """Maps of the reference and of differences from it, with coasts from the land fraction."""
    if not found:
        return notice("The runs have no map of this variable.")
    raster = nearest_columns(*columns)
    labels = [_label(picked), *[f"difference of {_label(picked)}"] * (len(found) - 1)]
    scales = [_scale([found[0].values], signed=False, colours=RAIN)]
    if len(found) > 1:
        scales += [_scale([section.values for section in found[1:]], signed=True)] * (
            len(found) - 1
        )
    drawn = [
        _map(section, scale, raster, land, label)
        for section, scale, label in zip(found, scales, labels, strict=True)
    ]
    return _flowing(drawn)


def _map(
    section: Section,
    scale: LinearColorMapper,
    raster: NDArray[np.intp],
    land: Array | None,
    label: str,
) -> figure:
    """One map: each column as the part of the globe that is nearest to it."""
    plot = _panel(
        width=480,
        height=330,
        title=section.label,
        x_axis_label="longitude",
        y_axis_label="latitude",
        x_range=(-180, 180),
        y_range=(-90, 90),
        name="map",
    )
    picture = plot.image(
        [section.values[raster]], x=-180, y=-90, dw=360, dh=180, color_mapper=scale
    )
    if land is not None:
        plot.contour(LONGITUDES, LATITUDES, land[raster], [0.5], line_color="#222222", line_width=1)
    tips = [("value", "@image"), ("longitude", "$x{0}"), ("latitude", "$y{0}")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[picture]))
    _add_colour_bar(plot, scale, label)
    return plot


def _scale(values: Sequence[Array], signed: bool, colours: str = SEQUENTIAL) -> LinearColorMapper:
    """One colour scale for several panels, symmetric about 0 where values have a sign."""
    finite = np.concatenate([v[np.isfinite(v)].ravel() for v in values])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if colours == SEQUENTIAL and not signed:
        low, high = 0.0, 1.0
    if signed:
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    chosen = colormaps[DIVERGING if signed else colours]
    palette = [to_hex(colour) for colour in chosen(np.arange(256))]
    return LinearColorMapper(palette, low=low, high=high, nan_color=UNDEFINED_COLOUR)


def _edges(centres: Array) -> tuple[Array, Array]:
    """Edges of cells half-way between their centres."""
    inner = 0.5 * (centres[1:] + centres[:-1])
    first, last = 1.5 * centres[0] - 0.5 * centres[1], 1.5 * centres[-1] - 0.5 * centres[-2]
    edges = np.concatenate([[first], inner, [last]])
    return edges[:-1], edges[1:]
