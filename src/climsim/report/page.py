"""The report: one HTML page that holds everything and needs nothing else."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from climsim.errors import ClimSimError, some_of
from climsim.figures.config import FiguresConfig
from climsim.figures.draw import INDEX_NAME, draw_figures
from climsim.files import file_hash, git_revision, provenance, read_json, write_json, write_text
from climsim.names import check_name
from climsim.products import Kind, claim, mentions, noted
from climsim.report.cells import Table, counted
from climsim.report.config import ReportConfig
from climsim.report.details import budget_tables, offline_tables
from climsim.report.failures import Failure, failed_stages, failures_table, read_failures
from climsim.report.growth import growth_table
from climsim.report.iterations import iterations_table
from climsim.report.leaderboard import leaderboard, seeds_table
from climsim.report.ranking import predictors_table, ranking_table
from climsim.report.summary import study_summary
from climsim.report.tables import (
    best_members_table,
    provenance_rows,
    published_table,
    stability_table,
    undefined_table,
)
from climsim.results.damping import read_damping
from climsim.results.study import Study, attributes_of_metrics, recorded
from climsim.stage import Progress

REPORT = Kind("a report", lambda path: mentions(path, b'id="provenance"', b"climsim_version"))
TABLES = Kind(
    "the folder of a report's tables",
    lambda path: noted(path / INDEX_NAME, "tables"),
    is_folder=True,
    owns=lambda name: name == INDEX_NAME or name.endswith(".csv"),
)
_ENTRY = {"name": str, "title": str, "caption": str, "files": list}
"""What the index of a folder of figures says of each, and as what."""
_NO_PICTURE = "no PNG in the folder of figures: draw them with png among formats="
_MEANS = {"h0": "monthly means", "h1": "daily means"}
"""What the time means of each stream are made of, in words."""


def write_report(config: ReportConfig, progress: Progress | None = None) -> Path:
    """Write the report.

    Args:
        config: what it is made of.
        progress: called with (parts done, parts in all).

    Returns:
        Path of the page.

    Raises:
        ClimSimError: if metrics or figures are missing.
    """
    advance = progress or (lambda done, total: None)
    _claim(config)
    failures = read_failures(config.failures)
    rates, experiment = read_damping(config.damping), _experiment(config)
    study = Study.open(config.offline, config.online, config.hindcasts)
    advance(1, 3)
    figures = load_figures(config)
    advance(2, 3)
    tables = _tables(study, failures, rates)
    write_text(config.out, render(study, figures, tables, failures, experiment, config))
    if config.tables is not None:
        _write_tables(config.tables, tables, _made_by(config))
    advance(3, 3)
    return config.out


def _claim(config: ReportConfig) -> None:
    """Claim the page and the folder of tables."""
    paths = {str(path): path for path in config.offline}
    inputs = paths | {
        key: getattr(config, key) for key in ("online", "hindcasts", "figures", "study", "damping")
    }
    claim(config.out, REPORT, inputs)
    if config.tables is not None:
        claim(config.tables, TABLES, inputs, key="tables")


def _write_tables(
    folder: Path, tables: Mapping[str, Table | None], made_by: Mapping[str, str]
) -> None:
    """Write the tables that there are, and remove those that an earlier report had beside them."""
    written = {name: table for name, table in tables.items() if table is not None}
    # First, so that the index of this report never stands beside a table of another.
    for name in tables:
        (folder / f"{name}.csv").unlink(missing_ok=True)
    write_json(folder / INDEX_NAME, {"tables": list(written), **made_by})
    for name, table in written.items():
        write_text(folder / f"{name}.csv", table.csv())


def load_figures(config: ReportConfig) -> list[dict[str, object]]:
    """Figures in the order of the page, each with its PNG as text and links to its files.

    Raises:
        ClimSimError: if the folder holds no index of figures, one of something else or of other
            metrics, or figures of which the drawing was interrupted.
    """
    if config.figures is not None:
        _require_same_metrics(config.figures, config)
        return _read_figures(config.figures, config.out.parent)
    with tempfile.TemporaryDirectory() as folder:
        settings = FiguresConfig(
            Path(folder), config.offline, config.online, config.hindcasts, formats=("png",)
        )
        return _read_figures(draw_figures(settings), None)


def _read_figures(folder: Path, page_folder: Path | None) -> list[dict[str, object]]:
    figures = []
    for entry in _index_entries(folder):
        for name in (entry["name"], *entry["files"]):
            check_name(name, f"{folder / INDEX_NAME}: name of a figure")
        pictures = [name for name in entry["files"] if name.endswith(".png")]
        picture = folder / pictures[0] if pictures else None
        links = (
            [(name, _address(folder / name, page_folder)) for name in entry["files"]]
            if page_folder is not None
            else []
        )
        shown = {
            "by_recipe": False,
            "missing": _NO_PICTURE,
            **entry,
            "picture": _encode(picture),
            "links": links,
        }
        figures.append(shown)
    return figures


def _require_same_metrics(folder: Path, config: ReportConfig) -> None:
    """Refuse figures of other metrics than those of the tables beside them.

    An index that does not say what its figures were drawn from is not of `draw_figures`.
    """
    index, path = _index(folder), str(folder / INDEX_NAME)
    given, settings = (recorded(index, key, path) for key in ("input_hashes", "configuration"))
    beside = settings.get("external_r2", [])
    drawn = {digest: path for path, digest in given.items() if path not in beside}
    shown = {file_hash(path): str(path) for path in config.metrics}
    if drawn and (apart := drawn.keys() ^ shown.keys()):
        path = min((shown | drawn)[digest] for digest in apart)
        raise ClimSimError(
            f"figures={folder}: expected figures of the metrics of the page, found that {path} has "
            "changed since, or was given for one of the two alone: draw them again with `climsim "
            "figures`, from the files of the page"
        )


def _index(folder: Path) -> dict[str, Any]:
    """The index of a folder of figures."""
    path = folder / INDEX_NAME
    if not path.exists():
        raise ClimSimError(f"{folder}: no {INDEX_NAME}: run `climsim figures out={folder}` first")
    index = read_json(path)
    if not isinstance(index, dict) or not isinstance(index.get("figures"), list):
        found = some_of(sorted(index)) if isinstance(index, dict) else type(index).__name__
        raise ClimSimError(
            f"{path}: expected an object with a list of figures, found {found}: give as figures= "
            "the folder that `climsim figures` filled"
        )
    if not index["figures"]:
        raise ClimSimError(
            f"{path}: expected figures, found none, as of a drawing that was interrupted: draw "
            "them again with `climsim figures`"
        )
    return index


def _index_entries(folder: Path) -> list[dict[str, Any]]:
    """What the index of a folder of figures says of each."""
    index, path = _index(folder), folder / INDEX_NAME
    for number, entry in enumerate(index["figures"], 1):
        known = entry if isinstance(entry, dict) else {}
        for key, kind in _ENTRY.items():
            if not isinstance(known.get(key), kind):
                what = "list" if kind is list else "text"
                raise ClimSimError(
                    f"{path}: figure {number}: expected {key} as a {what}, found none: draw the "
                    "figures again"
                )
    return list(index["figures"])


def _encode(picture: Path | None) -> str:
    if picture is None:
        return ""
    if not picture.exists():
        raise ClimSimError(f"{picture}: the index names it, but it is not there: draw it again")
    return base64.b64encode(picture.read_bytes()).decode("ascii")


def _tables(
    study: Study, failures: list[Failure], rates: Mapping[str, float] | None
) -> dict[str, Table | None]:
    """The tables of all members and runs, by name; None where there is nothing to show."""
    return {
        "leaderboard": leaderboard(study, failed_stages(failures), rates),
        "seeds": seeds_table(study),
        "best": best_members_table(study),
        "published": published_table(study),
        "stability": stability_table(study),
        "undefined": undefined_table(study),
        "growth": growth_table(study),
        "ranking": ranking_table(study),
        "predictors": predictors_table(study, rates),
        "iterations": iterations_table(study),
    }


def render(
    study: Study,
    figures: list[dict[str, object]],
    tables: dict[str, Table | None],
    failures: list[Failure],
    experiment: str,
    config: ReportConfig,
) -> str:
    """Fill the template."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("climsim.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    drawn = [f for f in figures if f["picture"]]
    return environment.get_template("page.html.j2").render(
        title=config.title,
        revision=git_revision(),
        summary=study_summary(study, failures),
        failures=failures_table(failures, study),
        **tables,
        offline_tables=offline_tables(study),
        budgets=budget_tables(study),
        figures=drawn,
        missing=[f for f in figures if not f["picture"]],
        data=_data_summary(study),
        experiment=experiment,
        provenance=_provenance(study, config),
        files=_links(config),
        made_by=_made_by(config),
    )


