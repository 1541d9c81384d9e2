"""Choosing the members that are shown, by saved measures alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.results.quantities import PREDICTED, TENDENCIES
from climsim.results.seeds import failed, groups_of, rows_of
from climsim.results.stability import leading
from climsim.results.study import NothingToDrawError, Study


def scored_profiles(study: Study) -> list[str]:
    """Tendencies that the offline metrics hold, in the order in which they are shown."""
    assert study.offline is not None
    return [name for name in TENDENCIES if f"r2_{name}" in study.offline]


def predicted_profiles(study: Study) -> list[str]:
    """The same as models give them: the condensate not counted again."""
    return [name for name in scored_profiles(study) if name in PREDICTED]


def network_means(study: Study, key: str, recipe: str) -> dict[str, xarray.DataArray]:
    """A score of the seed-averaged prediction of each network under a recipe.

    That of an ensemble over seeds where one was scored; else the mean over seeds, which is the same
    for a bias over fixed samples. Where a seed has no sample in a bin, the mean is over the others.

    Args:
        study: its metrics.
        key: name of the saved variable.
        recipe: name of the recipe.
    """
    assert study.offline is not None
    found = {}
    for network in dict.fromkeys(group[0] for group in groups_of(study.offline)):
        for data in (study.ensembles, study.offline):
            if data is not None and (rows := rows_of(data, (network, recipe))).size:
                seeds = data[key].isel(member=rows)
                # Left out, a seed that failed would be judged by the others.
                lost = seeds.isnull() & xarray.DataArray(failed(data)[rows], dims="member")
                mean = seeds.mean("member", keep_attrs=True)
                found[network] = mean.where(~lost.any("member"))
                break
    return found


def extremes(
    means: Mapping[str, xarray.DataArray],
) -> tuple[xarray.DataArray, xarray.DataArray]:
    """Cell by cell the value of smallest and of largest magnitude over networks; NaN where none is.

    Args:
        means: values of each network, on the same axes.
    """
    stack = xarray.concat(list(means.values()), "network", coords="minimal", compat="override")
    size = abs(stack)
    known = size.notnull().any("network")
    least, most = size.fillna(np.inf).argmin("network"), size.fillna(-np.inf).argmax("network")
    return tuple(stack.isel(network=at).where(known) for at in (least, most))  # type: ignore


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


def of_recipe(members: xarray.Dataset, *recipes: str) -> xarray.Dataset:
    """Members that were trained under a recipe, or under one of several."""
    return members.isel(run=np.flatnonzero(np.isin(members["recipe"].values, recipes)))


def run_by_run(members: xarray.Dataset, *names: str) -> Iterator[xarray.Dataset]:
    """Some metrics of one run after the other, without the axis ``run``, and how it ended.

    Args:
        members: online metrics.
        names: of the metrics; those that the runs lack are left out. A run of all some hundred
            metrics takes longer to pick than to draw.
    """
    few = members[[name for name in (*names, "status", "days") if name in members]]
    for i in range(members.sizes["run"]):
        yield few.isel(run=i)


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
    `climsim.results.stability.leading`.

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


def defined(members: xarray.Dataset, name: str, along: str = "run") -> NDArray[np.bool_]:
    """Which members have any value of a measure.

    Args:
        members: metrics.
        name: of the measure.
        along: axis of the members: ``run``, or ``member`` of offline metrics.
    """
    if name not in members:
        return np.zeros(members.sizes[along], dtype=bool)
    axes = [axis for axis in members[name].dims if axis != along]
    return np.asarray(members[name].notnull().any(axes).values)
