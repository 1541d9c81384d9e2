"""Zonal mean and density of precipitation by surface type, for one recipe."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.figures.growth import legend_handles
from climsim.figures.panels import (
    full_physics_runs,
    latitude_axis,
    legend_below,
    panel_grid,
    seed_bands,
    title_panel,
)
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import not_shown, runs_with_full_physics
from climsim.figures.style import literal
from climsim.results.quantities import quantity
from climsim.results.selection import (
    defined,
    of_recipe,
    online_members,
    online_reference,
    recipe_variants,
)
from climsim.results.study import NothingToDrawError, Study

_ZONAL, _DENSITY = "zonal_precipitation_by_surface", "precipitation_density"


def draw(study: Study, variant: str) -> Figure:
    """Draw for each surface type the zonal mean of precipitation beside its density."""
    reference = online_reference(study)
    members = of_recipe(online_members(study), variant)
    if _ZONAL not in reference or not defined(members, _ZONAL).any():
        raise NothingToDrawError("no member has a time mean of precipitation")
    held = reference[_ZONAL].notnull().any("latitude").values
    surfaces = [str(s) for s in reference["surface"].values[held]]
    figure, axes = panel_grid(2 * len(surfaces), 4, 1.9, width=7.2)
    for i, surface in enumerate(surfaces):
        zonal, density = axes[2 * i], axes[2 * i + 1]
        title_panel(zonal, f"{literal(surface)}, mean", 2 * i)
        _lines(zonal, study, members, _ZONAL, surface)
        latitude_axis(zonal, few=True)
        zonal.set_ylim(bottom=0)
        zonal.set_ylabel("mm day$^{-1}$" if i % 2 == 0 else "")
        title_panel(density, f"{literal(surface)}, density", 2 * i + 1)
        _lines(density, study, members, _DENSITY, surface)
        density.set_yscale("log")
        density.set_xlabel("mm day$^{-1}$")
    for ax in axes:
        ax.grid(visible=True)
    legend_below(figure, legend_handles(study, members, reference=True))
    return figure


def _lines(ax: Axes, study: Study, members: xarray.Dataset, name: str, surface: str) -> None:
    """Draw a measure of one surface type: seeds as band, full physics in black."""
    if name not in members:
        return
    x, values = _points(members, name, surface)
    seed_bands(ax, x, values)
    for run, look in full_physics_runs(study):
        if name in run:
            x, line = _points(run, name, surface)
            ax.plot(x, line, linewidth=1.3, **look)


def _points(data: xarray.Dataset, name: str, surface: str) -> tuple[np.ndarray, xarray.DataArray]:
    """Latitude or precipitation, and the values there; a density of 0 has no logarithm."""
    values = data[name].sel(surface=surface)
    if name == _DENSITY:
        return values["rain_step"].values, values.where(values > 0)
    known = values.dropna("latitude", how="all")
    return known["latitude"].values, quantity("PRECT").shown(known)


def remarks(study: Study, variant: str) -> list[str]:
    """What the black lines are, what the samples are, and which members are missing."""
    members = of_recipe(online_members(study), variant)
    assert study.online is not None
    samples = study.online.attrs.get("precipitation_samples")
    found = [] if samples is None else [f"Densities are of {samples}."]
    missing = not_shown(study, members, defined(members, _ZONAL))
    return [*found, *runs_with_full_physics(study), *missing]


FIGURE = FigureSpec(
    name="precipitation_surfaces",
    order=53,
    title="Precipitation by surface type",
    caption=(
        "Zonal mean of precipitation, and its density in bins of 4 mm/day from -2 to 178, over "
        "all surfaces, land, open ocean and sea ice: columns count by their area times the "
        "fraction of the surface, month by month in zonal means and by its time mean in "
        "densities. Shading: range over seeds; lines: the seed nearest to their median."
    ),
    draw=draw,
    variants=recipe_variants,
    remarks=remarks,
    by_recipe=True,
)
