"""Coupled runs of members that were trained again on states that they visited, by iteration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray

from climsim.evaluation.members import iteration_of
from climsim.results.study import Study


@dataclass(frozen=True)
class Iteration:
    """The seeds of a network and recipe in one iteration.

    Attributes:
        network: its name.
        recipe: name of the recipe, without the iteration.
        number: of the iteration; 0 for the training on weather alone.
        runs: online metrics along ``run``.
    """

    network: str
    recipe: str
    number: int
    runs: xarray.Dataset


def iterations(study: Study) -> list[Iteration]:
    """Runs by network, recipe and iteration, of what was trained more than once.

    Args:
        study: its metrics.
    """
    members = study.members()
    if members is None:
        return []
    found: dict[tuple[str, str, int], list[int]] = {}
    names = zip(members["network"].values.tolist(), members["recipe"].values.tolist(), strict=True)
    for position, (network, recipe) in enumerate(names):
        found.setdefault((network, *iteration_of(recipe)), []).append(position)
    again = {key[:2] for key in found if key[2]}
    return [
        Iteration(*key, members.isel(run=np.array(found[key])))
        for key in sorted(found)
        if key[:2] in again
    ]
