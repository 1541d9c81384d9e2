"""Sentences of captions that hold for some studies only: what is drawn, and what is missing."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.errors import some_of
from climsim.evaluation.definitions import WMO
from climsim.notation import days
from climsim.results.labels import full_physics_name, member_names
from climsim.results.seeds import failed, groups_of
from climsim.results.stability import SHORTEST_TEST, became_unstable, leading
from climsim.results.study import Study

_MOST_NAMES = 5
"""Most members that a caption names."""
BEYOND = (
    "An arrow at the edge of a panel marks a line that leaves it, the number its largest value."
)


def offline_scores(study: Study, recipes: Collection[str] = ()) -> list[str]:
    """Which split was scored, and whose predictions were no finite numbers in part.

    Args:
        study: its metrics.
        recipes: of the members that a figure shows; empty for all.
    """
    if study.offline is None:
        return []
    shown = failed(study.offline)
    if recipes:
        shown &= np.isin(study.offline["recipe"].values, list(recipes))
    names = member_names(study)
    found = [names[label] for label in study.offline["member"].values[shown].tolist()]
    undefined = f"Undefined where a prediction was no finite number: {some_of(found, _MOST_NAMES)}."
    return [f"Scored on the {study.split} split.", *([undefined] if found else [])]


def scores_of_recipe(study: Study, variant: str) -> list[str]:
    """Remarks of a figure that shows the offline scores of one recipe, which its variant is."""
    return offline_scores(study, [variant])


def second_run(study: Study) -> list[str]:
    """What the dashed black line is, where there is one."""
    floor = study.floor()
    if floor is None:
        return []
    return [f"Black, dashed: {full_physics_name(floor)}, a second run with full physics."]


def runs_with_full_physics(study: Study) -> list[str]:
    """What the black lines are."""
    reference = study.reference()
    if reference is None:
        return []
    name = full_physics_name(reference)
    words = "the reference run" if name == "reference" else f"{name}, the reference run"
    return [f"Black: {words}.", *second_run(study)]


def unstable_ends(members: xarray.Dataset, known: NDArray[np.bool_]) -> list[str]:
    """What the crosses at the ends of lines are, where there are some.

    Args:
        members: the runs that a figure shows.
        known: which of them (run,) have values.
    """
    if not (became_unstable(members) & known).any():
        return []
    return ["A cross marks the last whole period of a run that became unstable."]


def not_shown(
    study: Study,
    members: xarray.Dataset,
    known: NDArray[np.bool_],
    how: str = "Not shown, for want of a whole period",
) -> list[str]:
    """Which of the runs have no line to draw, and why.

    Args:
        study: its metrics.
        members: the runs that a figure is about.
        known: which of them (run,) have values.
        how: words before their names.
    """
    lost = members.isel(run=np.flatnonzero(~known))
    labels = lost["run"].values.tolist()
    if not labels:
        return []
    names, ends = member_names(study), zip(lost["days"].values, became_unstable(lost), strict=True)
    ended = [
        f"{names[label]} ({'unstable' if died else 'ended'} after {days(float(end))})"
        for label, (end, died) in zip(labels, ends, strict=True)
    ]
    more = f"; and {len(ended) - _MOST_NAMES} more" if len(ended) > _MOST_NAMES else ""
    return [f"{how}: {'; '.join(ended[:_MOST_NAMES])}{more}."]


def line_ends(
    study: Study, members: xarray.Dataset, known: NDArray[np.bool_], axis: str
) -> list[str]:
    """What crosses on lines and on the axis are, and which members have neither.

    Args:
        study: its metrics.
        members: the runs that a figure of lines against time is about.
        known: which of them (run,) have values.
        axis: day or month.
    """
    died = became_unstable(members)
    lead = f"A cross on the axis, for want of a whole {axis}"
    return [
        *unstable_ends(members, known),
        *not_shown(study, members, known | ~died, lead),
        *not_shown(study, members, known | died),
    ]


def all_unstable(study: Study) -> list[str]:
    """That the best of runs are shown of which none stayed stable."""
    members = study.members()
    if members is None or not became_unstable(members)[leading(members)].any():
        return []
    return ["† Every run became unstable; shown are those that ran longest."]


def too_short(study: Study) -> list[str]:
    """That the runs do not test survival, where they are too short."""
    members = study.members()
    if members is None or float(members["days_wanted"].max()) >= SHORTEST_TEST:
        return []
    wanted = days(float(members["days_wanted"].max()))
    return [
        f"Runs of {wanted} are too short to test whether a model survives, which takes "
        f"{SHORTEST_TEST:g} days or more."
    ]


def seed_range(data: xarray.Dataset | None, lines: str = "means") -> list[str]:
    """That shading is the range over seeds, where any network and recipe has several."""
    if data is None or len(groups_of(data)) == data["network"].size:
        return []
    return [f"Lines are {lines} over seeds, shading their range."]


def tropopause(study: Study) -> list[str]:
    """What the line in sections is, where it is known."""
    if study.online is None or "tropopause" not in study.online:
        return []
    rule = "lapse-rate rule" if study.online.attrs.get("tropopause") == WMO else "coupler's rule"
    return [f"The line is the tropopause of the reference (zonal mean, by the {rule})."]
