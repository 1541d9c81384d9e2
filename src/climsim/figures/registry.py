"""The table of figures: every module of `climsim.figures.plots` that defines ``FIGURE``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from climsim.errors import ClimSimError, unknown_name
from climsim.results.study import Study


def one_variant(study: Study) -> tuple[str, ...]:
    """The single, unnamed variant of a figure."""
    return ("",)


def no_remarks(study: Study, variant: str) -> list[str]:
    """A caption that is the same for every study."""
    return []


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
    """

    name: str
    order: int
    title: str
    caption: str
    draw: Callable[[Study, str], Figure]
    variants: Callable[[Study], tuple[str, ...]] = one_variant
    remarks: Callable[[Study, str], list[str]] = no_remarks


def figure_table() -> dict[str, FigureSpec]:
    """Every figure by name, in the order of the report.

    Raises:
        ClimSimError: if two modules define a figure of the same name.
    """
    from climsim.figures import plots

    found: dict[str, FigureSpec] = {}
    for info in pkgutil.iter_modules(plots.__path__):
        spec: FigureSpec = importlib.import_module(f"{plots.__name__}.{info.name}").FIGURE
        if spec.name in found:
            raise ClimSimError(f"figure {spec.name!r} is defined twice: rename one of them")
        found[spec.name] = spec
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def find_figure(name: str) -> FigureSpec:
    """One figure by name.

    Raises:
        ClimSimError: if there is no such figure.
    """
    table = figure_table()
    if name not in table:
        raise unknown_name("figure", name, table)
    return table[name]
