"""Growth of the online error in temperature and humidity, recipe by recipe."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.growth import Panel, draw_growth, growth_remarks
from climsim.figures.registry import FigureSpec
from climsim.results.selection import recipe_variants
from climsim.results.study import Study

_NAMES = ("T", "Q")


def draw(study: Study, variant: str) -> Figure:
    """Draw the error of T and Q against time, a row for each recipe."""
    return draw_growth(study, _panels(study), columns=2)


def _panels(study: Study) -> list[Panel]:
    return [(name, recipe) for recipe in recipe_variants(study) for name in _NAMES]


def remarks(study: Study, variant: str) -> list[str]:
    """What is drawn beside the lines of stable runs."""
    return growth_remarks(study, _panels(study))


FIGURE = FigureSpec(
    "rmse_growth",
    40,
    "Growth of the online error",
    "Mass-weighted root mean squared difference from the reference run (MMF1), period by period "
    "(days, or months where there are at least three). One line for each seed.",
    draw,
    remarks=remarks,
)
