"""The views of the interactive page: which measures each offers, and how it draws them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bokeh.models import LayoutDOM

from climsim.explore import plots, selection
from climsim.explore.selection import Selection, names_with
from climsim.results.measures import score_label
from climsim.results.quantities import plain
from climsim.results.study import NothingToDrawError, Study
from climsim.results.time_axis import time_axis


@dataclass(frozen=True)
class View:
    """One way to look at the metrics.

    Attributes:
        name: as the user sees it.
        measures: names of its measures in the metrics.
        draw: makes the plots of a selection.
        leveled: whether the level that the user picks shows.
    """

    name: str
    measures: tuple[str, ...]
    draw: Callable[[Study, Selection], LayoutDOM]
    leveled: bool = False

    def offered(self, study: Study) -> dict[str, str]:
        """Measures that the study has, with their titles."""
        return {m: plain(score_label(m)) for m in self.measures if names_with(study, m)}


def views(study: Study) -> dict[str, View]:
    """Views for which the study has metrics, by name, in the order of the page."""
    every = (
        View("Offline profiles", ("r2", "r2_climsim", "rmse", "bias"), _profiles),
        View("Offline sections", ("r2_section", "bias_section"), _sections, True),
        _growth_view(study),
        View("Online profiles", ("rmse_profile",), _profiles),
        View("Online sections", ("zonal_bias",), _sections, True),
        View("Maps", ("map",), _maps),
    )
    return {view.name: view for view in every if view is not None and view.offered(study)}


def _growth_view(study: Study) -> View | None:
    try:
        axis = time_axis(study)
    except NothingToDrawError:
        return None

    def draw(study: Study, picked: Selection) -> LayoutDOM:
        lines = selection.growth_lines(study, picked, axis)
        return plots.time_plot(lines, picked, axis.name)

    return View("RMSE growth", (f"growth_{axis.word}",), draw)


def _profiles(study: Study, picked: Selection) -> LayoutDOM:
    lines = selection.profile_lines(study, picked) + selection.floor_profile(study, picked)
    return plots.profile_plot(lines, picked)


def _sections(study: Study, picked: Selection) -> LayoutDOM:
    values = selection.axis_of(study, picked.measure, picked.name)
    assert values is not None
    pressure = values["pressure"].values
    found = selection.sections(study, picked)
    cut = plots.cut_plot(selection.cuts(study, picked), picked, pressure[picked.level])
    return plots.section_grid(found, cut, picked, pressure)


def _maps(study: Study, picked: Selection) -> LayoutDOM:
    reference = study.reference()
    assert reference is not None
    land = reference["map_LANDFRAC"].values if "map_LANDFRAC" in reference else None
    columns = (reference["lat"].values, reference["lon"].values)
    return plots.map_grid(selection.maps(study, picked), picked, columns, land)
