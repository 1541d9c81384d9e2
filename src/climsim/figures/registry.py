"""The table of figures: every module of `climsim.figures.plots` that defines ``FIGURE``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from matplotlib.figure import Figure

from climsim.errors import ClimSimError
from climsim.registry import Registry
from climsim.results.labels import recipe_label
from climsim.results.quantities import QUANTITIES
from climsim.results.study import Study


def one_variant(study: Study) -> tuple[str, ...]:
    """The single, unnamed variant of a figure."""
    return ("",)


def no_remarks(study: Study, variant: str) -> list[str]:
    """A caption that is the same for every study."""
    return []


def variant_label(variant: str) -> str:
    """Name of a variant in words: a quantity, a recipe, or itself."""
    return QUANTITIES[variant].symbol if variant in QUANTITIES else recipe_label(variant)


@dataclass(frozen=True)
class FigureSpec:
    """One figure.

    Attributes:
        name: file name without ending.
        order: position in the report.
        title: heading; the name of the variant is added behind a colon.
        caption: what is measured and how to read it, in every study.
        draw: makes the figure of a study and a variant; raises `NothingToDrawError`.
        variants: which versions a study asks for (such as one for each recipe).
        remarks: sentences that the caption has for this study and variant, once it is drawn: what
            its lines and marks are, and which members are missing.
        label: name of a variant in words.
        by_recipe: whether it compares networks under one recipe, and is therefore drawn the other
            way round too.
    """

    name: str
    order: int
    title: str
    caption: str
    draw: Callable[[Study, str], Figure]
    variants: Callable[[Study], tuple[str, ...]] = one_variant
    remarks: Callable[[Study, str], list[str]] = no_remarks
    label: Callable[[str], str] = variant_label
    by_recipe: bool = False


def _of_user(name: str, spec: object) -> FigureSpec:
    """The figure that a user brings."""
    if not isinstance(spec, FigureSpec):
        raise ClimSimError(
            f"figure {name!r}: expected a climsim.figures.registry.FigureSpec, found "
            f"{type(spec).__name__}: name the FigureSpec"
        )
    return spec


def _of_module(module: ModuleType) -> tuple[str, FigureSpec]:
    """The figure that a module of this package defines as ``FIGURE``."""
    spec: FigureSpec = module.FIGURE
    return spec.name, spec


FIGURE_SPECS: Registry[FigureSpec] = Registry(
    "figure",
    package="climsim.figures.plots",
    entry_points="climsim.figures",
    adapt=_of_user,
    entry_of=_of_module,
)
"""Every figure, by the name that users type."""


def figure_table(only: Sequence[str] = ()) -> dict[str, FigureSpec]:
    """Figures by name, in the order of the report.

    Args:
        only: names, or references ``path/to/file.py:FIGURE``; empty for all.

    Raises:
        ClimSimError: if one of them is unknown, or two figures have one name.
    """
    chosen = [FIGURE_SPECS.find(name) for name in only] or FIGURE_SPECS.everything().values()
    return {spec.name: spec for spec in sorted(chosen, key=lambda spec: spec.order)}
