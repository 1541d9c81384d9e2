"""Growth of the online error of pairs of fields, recipe by recipe."""

from __future__ import annotations

from matplotlib.figure import Figure

from climsim.figures.growth import Panel, draw_growth, growth_remarks
from climsim.figures.registry import FigureSpec
from climsim.results.quantities import FIELD_PAIRS
from climsim.results.selection import recipe_variants
from climsim.results.study import NothingToDrawError, Study
from climsim.results.time_axis import time_axis


def variants(study: Study) -> tuple[str, ...]:
    """Pairs of fields that the runs hold."""
    members = study.members()
    if members is None:
        return ()
    try:
        axis = time_axis(study)
    except NothingToDrawError:
        return ()
    return tuple(
        pair
        for pair, names in FIELD_PAIRS.items()
        if any(axis.growth(name).known(members) for name in names)
    )


def draw(study: Study, variant: str) -> Figure:
    """Draw the error of a pair of fields against time, a row for each recipe."""
    panels = _panels(study, variant)
    return draw_growth(study, panels, columns=len(FIELD_PAIRS[variant or "state"]))


def _panels(study: Study, variant: str) -> list[Panel]:
    names = FIELD_PAIRS[variant or "state"]
    return [(name, recipe) for recipe in recipe_variants(study) for name in names]


def remarks(study: Study, variant: str) -> list[str]:
    """What is drawn beside the lines of stable runs."""
    return growth_remarks(study, _panels(study, variant))


FIGURE = FigureSpec(
    name="rmse_growth",
    order=40,
    title="Growth of the online error",
    caption=(
        "Mass-weighted root mean squared difference from the reference run, period by "
        "period (days, or months where there are at least three)."
    ),
    draw=draw,
    variants=variants,
    remarks=remarks,
    by_recipe=True,
)
