"""Growth of the online error of every compared field."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.evaluation.online_run import PROFILES
from climsim.figures.growth import draw_growth
from climsim.figures.members import recipe_variants
from climsim.figures.registry import FigureSpec
from climsim.figures.study import Study


def draw(study: Study, variant: str) -> Figure:
    """Draw the error of every field against time, for one recipe."""
    return draw_growth(study, [(name, variant) for name in PROFILES], columns=3)


FIGURE = FigureSpec(
    "rmse_growth_all",
    41,
    "Growth of the online error of every field: {variant}",
    "As the figure before, for state, clouds and physics tendencies, and one recipe.",
    draw,
    recipe_variants,
)
