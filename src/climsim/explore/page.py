"""The interactive page: what the user picks on the left, what it shows on the right."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import Div, MultiChoice, Select, Slider
from jinja2 import Template

from climsim.errors import ClimSimError
from climsim.explore.plots import notice
from climsim.explore.selection import Selection, names_with
from climsim.explore.views import View, views
from climsim.results.labels import member_names, network_of
from climsim.results.quantities import plain, quantity
from climsim.results.seeds import groups_of
from climsim.results.study import Study

TITLE = "climsim explore"
_WIDTH = 260
"""Width of the widgets [px]."""
_GAP = 16
"""Between the widgets and the plots [px]."""
_TEMPLATE = """{% extends base %}
{% block preamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
{% endblock %}
"""
"""The page of the server, as wide as the screen of a telephone where it is shown on one."""
_FIRST = 3
"""Members that are picked when the page opens [1]."""


def page_of(study: Study) -> Callable[[Document], None]:
    """What fills a new document, one for each visit.

    Args:
        study: its metrics.

    Raises:
        ClimSimError: if the metrics hold nothing that a view shows.
    """
    if not views(study):
        raise ClimSimError(
            "offline, online: the metrics hold nothing to show, expected members with defined "
            "scores: evaluate them first"
        )

    def fill(document: Document) -> None:
        document.add_root(Page(study).layout)
        document.title = TITLE
        document.template = Template(_TEMPLATE)

    return fill


class Page:
    """The widgets of one visit and the plots that follow them.

    Attributes:
        layout: what the document holds.
    """

    def __init__(self, study: Study) -> None:
        """Build the widgets for a study and draw the first view."""
        self._study = study
        self._views = views(study)
        labels = member_labels(study)
        self._view = Select(title="view", options=list(self._views), name="view")
        self._measure = Select(title="measure", name="measure")
        self._name = Select(title="variable", name="variable")
        first = first_members(labels, _FIRST)
        self._members = MultiChoice(
            title="members", options=list(labels.items()), value=first, name="members"
        )
        levels = _levels(study)
        self._level = Slider(
            title="level, 0 at the model top", start=0, end=levels - 1, value=levels // 2, step=1
        )
        self._body = column(name="body", sizing_mode="stretch_width", min_width=_WIDTH)
        self._view.value = next(iter(self._views))
        self._busy = False
        self._offer_measures()
        widgets = (self._view, self._measure, self._name, self._members, self._level)
        for widget in widgets:
            widget.width = _WIDTH
            event = "value_throttled" if widget is self._level else "value"
            widget.on_change(event, self._changed)
        heading = Div(text=f"<h2>{TITLE}</h2><p>{_about(study)}</p>", width=_WIDTH)
        # On a narrow screen the plots go below the widgets.
        # The widgets keep their width, or the plots would cover their right edge.
        side = column(heading, *widgets, width=_WIDTH, styles={"flex-shrink": "0"})
        wrapped = {"flex-wrap": "wrap"}
        self.layout = row(
            side, self._body, sizing_mode="stretch_width", styles=wrapped, spacing=_GAP
        )
        self._draw()

    def _changed(self, attribute: str, old: object, new: object) -> None:
        # Offering other choices changes the widgets below, which would draw once for each.
        if self._busy:
            return
        self._busy = True
        try:
            self._offer_measures()
        finally:
            self._busy = False
        self._draw()

    def _current(self) -> View:
        return self._views[str(self._view.value)]

    def _offer_measures(self) -> None:
        """Offer the measures of the view and the variables of the measure; keep what fits."""
        offered = self._current().offered(self._study)
        _offer(self._measure, offered)
        names = names_with(self._study, str(self._measure.value))
        _offer(self._name, {name: f"{plain(quantity(name).symbol)}  [{name}]" for name in names})
        self._level.visible = self._current().leveled

    def _draw(self) -> None:
        picked = Selection(
            str(self._view.value),
            str(self._measure.value),
            str(self._name.value),
            tuple(self._members.value),
            int(self._level.value),
        )
        if not picked.members:
            self._body.children = [notice("Pick a member.")]
            return
        self._body.children = [self._current().draw(self._study, picked)]


def member_labels(study: Study) -> dict[str, str]:
    """Every member with metrics: its label and its name in words, in the order of the study."""
    known: dict[str, tuple[str, str, int]] = {}
    order: dict[tuple[str, str], None] = {}
    for data, axis in ((study.offline, "member"), (study.members(), "run")):
        if data is None:
            continue
        order |= dict.fromkeys(groups_of(data))
        columns = (data[key].values.tolist() for key in (axis, "network", "recipe", "seed"))
        for label, *about in zip(*columns, strict=True):
            known.setdefault(label, tuple(about))
    rank = list(order)
    sort = sorted(known, key=lambda label: (rank.index(known[label][:2]), known[label][2]))
    names = member_names(study)
    return {label: names[label] for label in sort}


def first_members(labels: Iterable[str], count: int) -> list[str]:
    """The first member of each network, at most a number of them."""
    first = {network_of(label): label for label in reversed(list(labels))}
    return [label for label in labels if label in first.values()][:count]


def _offer(widget: Select, options: dict[str, str]) -> None:
    """Set the options of a widget; its value stays if it is among them."""
    widget.options = list(options.items())
    if widget.value not in options:
        widget.value = next(iter(options))


def _levels(study: Study) -> int:
    data = study.offline if study.offline is not None else study.online
    assert data is not None
    return int(data.sizes["level"])


def _about(study: Study) -> str:
    """What the page was opened with, in words."""
    offline = 0 if study.offline is None else study.offline.sizes["member"]
    members = study.members()
    online = 0 if members is None else members.sizes["run"]
    return (
        f"{offline} members scored offline, {online} coupled runs. Hover for values; click a name "
        "in a legend to fade its line."
    )
