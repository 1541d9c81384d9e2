"""Drawing every figure that the saved metrics allow, as PNG and PDF, with an index."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from climsim.figures.config import BOTH, FORMATS, FiguresConfig
from climsim.figures.registry import FigureSpec, figure_table, one_variant
from climsim.figures.style import styled
from climsim.files import atomic_path, file_hash, provenance, write_json
from climsim.parallel import run_tasks
from climsim.products import Kind, claim, noted
from climsim.results.filters import recipes_compared
from climsim.results.study import NothingToDrawError, Study
from climsim.stage import Progress

logger = logging.getLogger(__name__)

INDEX_NAME = "index.json"
METADATA: dict[str, dict[str, object]] = {
    "png": {"Software": "climsim"},
    # Without dates, so that equal metrics give equal files.
    "pdf": {"Creator": "climsim", "CreationDate": None},
    "svg": {"Creator": "climsim", "Date": None},
}
_OTHER = {"network": "recipe", "recipe": "network"}
_EXCHANGED = re.compile("|".join(_OTHER))
_BY_RECIPE = "by_recipe"
"""Ending of the names of figures that compare recipes beside others that compare networks."""


def _kind_of(figures: Collection[str]) -> Kind:
    """A folder of these figures, by name."""

    def owns(name: str) -> bool:
        stem, _, ending = name.rpartition(".")
        is_figure = ending in FORMATS and stem.partition("-")[0] in figures
        return name == INDEX_NAME or is_figure

    return Kind(
        "a folder of figures",
        lambda path: noted(path / INDEX_NAME, "figures"),
        is_folder=True,
        owns=owns,
    )


def shown_part(study: Study, config: FiguresConfig) -> Study:
    """What of a study the figures show, and whether they compare networks or recipes."""
    study = replace(config.filters.of(study), seed_lines=config.seed_lines)
    return recipes_compared(study) if config.compare == "recipes" else study


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
    coupled = [path for path in (config.online, config.hindcasts) if path is not None]
    inputs = (*config.offline, *coupled, *config.external_r2)
    figures = figure_table(config.only)
    claim(config.out, _kind_of({*figures, *figure_table()}), {str(path): path for path in inputs})
    whole = Study.open(config.offline, config.online, config.hindcasts)
    study = shown_part(whole.beside(config.external_r2), config)
    settings = {key: v for key, v in asdict(config).items() if key not in ("out", "workers")}
    made_by = provenance(settings, {str(path): file_hash(path) for path in inputs})
    index: list[dict[str, object]] = []
    # Before the first figure: the folder says what it is, and by an empty list that it is not done.
    write_json(config.out / INDEX_NAME, {"figures": index, **made_by})
    tasks = [_Task(name, study, config) for name in figures]
    drawn: dict[str, list[dict[str, object]]] = {}
    for name, entries in run_tasks(_draw_task, tasks, config.workers):
        drawn[name] = entries
        if progress:
            progress(len(drawn), len(figures))
    index = [entry for name in figures for entry in drawn[name]]
    write_json(config.out / INDEX_NAME, {"figures": index, **made_by})
    return config.out


@dataclass(frozen=True)
class _Task:
    """One figure of a study, for all of its variants.

    Attributes:
        name: of the figure.
        study: what of a study is shown.
        config: where the files go.
    """

    name: str
    study: Study
    config: FiguresConfig


def _draw_task(task: _Task) -> tuple[str, list[dict[str, object]]]:
    """Draw a figure in whatever process; its name and what was drawn."""
    spec = figure_table(task.config.only)[task.name]
    with _older_objects_kept():
        return task.name, entries_of(spec, task.study, task.config)


@contextmanager
def _older_objects_kept() -> Iterator[None]:
    """Let Python look for cycles among new objects alone.

    All the imported modules take it a quarter of a second for each figure.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _variants(spec: FigureSpec, study: Study) -> tuple[str, ...]:
    """Variants of a figure; one of them even where the study asks for none, to say why."""
    return spec.variants(study) or ("",)


def entries_of(spec: FigureSpec, study: Study, config: FiguresConfig) -> list[dict[str, object]]:
    """Draw a figure for all of its variants, by recipe too where that is asked for.

    Args:
        spec: of the figure.
        study: what of a study is shown.
        config: where the files go.
    """
    entries = [_draw_one(spec, variant, study, config) for variant in _variants(spec, study)]
    if config.compare == BOTH and spec.by_recipe and _several_recipes(study):
        entries += _draw_by_recipe(spec, study, config)
    return entries


def _several_recipes(study: Study) -> bool:
    """Whether the coupled runs are of more than one recipe."""
    members = study.members()
    return members is not None and len(set(members["recipe"].values.tolist())) > 1


def _draw_by_recipe(
    spec: FigureSpec, study: Study, config: FiguresConfig
) -> list[dict[str, object]]:
    """Draw a figure with networks and recipes exchanged, and describe what was drawn."""
    exchanged = recipes_compared(study)
    entries = [
        _draw_one(spec, variant, exchanged, config, _BY_RECIPE)
        for variant in _variants(spec, exchanged)
    ]
    return [
        {**entry, "title": _said_by_recipe(str(entry["title"])), _BY_RECIPE: True}
        for entry in entries
        if entry["files"]
    ]


def _said_by_recipe(title: str) -> str:
    """A title that says that recipes are compared."""
    return title if "recipe" in title else f"{title}, by recipe"


def _by_recipe_text(text: str, study: Study) -> str:
    """What a figure says, with networks and recipes exchanged where these have changed places."""
    if not study.by_recipe:
        return text
    return _EXCHANGED.sub(lambda found: _OTHER[found[0]], text)


def _draw_one(
    spec: FigureSpec, variant: str, study: Study, config: FiguresConfig, ending: str = ""
) -> dict[str, object]:
    """Draw one figure and describe it for the index."""
    name = "-".join(filter(None, (spec.name, variant, ending)))
    entry: dict[str, object] = {
        "name": name,
        "title": heading(replace(spec, title=_by_recipe_text(spec.title, study)), study, variant),
        "caption": _by_recipe_text(spec.caption, study),
        "files": [],
    }
    try:
        entry["files"] = _write(spec, variant, study, config, name)
        caption = _by_recipe_text(spec.caption, study)
        entry["caption"] = " ".join([caption, *spec.remarks(study, variant)])
    except NothingToDrawError as error:
        logger.info("%s: not drawn: %s", name, error)
        entry["missing"] = str(error)
    # A figure refers to itself and holds pictures; Python looks for such by number, not by size.
    gc.collect()
    return entry


def _write(
    spec: FigureSpec, variant: str, study: Study, config: FiguresConfig, name: str
) -> list[str]:
    """Draw one figure and write its files; their names."""
    with styled():
        figure = spec.draw(study, variant)
        _lay_out(figure, config.dpi)
        return [_save(figure, name, kind, config) for kind in config.formats]


def heading(spec: FigureSpec, study: Study, variant: str) -> str:
    """Title of a figure with the name of its variant, where there is more than an unnamed one."""
    if spec.variants is one_variant or not any(spec.variants(study)):
        return spec.title
    return f"{spec.title}: {spec.label(variant)}"


def _save(figure: Figure, name: str, kind: str, config: FiguresConfig) -> str:
    path = config.out / f"{name}.{kind}"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=config.dpi, metadata=METADATA[kind])
    return path.name


def _lay_out(figure: Figure, dpi: int) -> None:
    """Place the panels, once for all formats: it costs as much as the drawing."""
    figure.set_dpi(dpi)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    # With an engine, each file takes a drawing more, of which nothing is kept.
    figure.set_layout_engine(None)
