"""Growth of the online error of every compared field."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.growth import draw_growth, growth_remarks
from climsim.figures.registry import FigureSpec
from climsim.results.quantities import COMPARED
from climsim.results.selection import recipe_variants
from climsim.results.study import Study


def draw(study: Study, variant: str) -> Figure:
    """Draw the error of every field against time, for one recipe."""
    return draw_growth(study, [(name, variant) for name in COMPARED], columns=3)


def remarks(study: Study, variant: str) -> list[str]:
    """What is drawn beside the lines of stable runs."""
    return growth_remarks(study, [(name, variant) for name in COMPARED])


FIGURE = FigureSpec(
    name="rmse_growth_all",
    order=41,
    title="Growth of the online error of every field",
    caption=(
        "Mass-weighted root mean squared difference from the reference run in state, "
        "clouds and physics tendencies, period by period (days, or months where there are at "
        "least three), for the members of one recipe."
    ),
    draw=draw,
    variants=recipe_variants,
    remarks=remarks,
    by_recipe=True,
)
