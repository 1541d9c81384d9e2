"""The study in plain words, every sentence made from the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray

from climsim.arrays import Array
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import some_of
from climsim.notation import days, written
from climsim.report.cells import counted
from climsim.report.failures import Failure
from climsim.report.floor import error_over_floor, full_physics_is_the_same, over_floor
from climsim.report.growth import mean_precipitation
from climsim.results.labels import member_names
from climsim.results.quantities import plain, quantity
from climsim.results.stability import (
    SHORTEST_TEST,
    became_unstable,
    comparable,
    reached_end,
    tests_survival,
)
from climsim.results.study import NothingToDrawError, Study
from climsim.results.time_axis import TimeAxis, time_axis
from climsim.variables import OUTPUTS

_OUTPUT_NAMES = {
    "ptend_t": "heating",
    "ptend_q0001": "moistening",
    "ptend_q0002": "cloud liquid",
    "ptend_q0003": "cloud ice",
    "ptend_qn": "liquid and ice together",
    "ptend_u": "zonal wind",
    "ptend_v": "meridional wind",
}


def study_summary(study: Study, failures: Sequence[Failure] = ()) -> list[str]:
    """Sentences that say what was measured and what came out.

    Args:
        study: its metrics.
        failures: what failed in the experiment.

    Returns:
        One sentence or a few for each part of the study that there is.
    """
    parts = [
        _failures(failures, member_names(study, (f.member for f in failures))),
        _offline(study),
        _stability(study),
        _growth(study),
        _full_physics(study),
        _means(study),
        _water(study),
    ]
    return [part for part in parts if part]


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _failures(failures: Sequence[Failure], names: dict[str, str]) -> str:
    if not failures:
        return ""
    members = list(dict.fromkeys(f.member for f in failures))
    stages = "; ".join(f"{names[f.member]} ({f.stage})" for f in failures[:3])
    more = "" if len(failures) <= 3 else f"; and {_count(len(failures) - 3, 'more stage')}"
    return (
        f"{_count(len(members), 'member')} failed and {'is' if len(members) == 1 else 'are'} "
        f"missing from what follows or from a part of it: {stages}{more}."
    )


def _offline(study: Study) -> str:
    offline = study.offline
    if offline is None:
        return ""
    scores = offline["r2_mean"].values
    samples = counted(offline["samples"])
    start = (
        f"{_count(offline.sizes['member'], 'model')} scored on {samples} samples of the "
        f"{study.split} split."
    )
    if not np.isfinite(scores).any():
        return f"{start} No output has a defined R²."
    best = offline.isel(member=int(np.nanargmax(scores)))
    name = member_names(study)[str(best["member"].values)]
    by_output = ", ".join(
        f"{written(float(best[f'r2_mean_{name}']), 2)} for {word}"
        for name, word in _OUTPUT_NAMES.items()
        if f"r2_mean_{name}" in best
    )
    total = sum(best[f"r2_{name}"].size for name in OUTPUTS.names)
    undefined = int(best["undefined_outputs"])
    lead = "Best offline is " if offline.sizes["member"] > 1 else ""
    return (
        f"{start} {lead}{name}: mean R² {written(float(best['r2_mean']))} over "
        f"{total - undefined} of {total} outputs ({undefined} have no variance; negative values "
        f"count as 0): {by_output}{_unknown(study, scores)}."
    )


def _unknown(study: Study, scores: Array) -> str:
    """Of which members (member,) a score is no number, which is the best or worst of the others."""
    assert study.offline is not None
    labels, names = study.offline["member"].values, member_names(study)
    unknown = [names[label] for label in labels[~np.isfinite(scores)].tolist()]
    return f"; unknown of {some_of(unknown)}" if unknown else ""


def _stability(study: Study) -> str:
    members = study.members()
    if members is None:
        return "No coupled run was given: whether a model survives was not tested."
    tested = members.isel(run=np.flatnonzero(tests_survival(members)))
    short = members.isel(run=np.flatnonzero(~tests_survival(members)))
    sentences = []
    if tested.sizes["run"]:
        sentences.append(_survivors(tested))
        sentences += _lost(study, tested)
    if short.sizes["run"]:
        runs = _count(short.sizes["run"], "coupled run")
        which = "is" if short.sizes["run"] == 1 else "are"
        sentences.append(
            f"{runs} of {_lengths(short['days_wanted'])} {which} too short to test whether a model "
            f"survives, which takes {SHORTEST_TEST:g} days or more."
        )
    other = int((~became_unstable(members) & ~reached_end(members)).sum())
    if other:
        sentences.append(f"{_count(other, 'run')} stopped early for another reason.")
    return " ".join(sentences)


def _survivors(tested: xarray.Dataset) -> str:
    """How many of the runs that test survival reached their end."""
    its = "its" if tested.sizes["run"] == 1 else "their"
    whole = int(reached_end(tested).sum())
    return (
        f"{whole} of {_count(tested.sizes['run'], 'coupled run')} reached the end of "
        f"{its} {_lengths(tested['days_wanted'])} of simulation."
    )


def _lost(study: Study, tested: xarray.Dataset) -> list[str]:
    """How many became unstable, and the first of them."""
    lost = np.flatnonzero(became_unstable(tested))
    if not lost.size:
        return []
    ended = tested["days"].values[lost]
    first = str(tested["run"].values[lost[np.argmin(ended)]])
    when = f"{days(float(ended.min()))} ({member_names(study)[first]})"
    which = "the first " if lost.size > 1 else ""
    return [f"{_count(lost.size, 'run')} became unstable, {which}after {when}."]


def _lengths(values: xarray.DataArray) -> str:
    """Length or range of lengths, in days."""
    low, high = float(values.min()), float(values.max())
    return days(high) if low == high else f"{low:.3g} to {days(high)}"


def _stable(study: Study) -> xarray.Dataset | None:
    """Coupled runs that may be compared; None where there is none."""
    members = study.members()
    chosen = None if members is None else np.flatnonzero(comparable(members))
    return (
        None if members is None or chosen is None or not chosen.size else members.isel(run=chosen)
    )


def _growth(study: Study) -> str:
    members = study.members()
    if members is None:
        return ""
    try:
        axis = time_axis(study)
    except NothingToDrawError:
        return ""
    if not np.isfinite(members[axis.growth("T").key].values).any():
        return "No coupled run shares a whole period with the reference run."
    stable = _stable(study)
    if stable is None:
        return "No run stayed stable, so none is compared with the reference here."
    values = stable[axis.growth("T").key].values
    shared = np.flatnonzero(np.isfinite(values).any(axis=0))
    if not shared.size:
        return "No run that stayed stable shares a whole period with the reference run."
    last = int(shared[-1])
    best = int(np.nanargmin(values[:, last]))
    error, name = float(values[best, last]), member_names(study)[str(stable["run"].values[best])]
    closest = f", the closest {_kind(members)}run," if stable.sizes["run"] > 1 else ""
    text = (
        f"{_when(members, axis, last)} the temperature of {name}{closest} differs from the "
        f"reference by {written(error, unit='K')} (mass-weighted RMSE)"
    )
    floor = study.floor()
    if floor is None:
        return f"{text}; there is no second reference run, so internal variability is not known."
    against = float(floor[axis.growth("T").key][last])
    ratio = over_floor(error, against)
    if not math.isfinite(ratio):
        return f"{text}; internal variability is not known for that time."
    return (
        f"{text}, {written(ratio, 2)} times the difference between two runs with the "
        f"full physics ({written(against, unit='K')})."
    )


def _full_physics(study: Study) -> str:
    """Whether the runs with full physics differ at all."""
    if not full_physics_is_the_same(study):
        return ""
    return (
        "The second run with full physics is the same as the reference, as if it were a copy or "
        "had started without a perturbation: it tells nothing of internal variability."
    )


def _kind(members: xarray.Dataset | None) -> str:
    """What tells the runs that are compared from others, where there are others."""
    return "stable " if members is not None and became_unstable(members).any() else ""


def _when(members: xarray.Dataset, axis: TimeAxis, position: int) -> str:
    """A period in words: a whole day or month by its number, else the end of the mean."""
    time = float(axis.elapsed(members)[position])
    if axis.name == "month" or time.is_integer():
        return f"{'In' if axis.name == 'month' else 'On'} {axis.name} {time:g}"
    return (
        f"In the mean of the first {days(time)}"
        if position == 0
        else f"In the mean that ends on day {time:.3g}"
    )


def _means(study: Study) -> str:
    members, truth = _stable(study), mean_precipitation(study)
    if members is None or not math.isfinite(truth) or "map_PRECT" not in members:
        return ""
    known = np.flatnonzero(members["map_PRECT"].notnull().all("column").values)
    if not known.size:
        return ""
    rain, area = quantity("PRECT"), members["area"]
    found = rain.shown(members["map_PRECT"].isel(run=known)).weighted(area).mean("column")
    span, runs = written(float(found.min())), f"the {_kind(study.members())}coupled run"
    if known.size > 1:
        span, runs = f"{span} to {written(float(found.max()))}", f"{runs}s"
    text = (
        f"Mean precipitation of {runs} is {span} {plain(rain.unit)}, of the reference "
        f"{written(truth)}."
    )
    errors = [error_over_floor(study, members.isel(run=int(i))) for i in known]
    if not np.isfinite(errors).any():
        return text
    best = " in the best of these runs" if known.size > 1 else ""
    return (
        f"{text} The time mean of temperature is {written(float(np.nanmin(errors)), 2)} times as "
        f"far from the reference as internal variability{best}."
    )


def _water(study: Study) -> str:
    if study.offline is None:
        return ""
    residual = study.offline["water_residual_prediction"].values * SECONDS_PER_DAY
    if not np.isfinite(residual).any():
        return ""
    worst = int(np.nanargmax(np.abs(residual)))
    truth = float(study.offline["water_residual_truth"].values[worst]) * SECONDS_PER_DAY
    label = member_names(study)[str(study.offline["member"].values[worst])]
    several = " at most" if residual.size > 1 else ""
    verb = "create" if residual[worst] > 0 else "destroy"
    return (
        f"Predicted tendencies and precipitation together {verb}{several} "
        f"{written(abs(float(residual[worst])), 2)} mm of water a day in the global mean "
        f"({label}{_unknown(study, residual)}); the residual of the truth is {written(truth, 2)} "
        "mm a day."
    )
