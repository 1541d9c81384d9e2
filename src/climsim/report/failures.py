"""Members of an experiment that failed: what the workflow wrote down about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from climsim.errors import ClimSimError
from climsim.files import read_json
from climsim.report.cells import Table, text
from climsim.results.labels import member_names
from climsim.results.study import Study

_KEYS = ("member", "stage", "message", "log")


@dataclass(frozen=True)
class Failure:
    """A stage that failed.

    Attributes:
        member: label of the member or reference run, or ``all members`` for a stage that all
            share.
        stage: name of the step, such as ``train`` or ``online_run``.
        message: its error, in one line.
        log: its log, in the experiment's folder.
    """

    member: str
    stage: str
    message: str
    log: str


def read_failures(path: Path | None) -> list[Failure]:
    """Failures of an experiment; none without a file.

    Raises:
        ClimSimError: if the file is missing or is something else.
    """
    if path is None:
        return []
    if not path.exists():
        raise ClimSimError(f"failures={path}: no such file: leave the key out if nothing failed")
    try:
        entries = read_json(path)
        return [Failure(**{key: str(entry[key]) for key in _KEYS}) for entry in entries]
    except (TypeError, KeyError) as error:
        raise ClimSimError(
            f"failures={path}: expected a JSON list of entries with {', '.join(_KEYS)}: give the "
            "failures.json of the experiment"
        ) from error


def failed_stages(failures: list[Failure]) -> dict[str, str]:
    """First stage that failed, by member."""
    return {failure.member: failure.stage for failure in reversed(failures)}


def failures_table(failures: list[Failure], study: Study) -> Table | None:
    """One row for each failure; None where nothing failed."""
    names = member_names(study, (f.member for f in failures))
    rows = [[text(names[f.member]), text(f.stage), text(f.message), text(f.log)] for f in failures]
    note = (
        "These members are missing from the scores below, or from a part of them. After the cause "
        "is removed, the same `climsim experiment` command makes up for them."
    )
    return Table(("member", "stage", "error", "log"), rows, note) if rows else None
