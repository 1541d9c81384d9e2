"""Drawing every figure that the saved metrics allow, as PNG and PDF, with an index."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from climsim.errors import ClimSimError
from climsim.figures.registry import FigureSpec, figure_table, one_variant
from climsim.figures.style import styled
from climsim.files import atomic_path, file_hash, provenance, write_json
from climsim.products import Kind, claim, noted
from climsim.results.labels import recipe_label
from climsim.results.quantities import QUANTITIES
from climsim.results.study import NothingToDrawError, Study
from climsim.stepping import Progress
from climsim.validation import Checks, require

logger = logging.getLogger(__name__)

INDEX_NAME = "index.json"
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "climsim"},
    # Without dates, so that equal metrics give equal files.
    "pdf": {"Creator": "climsim", "CreationDate": None},
    "svg": {"Creator": "climsim", "Date": None},
}
_FORMATS = ("png", "pdf")


def _kind_of(figures: Collection[str]) -> Kind:
    """A folder of these figures, by name."""

    def owns(name: str) -> bool:
        stem, _, ending = name.rpartition(".")
        is_figure = ending in _FORMATS and stem.partition("-")[0] in figures
        return name == INDEX_NAME or is_figure

    return Kind(
        "a folder of figures",
        lambda path: noted(path / INDEX_NAME, "figures"),
        is_folder=True,
        owns=owns,
    )


@dataclass(frozen=True)
class FiguresConfig:
    """Which metrics are drawn, and where to.

    Attributes:
        out: folder of the figures.
        offline: files of offline metrics, one for each member.
        online: file of online metrics.
        only: names of the figures to draw, or ``path/to/file.py:FIGURE``; empty for all.
        formats: ``png``, ``pdf`` or both.
        dpi: resolution of the PNG files [pixels per inch]; a page of text is about 7 inches wide.
    """

    out: Path
    offline: tuple[Path, ...] = ()
    online: Path | None = None
    only: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("png", "pdf")
    dpi: int = 200

    def __post_init__(self) -> None:
        if not self.offline and self.online is None:
            raise ClimSimError("offline, online: expected at least one file of metrics")
        holds = bool(self.formats) and set(self.formats) <= set(METADATA)
        require("formats", list(self.formats), holds, "png, pdf or both")
        Checks(self).whole("dpi", least=1)
        figure_table(self.only)


def draw_figures(config: FiguresConfig, progress: Progress | None = None) -> Path:
    """Draw the figures and write ``index.json``, which names them in order with their captions.

    Args:
        config: metrics and folder.
        progress: called with (figures done, figures in all).

    Returns:
        The folder.

    Raises:
        ClimSimError: if a file of metrics is missing or is something else.
    """
    inputs = (*config.offline, *([config.online] if config.online else []))
    figures = figure_table(config.only)
    claim(config.out, _kind_of({*figures, *figure_table()}), {str(path): path for path in inputs})
    study = Study.open(config.offline, config.online)
    settings = {key: value for key, value in asdict(config).items() if key != "out"}
    made_by = provenance(settings, {str(path): file_hash(path) for path in inputs})
    index: list[dict[str, Any]] = []
    # Before the first figure: the folder says what it is from the beginning.
    write_json(config.out / INDEX_NAME, {"figures": index, **made_by})
    for done, spec in enumerate(figures.values(), start=1):
        index += [_draw_one(spec, variant, study, config) for variant in _variants(spec, study)]
        if progress:
            progress(done, len(figures))
    write_json(config.out / INDEX_NAME, {"figures": index, **made_by})
    return config.out


def _variants(spec: FigureSpec, study: Study) -> tuple[str, ...]:
    """Variants of a figure; one of them even where the study asks for none, to say why."""
    return spec.variants(study) or ("",)


def _draw_one(
    spec: FigureSpec, variant: str, study: Study, config: FiguresConfig
) -> dict[str, Any]:
    """Draw one figure and describe it for the index."""
    name = f"{spec.name}-{variant}" if variant else spec.name
    entry: dict[str, Any] = {
        "name": name,
        "title": heading(spec, study, variant),
        "caption": spec.caption,
        "files": [],
    }
    try:
        with styled():
            figure = spec.draw(study, variant)
            entry["files"] = [_save(figure, name, kind, config) for kind in config.formats]
        entry["caption"] = " ".join([spec.caption, *spec.remarks(study, variant)])
    except NothingToDrawError as error:
        logger.info("%s: not drawn: %s", name, error)
        entry["missing"] = str(error)
    return entry


def heading(spec: FigureSpec, study: Study, variant: str) -> str:
    """Title of a figure with the name of its variant, where there is more than an unnamed one."""
    if spec.variants is one_variant or not any(spec.variants(study)):
        return spec.title
    return f"{spec.title}: {variant_label(variant)}"


def variant_label(variant: str) -> str:
    """Name of a variant in words: a quantity, a recipe, or itself."""
    return QUANTITIES[variant].symbol if variant in QUANTITIES else recipe_label(variant)


def _save(figure: Figure, name: str, kind: str, config: FiguresConfig) -> str:
    path = config.out / f"{name}.{kind}"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=config.dpi, metadata=METADATA[kind])
    # The layout is found once, for the first format: it costs as much as the drawing.
    figure.set_layout_engine("none")
    return path.name
