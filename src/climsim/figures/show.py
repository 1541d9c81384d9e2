"""Pictures of single runs: time-height bias of a band of latitude, moving sections and maps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from climsim.arrays import Array
from climsim.errors import ClimSimError
from climsim.evaluation.history import RunHistory
from climsim.evaluation.online import run_summary
from climsim.evaluation.regions import BIN_CENTRES
from climsim.figures.beside import Beside, View, read_beside
from climsim.figures.config import MAP, TIME_HEIGHT, ShowConfig
from climsim.figures.globe import LATITUDES, LONGITUDES, nearest_columns
from climsim.figures.panels import colour_bar, latitude_axis, new_figure, pressure_axis, title_panel
from climsim.figures.style import DIVERGING, SEQUENTIAL, UNDEFINED_COLOUR, styled
from climsim.files import atomic_path, provenance
from climsim.products import Kind, claim, mentions
from climsim.results.quantities import Quantity, quantity
from climsim.stage import Progress

_HPA = 100.0
_EXTENT: Final = (-180.0, 180.0, -90.0, 90.0)
_PICTURE = Kind("a picture of runs", lambda path: mentions(path, b"climsim_version"))
_SHOWN = (0.01, 0.99)
"""Quantiles of the values at the ends of the colours [1]."""


def show_run(config: ShowConfig, progress: Progress | None = None) -> Path:
    """Draw a run beside its reference.

    Args:
        config: what is shown.
        progress: called with (pictures done, pictures in all).

    Returns:
        Path of the picture.

    Raises:
        ClimSimError: if a folder holds no run, or both share no mean with the field.
    """
    claim(config.out, _PICTURE, {"run": config.run, "reference": config.reference})
    run, reference = RunHistory.open(config.run), RunHistory.open(config.reference)
    view = View(config.kind, config.field, config.latitudes)
    found = read_beside(run, reference, config.stream, config.days, view)
    settings = {key: value for key, value in asdict(config).items() if key != "out"}
    made_by = provenance(settings, {str(one.folder): run_summary(one) for one in (run, reference)})
    with styled():
        if config.kind == TIME_HEIGHT:
            figure = draw_time_height(found, config)
            with atomic_path(config.out) as temporary:
                about = {"Software": "climsim", "Comment": json.dumps(made_by)}
                figure.savefig(temporary, format="png", dpi=config.dpi, metadata=about)
        else:
            frames = [_picture(f) for f in _moving(found, config, progress)]
            with atomic_path(config.out) as temporary:
                _write_gif(temporary, frames, json.dumps(made_by), config.rate)
    return config.out


def draw_time_height(found: Beside, config: ShowConfig) -> Figure:
    """Draw the bias of a band of latitude by day and level.

    Args:
        found: (time, level) of the run and of the reference.
        config: names the field, the band and the run.
    """
    written = quantity(config.field)
    bias = written.factor * (found.run - found.reference)
    figure = new_figure(5.0, 3.0)
    ax = figure.subplots()
    ax.set_facecolor(UNDEFINED_COLOUR)
    limit = _limit(bias)
    pressure = _nominal(found)
    edges = np.concatenate([[0.0], found.days])
    levels = np.arange(pressure.size + 1) - 0.5
    bounds = np.interp(levels, np.arange(pressure.size), pressure) / _HPA
    mesh = ax.pcolormesh(
        edges, bounds, bias.T, vmin=-limit, vmax=limit, cmap=DIVERGING, rasterized=True
    )
    pressure_axis(ax, pressure)
    ax.set_xlabel("day")
    south, north = config.latitudes
    band = f"{_degrees(south)} to {_degrees(north)}"
    title_panel(ax, f"{written.symbol}, {config.run.name} minus {config.reference.name}, {band}")
    colour_bar(figure, mesh, ax, written.unit)
    return figure


def _moving(found: Beside, config: ShowConfig, progress: Progress | None) -> Iterator[Figure]:
    """One figure that shows one mean after the other: reference, run, difference."""
    written = quantity(config.field)
    reference, run = (written.factor * values for values in (found.reference, found.run))
    parts = (reference, run, run - reference)
    names = (config.reference.name, config.run.name, "difference")
    figure = new_figure(7.2, 2.4)
    figure.set_dpi(config.dpi)
    axes = figure.subplots(1, 3)
    raster = nearest_columns(found.grid.lat, found.grid.lon) if config.kind == MAP else None
    shown = []
    for ax, values, name in zip(axes, parts, names, strict=True):
        scale = _Scale.of(values, signed=name == "difference")
        shown.append(_panel(ax, values[0], found, raster, scale))
        title_panel(ax, name)
    _bars(figure, axes, shown, written)
    title = figure.suptitle(f"{written.symbol}, day 0000")
    for number, day in enumerate(found.days):
        for artist, values in zip(shown, parts, strict=True):
            artist.set_array(_cells(values[number], raster))
        title.set_text(f"{written.symbol}, day {day:g}")
        yield figure
        # The layout of the first mean is that of all: it costs more than the drawing.
        figure.set_layout_engine("none")
        if progress:
            progress(number + 1, found.days.size)


def _panel(
    ax: Axes, values: Array, found: Beside, raster: Array | None, scale: _Scale
) -> ScalarMappable:
    """Draw one mean as section or map; what is returned takes the values of the next ones."""
    ax.set_facecolor(UNDEFINED_COLOUR)
    if raster is None:
        pressure = _nominal(found)
        known = ~np.isnan(values).all(axis=0)
        cells = _cells(values, None)
        mesh = ax.pcolormesh(
            BIN_CENTRES[known],
            pressure / _HPA,
            cells,
            shading="nearest",
            vmin=scale.low,
            vmax=scale.high,
            cmap=scale.colours,
        )
        pressure_axis(ax, pressure)
        latitude_axis(ax, few=True)
        return mesh
    if found.land is not None:
        coast = found.land[raster]
        ax.contour(LONGITUDES, LATITUDES, coast, [0.5], colors="#222222", linewidths=0.5)
    ax.set(xticks=(), yticks=())
    return ax.imshow(
        _cells(values, raster),
        extent=_EXTENT,
        origin="lower",
        vmin=scale.low,
        vmax=scale.high,
        cmap=scale.colours,
    )


def _cells(values: Array, raster: Array | None) -> Array:
    """Values of the cells that a panel draws; bins of latitude without columns are left out."""
    if raster is not None:
        return np.asarray(values[raster])
    return values[:, ~np.isnan(values).all(axis=0)]


def _bars(
    figure: Figure, axes: Sequence[Axes], shown: Sequence[ScalarMappable], written: Quantity
) -> None:
    """One colour bar for both runs, and one for the difference."""
    below = {"orientation": "horizontal"}
    colour_bar(figure, shown[0], axes[:2], written.unit, **below)
    colour_bar(figure, shown[2], axes[2], written.unit, **below)


@dataclass(frozen=True)
class _Scale:
    """Ends and map of the colours."""

    low: float
    high: float
    colours: str

    @classmethod
    def of(cls, values: Array, signed: bool) -> _Scale:
        if signed:
            limit = _limit(values)
            return cls(-limit, limit, DIVERGING)
        low, high = np.nanquantile(values, _SHOWN)
        return cls(float(low), float(high), SEQUENTIAL)


def _limit(values: Array) -> float:
    return float(np.nanquantile(np.abs(values), _SHOWN[1])) or 1.0


def _nominal(found: Beside) -> Array:
    """Pressure (level,) of the levels for a surface at P0 [Pa]."""
    return found.grid.midpoint_pressure(np.array([found.grid.p0]))[:, 0]


def _degrees(latitude: float) -> str:
    return "0" if latitude == 0 else f"{abs(latitude):g}{'N' if latitude > 0 else 'S'}"


def _picture(figure: Figure) -> Image.Image:
    """What a figure looks like now."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB")


def _write_gif(path: Path, frames: list[Image.Image], comment: str, rate: float) -> None:
    if not frames:
        raise ClimSimError(f"{path}: no mean to draw")
    options = {"duration": round(1000 / rate), "loop": 0, "comment": comment.encode()}
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], **options)
