"""What a view of the interactive page shows: plain arrays picked from saved metrics.

Nothing is computed here but the change to display units and, for maps, the difference from the
reference; every other number is one of the metrics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import xarray

from climsim.arrays import Array
from climsim.results.labels import full_physics_label, full_physics_name, member_label
from climsim.results.measures import Measure
from climsim.results.quantities import COMPARED, MAPPED, SCORED
from climsim.results.study import Study
from climsim.results.time_axis import TimeAxis

_HPA = 100.0


@dataclass(frozen=True)
class Selection:
    """What the user picked.

    Attributes:
        view: name of a view.
        measure: metric of the view, such as ``r2`` or ``bias``.
        name: variable.
        members: labels of members.
        level: number of a level, 0 at the model top.
    """

    view: str
    measure: str
    name: str
    members: tuple[str, ...]
    level: int = 0

    @property
    def score(self) -> Measure:
        """What is shown: the score of the variable."""
        return Measure(self.measure, self.name)


@dataclass(frozen=True)
class Line:
    """A line of one member.

    Attributes:
        label: of the member, in words.
        network: gives colour and marker.
        recipe: gives the dashes.
        x: horizontal values.
        y: vertical values, same shape.
        full_physics: whether it is of the second run with full physics: black and dashed.
    """

    label: str
    network: str
    recipe: str
    x: Array
    y: Array
    full_physics: bool = False


@dataclass(frozen=True)
class Section:
    """A section or a map of one member.

    Attributes:
        label: of the member, in words.
        values: (level, latitude), or (column,) for a map, in the display unit.
        latitude: (latitude,) of a section; empty for a map.
    """

    label: str
    values: Array
    latitude: Array = field(default_factory=lambda: np.empty(0))


def axis_of(study: Study, measure: str, name: str) -> xarray.DataArray | None:
    """A measure of a variable along ``member`` or ``run``; None where the study lacks it."""
    for data in (study.offline, study.members()):
        if data is not None and f"{measure}_{name}" in data:
            return data[f"{measure}_{name}"]
    return None


def names_with(study: Study, measure: str) -> list[str]:
    """Variables for which a measure is saved and defined somewhere."""
    names = (*SCORED, *COMPARED, *MAPPED)
    found = ((name, axis_of(study, measure, name)) for name in names)
    return [name for name, values in found if values is not None and bool(values.notnull().any())]


def picked(study: Study, selection: Selection) -> Iterator[tuple[str, xarray.DataArray]]:
    """Label in words and values of each member that was picked and has the measure."""
    values = axis_of(study, selection.measure, selection.name)
    if values is None:
        return
    axis = str(values["network"].dims[0])
    labels = values[axis].values.tolist()
    for member in selection.members:
        if member in labels:
            shown = values.isel({axis: labels.index(member)})
            shown = selection.score.in_display_unit(shown)
            yield member_in_words(shown), shown


def member_in_words(member: xarray.DataArray) -> str:
    """Network, recipe and seed of one member."""
    return member_label(
        str(member["network"].values), str(member["recipe"].values), int(member["seed"])
    )


def profile_lines(study: Study, selection: Selection) -> list[Line]:
    """A measure against pressure [hPa] by member."""
    return [
        _line(label, shown, shown.values, _pressure(shown))
        for label, shown in picked(study, selection)
    ]


def floor_profile(study: Study, selection: Selection) -> list[Line]:
    """The same of the second run with full physics, for measures of coupled runs."""
    shown = _floor(study, selection)
    return [] if shown is None else [_floor_line(shown, shown.values, _pressure(shown))]


def _floor(study: Study, selection: Selection) -> xarray.DataArray | None:
    """Values of the second run with full physics; None where there are none."""
    floor = study.floor()
    if floor is None or not selection.score.known(floor):
        return None
    return selection.score.shown(floor)


def sections(study: Study, selection: Selection) -> list[Section]:
    """Latitude-pressure sections (level, latitude) by member."""
    return [
        Section(label, shown.transpose("level", "latitude").values, shown["latitude"].values)
        for label, shown in picked(study, selection)
    ]


def cuts(study: Study, selection: Selection) -> list[Line]:
    """The sections at one level, against latitude."""
    return [
        _line(label, shown, shown["latitude"].values, shown.isel(level=selection.level).values)
        for label, shown in picked(study, selection)
    ]


def growth_lines(study: Study, selection: Selection, axis: TimeAxis) -> list[Line]:
    """Online error against the number of the month, or days, by member, with the floor."""
    found = picked(study, selection)
    lines = [_line(label, shown, axis.elapsed(shown), shown.values) for label, shown in found]
    floor = _floor(study, selection)
    if floor is not None:
        lines.append(_floor_line(floor, axis.elapsed(floor), floor.values))
    return lines


def maps(study: Study, selection: Selection) -> list[Section]:
    """Time means by column: of the reference, then members minus the reference."""
    reference = study.reference()
    if reference is None or selection.score.key not in reference:
        return []
    truth = selection.score.shown(reference)
    differences = [
        Section(f"{label} minus {full_physics_name(reference)}", (shown - truth).values)
        for label, shown in picked(study, selection)
    ]
    return [Section(full_physics_label(reference), truth.values), *differences]


def _pressure(shown: xarray.DataArray) -> Array:
    """Pressure of the levels [hPa]."""
    pressure: Array = shown["pressure"].values / _HPA
    return pressure


def _floor_line(floor: xarray.DataArray, x: Array, y: Array) -> Line:
    """A line of the second run with full physics."""
    return Line(full_physics_label(floor), "", "", x, y, full_physics=True)


def _line(label: str, shown: xarray.DataArray, x: Array, y: Array) -> Line:
    return Line(label, str(shown["network"].values), str(shown["recipe"].values), x, y)
