"""Pictures of a store: level profiles with deciles, maps of scalars, beside a table of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.data.statistics.description import (
    ReferenceDeciles,
    VariableSummary,
    read_reference,
    spread,
    summarize_variable,
    summary_table,
)
from climsim.data.statistics.statistics import Statistics
from climsim.data.store.opened import Store, open_store
from climsim.errors import ClimSimError
from climsim.figures.config import DescribeConfig
from climsim.figures.globe import GLOBE, nearest_columns
from climsim.figures.moist import draw_clouds, draw_water, look_at_moisture
from climsim.files import atomic_path, provenance, write_json, write_text
from climsim.products import Kind, claim, noted
from climsim.stage import Progress
from climsim.variables import variable

_PANELS = 4
_NOTE, _TABLE, _PROFILES, _MAPS = "index.json", "table.txt", "profiles.png", "maps.png"
_CLOUDS, _WATER = "clouds.png", "water.png"
DESCRIPTION = Kind(
    "the folder of a description",
    lambda path: noted(path / _NOTE, "description"),
    is_folder=True,
    owns={_NOTE, _TABLE, _PROFILES, _MAPS, _CLOUDS, _WATER}.__contains__,
)
_SHOWN_PRESSURES = (1, 10, 50, 100, 200, 500, 700, 850, 950)


@dataclass(frozen=True)
class Description:
    """What was found, and where the plots are.

    Attributes:
        text: table of all variables.
        folder: folder with the table and the plots.
    """

    text: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.text}\n{self.folder}"


def describe_store(config: DescribeConfig, progress: Progress | None = None) -> Description:
    """Summarize a store in a table and two figures.

    Args:
        config: what to look at.
        progress: called with the variables done and their total.

    Raises:
        ClimSimError: if the store or the reference cannot be read or the split is empty.
    """
    claim(config.out, DESCRIPTION, {"store": config.store})
    store = open_store(config.store)
    reference = read_reference(config.reference) if config.reference else {}
    statistics = _open_statistics(config, store) if config.statistics else None
    summaries = []
    for done, name in enumerate(store.names, start=1):
        summaries.append(summarize_variable(store, name, config.split, config.steps, statistics))
        if progress is not None:
            progress(done, len(store.names))
    table = _text(store, config, summaries)
    out = Path(config.out)
    settings = {key: value for key, value in asdict(config).items() if key != "out"}
    made_by = provenance(settings, {"store": store.fingerprint})
    pictures = {
        _PROFILES: draw_profiles(store, summaries, reference),
        _MAPS: draw_maps(store, summaries),
    }
    moisture = look_at_moisture(store, spread(store.steps(config.split), config.steps))
    if moisture is not None:
        pictures |= {_CLOUDS: draw_clouds(moisture), _WATER: draw_water(store, moisture)}
    write_json(out / _NOTE, {"description": [_TABLE, *pictures], **made_by})
    write_text(out / _TABLE, table + "\n")
    for name, figure in pictures.items():
        with atomic_path(out / name) as temporary:
            figure.savefig(temporary, dpi=110, format="png")
    return Description(table, out)


def _open_statistics(config: DescribeConfig, store: Store) -> Statistics:
    statistics = Statistics.open(config.statistics)
    statistics.check_store(store)
    if statistics.split != config.split:
        raise ClimSimError(
            f"statistics={config.statistics}: they are of split {statistics.split}, expected "
            f"{config.split}: set split={statistics.split}"
        )
    if not statistics["state_ps"].quantiles.size:
        raise ClimSimError(f"statistics={config.statistics}: no quantiles: compute them again")
    return statistics


def _text(store: Store, config: DescribeConfig, summaries: Sequence[VariableSummary]) -> str:
    parts = ", ".join(f"{n} {store.steps(n).size}" for n in ("train", "validation", "test"))
    shown = "every step" if config.statistics else f"up to {config.steps} steps"
    above = [
        f"{store.path}: {store.n_steps} steps ({parts}), {store.n_columns} columns, "
        f"{store.n_levels} levels, {store.block_steps} steps a block",
        f"{config.split}, {shown}:",
    ]
    return "\n".join(above + summary_table(summaries))


def draw_profiles(
    store: Store, summaries: Sequence[VariableSummary], reference: dict[str, ReferenceDeciles]
) -> Figure:
    """Draw median and deciles of every profile by level, beside a reference where given.

    Args:
        store: for the pressure of the levels.
        summaries: what to draw; scalars are passed over.
        reference: by variable; those with another number of levels are passed over.
    """
    pressure = (store.grid.hyam + store.grid.hybm) * store.grid.p0 / 100
    level = np.arange(pressure.size)
    # Evenly spaced levels give the troposphere room; the labels say where they lie.
    shown = [p for p in _SHOWN_PRESSURES if pressure[0] <= p <= pressure[-1]]
    ticks = np.interp(np.log(shown), np.log(pressure), level)
    profiles = [s for s in summaries if variable(s.name).profile]
    figure, axes = _panels(len(profiles), 2.6, 2.9)
    for axis, summary in zip(axes, profiles, strict=False):
        low, median, high = summary.deciles
        axis.fill_betweenx(level, low, high, alpha=0.3, lw=0)
        axis.plot(median, level, lw=1.2)
        other = reference.get(summary.name)
        if other is not None and other.median.size == pressure.size:
            axis.plot(other.median, level, "k", lw=0.9)
            for decile in (other.low, other.high):
                axis.plot(decile, level, "k:", lw=0.8)
        axis.set_yticks(ticks, [f"{p:g}" for p in shown])
        axis.invert_yaxis()
        axis.set_title(f"{summary.name} [{variable(summary.name).unit}]", fontsize=7)
        axis.tick_params(labelsize=6)
        axis.ticklabel_format(axis="x", style="sci", scilimits=(-2, 4))
        axis.xaxis.get_offset_text().set_fontsize(6)
    note = "; black: reference" if reference else ""
    figure.suptitle(
        f"Median and 10-90 % by level, labelled by pressure [hPa]{note}",
        fontsize=9,
        y=1 - 0.15 / figure.get_figheight(),
    )
    return figure


def draw_maps(store: Store, summaries: Sequence[VariableSummary]) -> Figure:
    """Draw the time mean of every scalar, each column as the part of the globe nearest to it.

    Args:
        store: for the positions of the columns.
        summaries: what to draw; profiles are passed over.
    """
    scalars = [s for s in summaries if not variable(s.name).profile]
    figure, axes = _panels(len(scalars), 3.2, 2.0)
    raster = nearest_columns(store.grid.lat, store.grid.lon)
    for axis, summary in zip(axes, scalars, strict=False):
        globe = axis.imshow(
            summary.column_mean[raster],
            extent=GLOBE,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
        )
        bar = figure.colorbar(globe, ax=axis)
        bar.ax.tick_params(labelsize=5)
        bar.ax.yaxis.get_offset_text().set_fontsize(5)
        axis.set(xticks=(), yticks=())
        axis.set_title(f"{summary.name} [{variable(summary.name).unit}]", fontsize=7)
    figure.suptitle("Time mean by column", fontsize=9, y=1 - 0.15 / figure.get_figheight())
    return figure


def _panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    # A figure of its own, not of pyplot: no state, no display.
    rows = math.ceil(count / _PANELS)
    figure = Figure(figsize=(width * _PANELS, height * rows + 0.4), dpi=110)
    top = 1 - 0.6 / figure.get_figheight()
    figure.subplots_adjust(0.05, 0.02, 0.98, top, wspace=0.3, hspace=0.45)
    axes = list(figure.subplots(rows, _PANELS, squeeze=False).flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]