def _made_by(config: ReportConfig) -> dict[str, str]:
    """Provenance of the page itself, for programs that read it."""
    settings = {key: value for key, value in asdict(config).items() if key not in ("out", "tables")}
    index = [] if config.figures is None else [config.figures / INDEX_NAME]
    given = (config.online, config.hindcasts, config.study, config.failures, config.damping)
    single = [path for path in given if path is not None]
    return provenance(settings, {str(p): file_hash(p) for p in (*config.offline, *single, *index)})


def _data_summary(study: Study) -> list[tuple[str, str]]:
    """What was measured on, as names and values."""
    rows: list[tuple[str, str]] = []
    if study.offline is not None:
        offline = study.offline
        rows += [
            ("split", study.split),
            ("samples scored", counted(offline["samples"])),
            ("time steps scored", counted(offline["steps"])),
            ("levels", str(offline.sizes["level"])),
        ]
    if study.online is not None:
        online = study.online
        rows += [
            ("columns of the climate model", str(online.sizes["column"])),
            ("start of the reference run", online.attrs["reference_start"]),
            ("days compared", str(online.sizes.get("day", 0))),
            ("months compared, whole or begun", str(online.sizes.get("month", 0))),
            ("time means from", _MEANS[online.attrs["mean_stream"]]),
            ("precipitation distributions from", online.attrs["precipitation_samples"]),
        ]
    return rows


def _experiment(config: ReportConfig) -> str:
    if config.study is None:
        return ""
    return json.dumps(read_json(config.study), indent=2)


def _provenance(study: Study, config: ReportConfig) -> Table:
    """What made each file of metrics."""
    return provenance_rows([(path.name, attributes_of_metrics(path)) for path in config.metrics])


def _links(config: ReportConfig) -> list[tuple[str, str]]:
    return [(path.name, _address(path, config.out.parent)) for path in config.metrics]


def _address(path: Path, page_folder: Path) -> str:
    """Where a file lies, seen from the page, as a link: a colon in it begins no script."""
    return quote(os.path.relpath(path, page_folder))
