"""When and with which revision the numbers of a page were measured, from its front matter.

A page with numbers begins with

    ---
    measured: 2026-11-23 at 5a404de (coupled runs); 2026-11-22 at 69926bb (speed)
    ---

which is shown below its title; `nothing` says that no number on it was measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

KEY = "measured"
NOTHING = "nothing"
_ONE = re.compile(r"(?P<day>\d{4}-\d\d-\d\d) at (?P<revision>[0-9a-f]{7,40})(?: \((?P<what>.+)\))?")


@dataclass(frozen=True)
class Measurement:
    """One session of measuring.

    Attributes:
        day: on which it was done.
        revision: of the code that was measured.
        what: numbers of the page that it gave; empty for all of them.
    """

    day: date
    revision: str
    what: str = ""


def parse(text: str) -> list[Measurement]:
    """The measurements that a page declares.

    Args:
        text: such as ``2026-11-23 at 5a404de (speed)``, several with semicolons between them.

    Raises:
        ValueError: for any other form.
    """
    if text == NOTHING:
        return []
    return [_parse(part.strip()) for part in text.split(";")]


def _parse(text: str) -> Measurement:
    found = _ONE.fullmatch(text)
    if found is None:
        raise ValueError(f"{KEY}: expected 'YYYY-MM-DD at REVISION (what)', found {text!r}")
    return Measurement(date.fromisoformat(found["day"]), found["revision"], found["what"] or "")


def _note(measurements: list[Measurement]) -> nodes.paragraph:
    """The line below the title."""
    from docutils import nodes

    note = nodes.paragraph(classes=[KEY])
    note += nodes.Text("Numbers measured on ")
    for place, one in enumerate(measurements):
        before = "; on " if place else ""
        note += nodes.Text(f"{before}{one.day.day} {one.day:%B %Y} with revision ")
        note += nodes.literal(text=one.revision)
        note += nodes.Text(f" ({one.what})" if one.what else "")
    note += nodes.Text(".")
    return note


def show(app: Sphinx, tree: nodes.document) -> None:
    """Put the line below the title of a page that declares one."""
    # Here, as the tests read the declarations where Sphinx is not installed.
    from docutils import nodes
    from sphinx.errors import SphinxError

    page = app.env.docname
    declared = app.env.metadata[page].get(KEY)
    title = next(iter(tree.findall(nodes.title)), None)
    if declared is None or title is None:
        return
    try:
        measurements = parse(str(declared))
    except ValueError as error:
        raise SphinxError(f"{page}: {error}") from error
    if measurements:
        title.parent.insert(title.parent.index(title) + 1, _note(measurements))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-read", show)
    return {"parallel_read_safe": True}
