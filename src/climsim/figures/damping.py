"""The file, the figure and the table of how models answer to noise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import xarray
from matplotlib.figure import Figure

from climsim.evaluation.saved import open_metrics
from climsim.figures.panels import panel_grid, pressure_axis, title_panel
from climsim.figures.style import literal, styled
from climsim.files import atomic_path, file_hash, provenance
from climsim.grid import ColumnGrid
from climsim.hosts.base import SteppedHost
from climsim.netcdf import write_netcdf
from climsim.online.damping import PERTURBED, PHYSICS, Damping, DampingConfig, measure_damping
from climsim.products import Kind, attributes_of, claim, mentions
from climsim.stage import Progress
from climsim.validation import require

QUANTITY_NAMES: Final = {"t": "temperature", "q": "humidity", "wind": "winds"}
DAMPING = Kind(
    "a file of damping rates",
    lambda path: {"damping_of", "git_revision"} <= attributes_of(path).keys(),
)
_FIGURE = Kind("a figure of damping rates", lambda path: mentions(path, b"climsim_version"))


def evaluate_damping(
    config: DampingConfig, progress: Progress | None = None, host: SteppedHost | None = None
) -> Path:
    """Measure how models answer to noise, and save the rates and their figure.

    Args:
        config: models, states and noise.
        progress: called with (rows done, rows in all).
        host: one built before; None builds it.

    Returns:
        Path of the rates; the figure has the same name with the ending ``.png``.

    Raises:
        ClimSimError: if a model or a start does not fit the host.
    """
    files = {f"models[{i}]": path for i, path in enumerate(config.models)}
    files |= {f"starts[{i}]": path for i, path in enumerate(config.starts)}
    picture = config.out.with_suffix(".png")
    require(
        "out", str(config.out), picture != config.out, "another ending", "the figure takes .png"
    )
    claim(config.out, DAMPING, files)
    if not config.out.exists():
        # Beside rates of an earlier call lies their figure, in former ones without a note.
        claim(picture, _FIGURE, files)
    rows, grid = measure_damping(config, progress, host)
    dataset = damping_dataset(rows, grid)
    settings = {
        "temperature": config.temperature,
        "humidity": config.humidity,
        "wind": config.wind,
        "seed": config.seed,
        "draws": config.draws,
    }
    hashes = {str(path): file_hash(path) for path in files.values()}
    made_by = provenance(settings, hashes)
    dataset.attrs |= {**made_by, "lowest_levels": config.lowest}
    write_netcdf(dataset, config.out, checked=True)
    with styled():
        figure = draw_damping(dataset)
        about = {"Software": "climsim", "Comment": json.dumps(made_by)}
        with atomic_path(picture) as temporary:
            figure.savefig(temporary, format="png", dpi=200, metadata=about)
    return config.out


def damping_dataset(rows: Mapping[str, Damping], grid: ColumnGrid) -> xarray.Dataset:
    """The rates of all rows, labelled.

    Args:
        rows: by name of the model, full physics among them.
        grid: the host's columns.

    Returns:
        Dataset on ``model`` and ``level``.
    """
    pressure = grid.midpoint_pressure(np.array([grid.p0]))[:, 0]
    missing = np.full(grid.n_levels, np.nan)
    arrays: dict[str, tuple[object, ...]] = {}
    for group, word in QUANTITY_NAMES.items():
        rates = np.stack([row.rates[group] for row in rows.values()])
        about = {"units": "day-1", "long_name": f"rate at which noise on {word} decays"}
        arrays[f"damping_{group}"] = (("model", "level"), rates, about)
        smoothing = [row.smoothing[group] for row in rows.values()]
        meaning = f"rate at which differences between layers decay, {word}"
        about = {"units": "day-1", "long_name": meaning}
        arrays[f"smoothing_{group}"] = ("model", smoothing, about)
    for name in ("t", "u"):
        shares = np.stack([row.returned.get(name, missing) for row in rows.values()])
        meaning = f"share of noise on the remembered tendency of {name} that comes back"
        about = {"units": "1", "long_name": meaning}
        arrays[f"returned_{name}"] = (("model", "level"), shares, about)
    coordinates = {
        "model": list(rows),
        "level": ("level", np.arange(grid.n_levels), {"long_name": "level, 0 at the model top"}),
        "pressure": ("level", pressure, {"units": "Pa"}),
    }
    return xarray.Dataset(arrays, coordinates, {"damping_of": "noise that is white in level"})


def draw_damping(dataset: xarray.Dataset) -> Figure:
    """Draw the rates of every model against pressure, a panel for each kind of noise.

    Args:
        dataset: made by `damping_dataset`.
    """
    figure, axes = panel_grid(len(PERTURBED), columns=3, height=3.2, sharey=True)
    pressure = dataset["pressure"].values
    for number, (ax, group) in enumerate(zip(axes, PERTURBED, strict=True)):
        for name in dataset["model"].values:
            plain = name == PHYSICS
            ax.plot(
                dataset[f"damping_{group}"].sel(model=name).values,
                pressure / 100.0,
                color="black" if plain else None,
                linestyle="--" if plain else "-",
                linewidth=1.0,
                label=literal(str(name)),
            )
        ax.set_xscale("symlog", linthresh=1.0)
        ax.set_xlabel("rate [1/day]")
        pressure_axis(ax, pressure, label=number == 0)
        title_panel(ax, f"Noise on {QUANTITY_NAMES[group]}", number)
    axes[-1].legend(loc="best")
    return figure


def damping_lines(path: Path) -> list[str]:
    """The table for the terminal: rates at which differences between layers decay.

    Args:
        path: of the rates.
    """
    with open_metrics(path) as dataset:
        lowest = dataset.attrs["lowest_levels"]
        lines = [f"differences between layers decay in the lowest {lowest} levels [1/day]:"]
        lines.append(f"{'':32} {'T':>9} {'q':>9} {'winds':>9}")
        for name in dataset["model"].values:
            row = dataset.sel(model=name)
            rates = [float(row[f"smoothing_{group}"]) for group in PERTURBED]
            line = f"{name!s:32} " + " ".join(f"{rate:9.3f}" for rate in rates)
            returned = {n: row[f"returned_{n}"].values for n in ("t", "u")}
            if np.isfinite(returned["t"]).any():
                variable = max(returned, key=lambda n: np.nanmax(returned[n]))
                level = int(np.nanargmax(returned[variable]))
                share = returned[variable][level]
                line += f"; gives back {share:.2f} of {variable}, level {level}"
            lines.append(line)
    return lines
