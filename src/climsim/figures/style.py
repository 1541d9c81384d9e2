"""How every figure looks: colours, markers, names, sizes. The only place that decides it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import matplotlib
from matplotlib.typing import LineStyleType

from climsim.results.labels import RECIPE_LABELS, network_label

FULL_PHYSICS_COLOUR: Final = "#000000"
DOUBLE_WIDTH: Final = 7.2
"""Width of two columns of a journal [inch]."""
DIVERGING: Final = "RdBu_r"
SEQUENTIAL: Final = "viridis"
RAIN: Final = "YlGnBu"
EXTERNAL_COLOUR: Final = "#888888"
"""Of models and runs of other studies."""
UNDEFINED_COLOUR: Final = "#d9d9d9"
"""Where a score is not defined or there are no data."""


@dataclass(frozen=True)
class LineStyle:
    """Colour, and the second cue for those who cannot tell the colours apart.

    Attributes:
        label: name in words.
        colour: of the line.
        marker: of single points along it.
    """

    label: str
    colour: str
    marker: str


NETWORK_STYLES: Final[dict[str, LineStyle]] = {
    "unet": LineStyle(network_label("unet"), "#2ca02c", "o"),
    "squeezeformer": LineStyle(network_label("squeezeformer"), "#8e44ad", "s"),
    "pure_resLSTM": LineStyle(network_label("pure_resLSTM"), "#1f5fd0", "^"),
    "pao_model": LineStyle(network_label("pao_model"), "#d62728", "D"),
    "convnext": LineStyle(network_label("convnext"), "#d4a017", "v"),
    "encdec_lstm": LineStyle(network_label("encdec_lstm"), "#ff7f0e", "P"),
}
FULL_PHYSICS_STYLE: Final = LineStyle("full physics", FULL_PHYSICS_COLOUR, "")
RECIPE_MARKERS: Final = {
    "standard": "o",
    "conf_loss": "*",
    "diff_loss": "^",
    "multirep": "v",
    "v6": "D",
}
"""Points of a figure whose colours are networks."""
_RECIPE_COLOURS: Final = {
    "standard": "#444444",
    "conf_loss": "#1b9e77",
    "diff_loss": "#d95f02",
    "multirep": "#7570b3",
    "v6": "#e7298a",
}
"""Lines of a figure that compares recipes."""
RECIPE_DASHES: Final[dict[str, LineStyleType]] = {
    "standard": "-",
    "conf_loss": "--",
    "diff_loss": "-.",
    "multirep": ":",
    "v6": (0, (6, 1.5, 1, 1.5, 1, 1.5)),
}
OTHER_DASHES: Final = (0, (2.5, 1.0))
"""Line of a recipe that is not in the table, or of models without one."""
FLOOR_DASHES: Final = (0, (4, 1.5))
"""Line of the second run with full physics."""
_ITERATION_COLOURS: Final = ("#9e9e9e", "#d95f02", "#1f5fd0", "#1b9e77", "#e7298a")
_ITERATION_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
"""Of lines that compare iterations; the colours come again before the markers do."""
_SPARE = ("#17becf", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22")
_SPARE_MARKERS = ("X", "<", ">", "p", "h")


class LineLook(TypedDict, total=False):
    """How a line looks, by the keywords of `matplotlib.axes.Axes.plot`."""

    color: str
    linewidth: float
    linestyle: LineStyleType
    marker: str | None
    markevery: tuple[int, int]
    markersize: float


def network_style(name: str) -> LineStyle:
    """Style of a network, or of a recipe where figures compare these.

    A name that is not in the tables gets a spare colour by its letters.
    """
    if name in NETWORK_STYLES:
        return NETWORK_STYLES[name]
    if name in _RECIPE_COLOURS:
        return LineStyle(RECIPE_LABELS[name], _RECIPE_COLOURS[name], RECIPE_MARKERS[name])
    spare = sum(name.encode()) % len(_SPARE)
    return LineStyle(name, _SPARE[spare], _SPARE_MARKERS[spare])


def iteration_style(number: int) -> LineStyle:
    """Style of an iteration of training on visited states, where figures compare these."""
    colour = _ITERATION_COLOURS[number % len(_ITERATION_COLOURS)]
    marker = _ITERATION_MARKERS[number % len(_ITERATION_MARKERS)]
    return LineStyle(f"iteration {number}", colour, marker)


def literal(text: str) -> str:
    """A text of a file as matplotlib shows it: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw with the project's settings; the caller's settings come back afterwards."""
    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 8.0,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8.0,
        "xtick.labelsize": 7.0,
        "ytick.labelsize": 7.0,
        "legend.fontsize": 7.0,
        "legend.frameon": False,
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "grid.color": "#e2e2e2",
        "grid.linewidth": 0.5,
        "figure.dpi": 100,
        "pdf.fonttype": 42,
        "svg.hashsalt": "climsim",
    }
    with matplotlib.rc_context(settings):
        yield
