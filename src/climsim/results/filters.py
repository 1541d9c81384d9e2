"""A part of a study: some networks, recipes or seeds, or the first years of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray
from numpy.typing import NDArray

from climsim.constants import DAYS_PER_YEAR
from climsim.errors import ClimSimError
from climsim.evaluation.members import Member
from climsim.evaluation.online_dataset import MEMBER
from climsim.evaluation.stability import Outcome, alive_fraction
from climsim.results.study import Study
from climsim.validation import each_of, whole

_KEYS = ("network", "recipe", "seed")
_MONTHS_PER_YEAR = 12


@dataclass(frozen=True)
class Filters:
    """What is chosen of a study; empty for everything.

    Attributes:
        networks: names of networks.
        recipes: names of recipes.
        seeds: numbers of seeds.
        years: first years of the coupled runs; 0 for all. Time means are not formed anew, so the
            online metrics must be over as many years.
    """

    networks: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    years: int = 0

    def __post_init__(self) -> None:
        whole("years", self.years)

    def require(self, known: Mapping[str, Sequence[str | int]]) -> None:
        """Refuse what no member has.

        Args:
            known: values of ``network``, ``recipe`` and ``seed`` among the members.

        Raises:
            ClimSimError: naming the key and the first value that occurs nowhere.
        """
        for key, wanted in self._wanted().items():
            each_of(f"{key}s", wanted, sorted(set(known[key])))

    def left(self, known: Mapping[str, Sequence[str | int]]) -> dict[str, object]:
        """What is left of those that also name what no member has, by the key of the figures.

        A filter of which nothing is left stays: then there is nothing to draw, and drawing says so.

        Args:
            known: as for `require`.
        """
        left: dict[str, object] = {}
        for key, wanted in self._wanted().items():
            kept = [value for value in wanted if value in known[key]]
            if kept and len(kept) < len(wanted):
                left[f"{key}s"] = kept
        return left

    def of(self, study: Study) -> Study:
        """The chosen part of a study.

        Raises:
            ClimSimError: if a name or seed occurs nowhere, or time means are over other years.
        """
        self._check(study)
        online = study.online
        offline, ensembles = (
            None if data is None else data.isel(member=np.flatnonzero(self._chosen(data)))
            for data in (study.offline, study.ensembles)
        )
        if online is not None:
            online = _with_survival(self._runs(online))
            online = self._first_years(online) if self.years else online
        hindcasts = None if study.hindcasts is None else self._runs(study.hindcasts)
        return replace(
            study, offline=offline, ensembles=ensembles, online=online, hindcasts=hindcasts
        )

    def _runs(self, data: xarray.Dataset) -> xarray.Dataset:
        """The chosen runs with emulated physics, and all with full physics."""
        full_physics = data["role"].values != MEMBER
        return data.isel(run=np.flatnonzero(self._chosen(data) | full_physics))

    def _chosen(self, data: xarray.Dataset) -> NDArray[np.bool_]:
        chosen = np.ones(data["network"].size, dtype=bool)
        for key, wanted in self._wanted().items():
            if wanted:
                chosen &= np.isin(data[key].values, wanted)
        return chosen

    def _wanted(self) -> dict[str, Sequence[str] | Sequence[int]]:
        return dict(zip(_KEYS, (self.networks, self.recipes, self.seeds), strict=True))

    def _check(self, study: Study) -> None:
        data = [d for d in (study.offline, study.members(), study.hindcasts) if d is not None]
        self.require({key: [v for d in data for v in d[key].values.tolist()] for key in _KEYS})

    def _first_years(self, online: xarray.Dataset) -> xarray.Dataset:
        """The first years of every series; time means must be over these."""
        length = self.years * DAYS_PER_YEAR
        window = online.attrs.get("mean_window")
        if window is not None and abs(float(window) - length) > 1:
            raise ClimSimError(
                f"years={self.years}: expected online metrics with time means of {length} days, "
                f"found {float(window):g}: run `climsim evaluate online years={self.years}` first"
            )
        chosen: dict[str, slice | NDArray[np.intp]] = {}
        if "month" in online.sizes:
            chosen["month"] = slice(self.years * _MONTHS_PER_YEAR)
        if "day" in online.sizes:
            chosen["day"] = np.flatnonzero(online["day"].values <= length)
        return online.isel(chosen)


def _with_survival(online: xarray.Dataset) -> xarray.Dataset:
    """Online metrics with the fraction of seeds alive among the runs that they hold."""
    if "group" not in online.sizes:
        return online
    members = online.isel(run=np.flatnonzero(online["role"].values == MEMBER))
    columns = [members[key].values.tolist() for key in ("network", "recipe", "seed")]
    ends = [members[key].values.tolist() for key in ("status", "days", "days_wanted", "sypd")]
    outcomes = [
        (Member(*names), Outcome(*end))
        for names, end in zip(zip(*columns, strict=True), zip(*ends, strict=True), strict=True)
    ]
    groups, fraction = alive_fraction(outcomes, online["elapsed"].values)
    about = online["alive_fraction"].attrs
    return online.drop_dims("group").assign(
        alive_fraction=(("group", "elapsed"), fraction, about),
        group_network=("group", [group[0] for group in groups]),
        group_recipe=("group", [group[1] for group in groups]),
    )


def recipes_compared(study: Study) -> Study:
    """The study with networks and recipes exchanged, so that figures compare recipes.

    What a figure draws for each recipe it then draws for each network, with a line, colour and
    name for each recipe.
    """

    def exchanged(data: xarray.Dataset | None) -> xarray.Dataset | None:
        if data is None:
            return None
        names = {"network": "recipe", "recipe": "network"}
        names |= {"group_network": "group_recipe", "group_recipe": "group_network"}
        found = data.rename({old: new for old, new in names.items() if old in data.variables})
        if "role" not in found:
            return found
        # The runs with full physics keep their names, by which they are drawn.
        full_physics = data["role"] != MEMBER
        return found.assign_coords(
            network=found["network"].where(~full_physics, data["network"]),
            recipe=found["recipe"].where(~full_physics, data["recipe"]),
        )

    return replace(
        study,
        offline=exchanged(study.offline),
        ensembles=exchanged(study.ensembles),
        online=exchanged(study.online),
        by_recipe=not study.by_recipe,
    )
