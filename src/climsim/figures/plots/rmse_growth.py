"""Growth of the online error in temperature and humidity, recipe by recipe."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.growth import draw_growth
from climsim.figures.members import recipe_variants
from climsim.figures.registry import FigureSpec
from climsim.figures.study import Study

_NAMES = ("T", "Q")


def draw(study: Study, variant: str) -> Figure:
    """Draw the error of T and Q against time, a row for each recipe."""
    panels = [(name, recipe) for recipe in recipe_variants(study) for name in _NAMES]
    return draw_growth(study, panels, columns=2)


FIGURE = FigureSpec(
    "rmse_growth",
    40,
    "Growth of the online error",
    "Mass-weighted root mean squared difference from the reference run (MMF1), period by period "
    "(days, or months where there are at least three). One line for each seed; a cross marks "
    "the last whole period of a run that became unstable. The black dashed line is a second run "
    "with the full physics from a perturbed start (MMF2): its distance from MMF1 is internal "
    "variability, below which no difference means anything.",
    draw,
)
