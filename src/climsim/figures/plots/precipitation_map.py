"""Maps of precipitation: the reference and the best member's difference."""

from __future__ import annotations

import cartopy.crs as ccrs
import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climsim.figures.globe import LATITUDES, LONGITUDES, nearest_columns
from climsim.figures.panels import colour_bar, panel_grid, symmetric_limit, title_panel
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import all_unstable
from climsim.figures.style import DIVERGING, RAIN
from climsim.results.labels import full_physics_name, label_of
from climsim.results.quantities import quantity
from climsim.results.selection import best_members, online_reference
from climsim.results.study import NothingToDrawError, Study

_COUNT = 3


def draw(study: Study, variant: str) -> Figure:
    """Draw the reference's precipitation and the differences of the best members."""
    reference = online_reference(study)
    if "map_PRECT" not in reference:
        raise NothingToDrawError("the history files hold no precipitation")
    members = best_members(study, "PRECT", _COUNT)
    written = quantity("PRECT")
    truth = written.shown(reference["map_PRECT"])
    projection = ccrs.EqualEarth()
    count = members.sizes["run"] + 1
    figure, axes = panel_grid(count, 2, 2.0, width=7.2, subplot_kw={"projection": projection})
    top = float(np.nanquantile(truth, 0.98)) or 1.0
    _map(
        figure=figure,
        ax=axes[0],
        values=truth,
        limits=(0.0, top),
        colours=RAIN,
        reference=reference,
    )
    name = full_physics_name(reference)
    title_panel(axes[0], name, 0)
    difference = written.shown(members["map_PRECT"]) - truth
    limit = symmetric_limit(difference, 0.98)
    for i, ax in enumerate(axes[1:]):
        _map(
            figure=figure,
            ax=ax,
            values=difference.isel(run=i),
            limits=(-limit, limit),
            colours=DIVERGING,
            reference=reference,
        )
        title_panel(ax, f"{label_of(members.isel(run=i), seed=True)} minus {name}", i + 1)
    return figure


def _map(
    figure: Figure,
    ax: Axes,
    values: xarray.DataArray,
    limits: tuple[float, float],
    colours: str,
    reference: xarray.Dataset,
) -> None:
    """Draw each column as the part of the globe that is nearest to it, with coasts."""
    raster = nearest_columns(values["lat"].values, values["lon"].values)
    mesh = ax.pcolormesh(
        LONGITUDES,
        LATITUDES,
        values.values[raster],
        vmin=limits[0],
        vmax=limits[1],
        cmap=colours,
        shading="nearest",
        transform=ccrs.PlateCarree(),
        rasterized=True,
    )
    if "map_LANDFRAC" in reference:
        ax.contour(
            LONGITUDES,
            LATITUDES,
            reference["map_LANDFRAC"].values[raster],
            [0.5],
            colors="#222222",
            linewidths=0.6,
            transform=ccrs.PlateCarree(),
        )
    ax.set_global()  # type: ignore[attr-defined]
    options = {
        "orientation": "horizontal",
        "extend": "max" if limits[0] == 0 else "both",
        "shrink": 0.7,
        "aspect": 30,
    }
    colour_bar(figure, mesh, ax, quantity("PRECT").unit, **options)


FIGURE = FigureSpec(
    "precipitation_map",
    53,
    "Maps of precipitation",
    "Time-mean precipitation of the reference, and the difference from it of the best members "
    "(smallest RMSE of the map among those that ran longest and stayed stable). Coasts are drawn "
    "where the model's own land fraction is one half.",
    draw,
    remarks=lambda study, variant: all_unstable(study),
)
