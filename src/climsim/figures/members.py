"""Choosing the members that a figure shows, by saved measures alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import xarray

from climsim.evaluation.members import member_of
from climsim.evaluation.outputs import SCORED_PROFILES
from climsim.evaluation.published import beats_published
from climsim.evaluation.seeds import groups_of
from climsim.evaluation.stability import UNSTABLE, leading
from climsim.figures.registry import NothingToDrawError
from climsim.figures.study import Study
from climsim.figures.style import member_label


def label_of(one: xarray.Dataset | xarray.DataArray, seed: bool = False) -> str:
    """Network and recipe of one member, in words; a dagger marks a run that became unstable.

    Args:
        one: metrics of the member, with the coordinates ``network``, ``recipe`` and ``seed``.
        seed: whether to name the seed too.
    """
    number = int(one["seed"].values) if seed else None
    name = member_label(str(one["network"].values), str(one["recipe"].values), number)
    return f"{name} †" if isinstance(one, xarray.Dataset) and _died(one) else name


def _died(one: xarray.Dataset) -> bool:
    """Whether metrics of one member are of a run that became unstable."""
    return "status" in one and str(one["status"].values) == UNSTABLE


def member_names(study: Study, others: Iterable[str] = ()) -> dict[str, str]:
    """Name in words of every member and run by its label: the same in all tables and sentences.

    Where one member ran more than once, its label (the folder of the run) follows in brackets.

    Args:
        study: its metrics.
        others: further labels, of members without metrics.
    """
    names: dict[str, str] = {}
    for data, axis in ((study.offline, "member"), (study.online, "run")):
        if data is None:
            continue
        columns = (data[key].values.tolist() for key in (axis, "network", "recipe", "seed"))
        for label, *about in zip(*columns, strict=True):
            names.setdefault(str(label), member_label(*about))
    for label in others:
        member = member_of(label)
        names.setdefault(label, member_label(member.network, member.recipe, member.seed))
    often = Counter(names.values())
    return {
        label: name if often[name] == 1 else f"{name} ({label})" for label, name in names.items()
    }


def scored_profiles(study: Study) -> list[str]:
    """Tendencies that the offline metrics hold, in the order in which they are shown."""
    assert study.offline is not None
    return [name for name in SCORED_PROFILES if f"r2_{name}" in study.offline]


def online_members(study: Study) -> xarray.Dataset:
    """Online metrics of the runs with emulated physics.

    Raises:
        NothingToDrawError: if there are none.
    """
    return _given(study.members(), "no run with emulated physics was given")


def online_reference(study: Study) -> xarray.Dataset:
    """Online metrics of the reference run; raises as `online_members` does."""
    return _given(study.reference(), "no online metrics were given")


def _given(found: xarray.Dataset | None, otherwise: str) -> xarray.Dataset:
    if found is None:
        raise NothingToDrawError(otherwise)
    return found


def recipe_variants(study: Study) -> tuple[str, ...]:
    """Recipes of the online members, in the order of the study; none without online metrics."""
    members = study.members()
    if members is None:
        return ()
    return tuple(dict.fromkeys(group[1] for group in groups_of(members)))


def of_recipe(members: xarray.Dataset, recipe: str) -> xarray.Dataset:
    """Members that were trained under a recipe."""
    return members.isel(run=np.flatnonzero(members["recipe"].values == recipe))


def each(members: xarray.Dataset) -> Iterator[xarray.Dataset]:
    """Metrics of one run after the other, without the axis ``run``."""
    for i in range(members.sizes["run"]):
        yield members.isel(run=i)


def with_mean(members: xarray.Dataset, name: str) -> xarray.Dataset:
    """Members for which a measure of the time mean is defined.

    Raises:
        NothingToDrawError: if there is none.
    """
    if name not in members:
        raise NothingToDrawError(f"the history files lack what {name} is made of")
    axes = [axis for axis in members[name].dims if axis != "run"]
    defined = members[name].notnull().any(axes).values
    if not defined.any():
        raise NothingToDrawError("no run shares a whole period with the reference")
    return members.isel(run=np.flatnonzero(defined))


def best_members(study: Study, name: str = "T", count: int = 6) -> xarray.Dataset:
    """Members with the smallest RMSE of the time mean among the runs that lead.

    A run that died early has a short, and therefore flattering, mean: see
    `climsim.evaluation.stability.leading`.

    Args:
        study: its metrics.
        name: field that decides.
        count: most members to return.

    Raises:
        NothingToDrawError: if no member has a time mean.
    """
    members = with_mean(online_members(study), f"rmse_mean_{name}")
    chosen = members.isel(run=np.flatnonzero(leading(members)))
    order = np.argsort(chosen[f"rmse_mean_{name}"].values)
    return chosen.isel(run=order[:count])


def best_of_networks(study: Study, name: str = "T") -> xarray.Dataset:
    """The best member of each network, see `best_members`."""
    ranked = best_members(study, name, count=10**6)
    networks = ranked["network"].values.tolist()
    first = [networks.index(network) for network in dict.fromkeys(networks)]
    return ranked.isel(run=first)


def better_than_published(study: Study) -> xarray.Dataset | None:
    """Members that are below every published value of a five-year mean; None if there is none.

    Args:
        study: its metrics.

    Raises:
        NothingToDrawError: if no member has a time mean.
    """
    ranked = best_members(study, "T", count=10**6)
    chosen = np.flatnonzero(beats_published(ranked))
    return ranked.isel(run=chosen) if chosen.size else None
