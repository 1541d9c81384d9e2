"""The saved metrics of a study, loaded and joined: what every figure and the report read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from climsim.errors import ClimSimError
from climsim.evaluation.online_dataset import EXTERNAL, FLOOR, HINDCASTS, MEMBER, REFERENCE
from climsim.evaluation.saved import open_metrics
from climsim.names import check_name
from climsim.results.external_r2 import ExternalR2, read_external_r2
from climsim.system import refusal
from climsim.validation import refused

_SHORT_HASH = 12
"""Letters of a hash by which a message distinguishes stores."""
_NAMED = ("network", "recipe", "group_network", "group_recipe")
"""Attributes and variables of metrics that hold names, which files and labels are made of."""


@dataclass(frozen=True)
class _Form:
    """What all files of metrics of a kind hold, whatever was scored.

    Attributes:
        attributes: of the file; the first is the one by which the kind is known.
        axes: names of axes.
        variables: names of variables and coordinates.
    """

    attributes: tuple[str, ...]
    axes: tuple[str, ...]
    variables: tuple[str, ...] = ()

    def lacking(self, metrics: xarray.Dataset) -> str | None:
        """The first that a file lacks, in words; None where it has all."""
        parts = {
            "attribute": (self.attributes, metrics.attrs),
            "axis": (self.axes, metrics.sizes),
            "variable": (self.variables, metrics.variables),
        }
        found = (
            f"{kind} {n!r}" for kind, (want, has) in parts.items() for n in want if n not in has
        )
        return next(found, None)


_KEYS = ("network", "recipe", "seed")
_RUNS = ("run", "role", "status", *_KEYS)
_OFFLINE = _Form(("member", *_KEYS, "split", "samples", "steps"), ("level",))
_ONLINE = _Form(
    ("mean_stream", "records", "problems"), ("run",), (*_RUNS, "days", "days_wanted", "sypd")
)
_HINDCASTS = _Form((HINDCASTS,), ("run", "day"), (*_RUNS, "start"))


class NothingToDrawError(Exception):
    """The study lacks what is to be shown; the message says what."""


@dataclass(frozen=True)
class Study:
    """Metrics of all members.

    Attributes:
        offline: offline metrics joined along ``member``, or None; ensembles only where none of
            their members is there.
        online: online metrics along ``run``, or None.
        seed_lines: whether figures draw a line for each seed where they have one for all.
        ensembles: offline metrics of the mean prediction of members of ``offline``, likewise; or
            None.
        by_recipe: whether networks and recipes have changed places.
        external_r2: offline R2 of other studies.
        hindcasts: metrics of short runs from many starts along ``run``, or None.
    """

    offline: xarray.Dataset | None
    online: xarray.Dataset | None
    seed_lines: bool = False
    ensembles: xarray.Dataset | None = None
    by_recipe: bool = False
    external_r2: tuple[ExternalR2, ...] = ()
    hindcasts: xarray.Dataset | None = None

    @property
    def split(self) -> str:
        """Split that the offline metrics are of; empty without any."""
        return "" if self.offline is None else str(self.offline.attrs["split"])

    @classmethod
    def open(
        cls, offline: Sequence[Path], online: Path | None, hindcasts: Path | None = None
    ) -> Study:
        """Load the files of metrics.

        Args:
            offline: one file for each member.
            online: file of the online metrics, or None.
            hindcasts: file of the metrics of hindcasts, or None.

        Raises:
            ClimSimError: if a file is missing or is none of this package's metrics, or offline
                metrics cannot be compared, see `join_offline`.
        """
        joined = join_offline([_load(path, _OFFLINE) for path in offline]) if offline else None
        members, ensembles = _apart(_of_columns(joined))
        coupled = _of_columns(_load(online, _ONLINE)) if online is not None else None
        short = _load(hindcasts, _HINDCASTS) if hindcasts is not None else None
        return cls(members, coupled, ensembles=ensembles, hindcasts=short)

    def beside(self, tables: Sequence[Path]) -> Study:
        """The study with the offline R2 of other studies, see `read_external_r2`.

        Raises:
            ClimSimError: if a table cannot be read, or there are no offline metrics.
        """
        if self.offline is None and tables:
            raise ClimSimError("external_r2: expected offline metrics beside it: give offline too")
        levels = 0 if self.offline is None else self.offline.sizes["level"]
        found = tuple(read_external_r2(path, levels) for path in tables)
        return replace(self, external_r2=found)

    def members(self) -> xarray.Dataset | None:
        """Online metrics of the runs with emulated physics; None where there are none."""
        return self._by_role.get(MEMBER)

    def reference(self) -> xarray.Dataset | None:
        """Online metrics of the reference run, without the axis ``run``."""
        return self._single.get(REFERENCE)

    def floor(self) -> xarray.Dataset | None:
        """Online metrics of the second run with full physics, without the axis ``run``."""
        return self._single.get(FLOOR)

    def external(self) -> xarray.Dataset | None:
        """Online metrics of runs of other studies; None where there are none."""
        return self._by_role.get(EXTERNAL)

    @cached_property
    def _by_role(self) -> dict[str, xarray.Dataset]:
        """Online metrics by role: copies, made once, as every panel asks for them."""
        if self.online is None:
            return {}
        roles = self.online["role"].values.astype(str)
        return {role: self.online.isel(run=np.flatnonzero(roles == role)) for role in set(roles)}

    @cached_property
    def _single(self) -> dict[str, xarray.Dataset]:
        """The first run of each role, without the axis ``run``."""
        return {role: runs.isel(run=0) for role, runs in self._by_role.items()}


def is_member(run: xarray.Dataset) -> bool:
    """Whether one run is one with emulated physics."""
    return str(run["role"].values) == MEMBER


def attributes_of_metrics(path: Path) -> dict[str, object]:
    """What a file of metrics says about itself."""
    with open_metrics(path) as dataset:
        return {str(name): value for name, value in dataset.attrs.items()}


def recorded(about: Mapping[Any, object], key: str, whose: str) -> dict[str, Any]:
    """What a product says under a key of `climsim.files.provenance`; empty where it lacks the key.

    Args:
        about: attributes of the product.
        key: one that holds a mapping as JSON.
        whose: the product, for the message.

    Raises:
        ClimSimError: if it is something else.
    """
    value = about.get(key, "{}")
    try:
        found = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise refused(f"{whose}: {key}", "a mapping as JSON", value, "make it again")
    return found


def _load(path: Path, form: _Form) -> xarray.Dataset:
    if not path.exists():
        raise ClimSimError(f"{path}: no such file of metrics: run `climsim evaluate` first")
    try:
        with open_metrics(path) as dataset:
            loaded = dataset.load()
    except (OSError, ValueError) as error:
        raise refusal(error, path) or ClimSimError(
            f"{path}: not a readable netCDF file: make it again"
        ) from error
    if (lacking := form.lacking(loaded)) is not None:
        raise ClimSimError(
            f"{path}: expected metrics with the {lacking}, found none: give files of "
            "`climsim evaluate offline` as offline, one of `climsim evaluate online` as online and "
            "one of `climsim evaluate hindcasts` as hindcasts"
        )
    _check_names(path, loaded)
    return loaded


def _check_names(path: Path, metrics: xarray.Dataset) -> None:
    """Refuse metrics whose names are none: they were edited, or made by something else."""
    for key in _NAMED:
        found = [metrics.attrs[key]] if key in metrics.attrs else []
        found += metrics[key].values.ravel().tolist() if key in metrics.variables else []
        for name in filter(None, map(str, found)):
            check_name(name, f"{path}: {key}")
    for name in map(str, metrics.variables):
        check_name(name, f"{path}: variable")
    if "member" in metrics.attrs:
        check_name(str(metrics.attrs["member"]), f"{path}: member")


def _of_columns(metrics: xarray.Dataset | None) -> xarray.Dataset | None:
    """Metrics without the bins of latitude that hold no column: there nothing has a value."""
    if metrics is None or "latitude" not in metrics.sizes:
        return metrics
    known = np.zeros(metrics.sizes["latitude"], dtype=bool)
    for values in metrics.data_vars.values():
        if "latitude" in values.dims:
            known |= values.notnull().any([dim for dim in values.dims if dim != "latitude"]).values
    return metrics.isel(latitude=known)


def _apart(
    offline: xarray.Dataset | None,
) -> tuple[xarray.Dataset | None, xarray.Dataset | None]:
    """Members, and ensembles of members that are there too."""
    if offline is None:
        return None, None
    groups = list(zip(offline["network"].values, offline["recipe"].values, strict=True))
    several = offline["models"].values > 1
    single = {group for group, many in zip(groups, several, strict=True) if not many}
    ensemble = several & np.array([group in single for group in groups])
    if not ensemble.any():
        return offline, None
    return offline.isel(member=~ensemble), offline.isel(member=ensemble)


def join_offline(datasets: Sequence[xarray.Dataset]) -> xarray.Dataset:
    """Join the metrics of members along ``member``, with network, recipe and seed as coordinates.

    Raises:
        ClimSimError: if two files are of the same member, or they are of different level counts or
            of different steps or stores, see `_require_same_data`.
    """
    labels = [str(d.attrs["member"]) for d in datasets]
    if len(set(labels)) != len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise ClimSimError(
            f"offline: metrics of {', '.join(twice)} are given twice: give them once"
        )
    levels = {d.sizes["level"] for d in datasets}
    if len(levels) != 1:
        raise ClimSimError(f"offline: metrics of {sorted(levels)} levels: give those of one grid")
    _require_same_data(datasets)
    joined = _stacked(datasets)
    extra: dict[str, object] = {
        key: ("member", [d.attrs[key] for d in datasets])
        for key in ("network", "recipe", "seed", "samples", "steps")
    }
    optional = {
        "parameters": np.nan,
        "training_hours": np.nan,
        "training_device": "",
        "models": 1,
    }
    for key, unknown in optional.items():
        extra[key] = ("member", [d.attrs.get(key, unknown) for d in datasets])
    extra["problems"] = ("member", [_problems(d) for d in datasets])
    return joined.assign_coords({"member": labels, **extra})


def _require_same_data(datasets: Sequence[xarray.Dataset]) -> None:
    """Refuse metrics of which some say that they are of other data than others.

    Equal splits, strides and stores may give different numbers of steps: a model that looks back is
    scored only where the steps before are there too.

    Raises:
        ClimSimError: naming two members, and what of their data differs.
    """
    first: dict[str, tuple[str, str]] = {}
    for dataset in datasets:
        member = str(dataset.attrs["member"])
        for what, found in _data_of(dataset).items():
            known, other = first.setdefault(what, (found, member))
            if found != known:
                raise ClimSimError(
                    f"offline: expected metrics of one {what}, found {known} of {other} and "
                    f"{found} of {member}: score both alike with `climsim evaluate offline`, or "
                    "give those of one alone"
                )


def _data_of(metrics: xarray.Dataset) -> dict[str, str]:
    """What a member was scored on, as far as its metrics say."""
    about, whose = metrics.attrs, f"metrics of {metrics.attrs['member']}"
    store = str(recorded(about, "input_hashes", whose).get("store", ""))
    stride = str(recorded(about, "configuration", whose).get("stride", ""))
    # Where the stride is known, the samples may differ as said above.
    samples = "" if stride else f"{int(metrics.attrs['samples']):,}"
    known = {
        "split": str(metrics.attrs["split"]),
        "store": store[:_SHORT_HASH],
        "stride": stride,
        "number of samples": samples,
    }
    return {what: found for what, found in known.items() if found}


def _stacked(datasets: Sequence[xarray.Dataset]) -> xarray.Dataset:
    """Metrics along a new axis ``member``; NaN where a member lacks one that another has.

    `xarray.concat` compares all coordinates of all members for it, and takes a hundred times as
    long.
    """
    datasets = xarray.align(*datasets, join="outer", copy=False)
    whole: dict[str, xarray.Variable] = {}
    for dataset in datasets:
        whole = {str(name): dataset.variables[name] for name in dataset.data_vars} | whole
    variables = {}
    for name, template in whole.items():
        blank = np.full(template.shape, np.nan)
        rows = [d.variables[name].values if name in d.variables else blank for d in datasets]
        notes = template.attrs
        variables[name] = xarray.Variable(("member", *template.dims), np.stack(rows), notes)
    coordinates: dict[object, xarray.DataArray] = {}
    for dataset in datasets:
        coordinates = {**dataset.coords, **coordinates}
    return xarray.Dataset(variables, coordinates, datasets[0].attrs)


def _problems(metrics: xarray.Dataset) -> str:
    """What was no finite number when a member was scored, in words; empty where all was."""
    return "; ".join(json.loads(metrics.attrs.get("problems", "[]")))
