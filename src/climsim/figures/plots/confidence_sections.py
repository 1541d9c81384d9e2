"""Zonal sections of the loss that confidence heads predict, beside the loss that came true."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.figure import Figure

from climsim.figures.panels import colour_bar, panel_grid, section, title_panel
from climsim.figures.registry import FigureSpec
from climsim.figures.remarks import offline_scores
from climsim.figures.style import SEQUENTIAL
from climsim.results.labels import member_label
from climsim.results.measures import Measure
from climsim.results.seeds import Group, groups_of, over_seeds
from climsim.results.selection import defined
from climsim.results.study import NothingToDrawError, Study
from climsim.variables import TARGETS

_KINDS = {"confidence_section": "predicted loss", "true_loss_section": "true loss"}
_SHOWN = (0.01, 0.99)
"""Quantiles of the values at the ends of the colours [1]."""


def variants(study: Study) -> tuple[str, ...]:
    """One figure for each tendency whose loss is predicted."""
    offline = study.offline
    if offline is None:
        return ()
    profiles = [name for name in TARGETS.names if name.startswith("ptend_")]
    return tuple(n for n in profiles if Measure("confidence_section", n).known(offline))


def draw(study: Study, variant: str) -> Figure:
    """Draw both losses as sections on one logarithmic scale: a row for each network."""
    if study.offline is None:
        raise NothingToDrawError("no offline metrics were given")
    if not variant:
        raise NothingToDrawError("no member has a confidence head")
    found = _sections(study.offline, variant)
    figure, axes = panel_grid(len(found) * len(_KINDS), len(_KINDS), 1.7, width=7.2)
    every = np.concatenate([x.values.ravel() for pair in found.values() for x in pair])
    low, high = np.quantile(every[np.isfinite(every)], _SHOWN)
    panels = [(g, i) for g in found for i in range(len(_KINDS))]
    for number, (ax, (group, i)) in enumerate(zip(axes, panels, strict=True)):
        values = found[group][i]
        mesh = section(ax, values, float(low), float(high), SEQUENTIAL, label=i == 0)
        label = list(_KINDS.values())[i]
        title_panel(ax, f"{member_label(*group)}\n{label}", number)
    colour_bar(figure, mesh, axes, "log$_{10}$ loss")
    return figure


def _sections(offline: xarray.Dataset, name: str) -> dict[Group, list[xarray.DataArray]]:
    """Logarithms of the mean over seeds of both losses, of the groups that have them."""
    found = {}
    offline = offline.isel(member=defined(offline, f"confidence_section_{name}", "member"))
    for group in groups_of(offline):
        means = [over_seeds(offline[f"{kind}_{name}"], group).mean for kind in _KINDS]
        if bool(means[0].notnull().any()):
            found[group] = [xarray.ufuncs.log10(mean.where(mean > 0)) for mean in means]
    return found


def remarks(study: Study, variant: str) -> list[str]:
    """Which split was scored."""
    return offline_scores(study)


FIGURE = FigureSpec(
    name="confidence_sections",
    order=27,
    title="Where the confidence heads expect errors",
    caption=(
        "Zonal mean, weighted by area, of the loss that a confidence head predicts, beside that of "
        "the loss that came true; mean over the seeds of each network. One logarithmic scale for "
        "all panels, in units of the training loss."
    ),
    draw=draw,
    variants=variants,
    remarks=remarks,
)
