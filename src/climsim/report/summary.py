"""The study in plain words, every sentence made from the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from climsim.evaluation.outputs import CONDENSATE
from climsim.evaluation.stability import UNSTABLE
from climsim.figures.growth import time_axis
from climsim.figures.labels import quantity
from climsim.figures.registry import NothingToDrawError
from climsim.figures.study import Study
from climsim.report.cells import number, plain
from climsim.report.failures import Failure
from climsim.report.leaderboard import error_over_floor
from climsim.report.tables import name_of
from climsim.variables import DOOR_OUTPUTS

_WORDS = {
    "ptend_t": "heating",
    "ptend_q0001": "moistening",
    "ptend_q0002": "cloud liquid",
    "ptend_q0003": "cloud ice",
    CONDENSATE: "liquid and ice together",
    "ptend_u": "zonal wind",
    "ptend_v": "meridional wind",
}


def summarize(study: Study, failures: Sequence[Failure] = ()) -> list[str]:
    """Sentences that say what was measured and what came out.

    Args:
        study: its metrics.
        failures: what failed in the experiment.

    Returns:
        One sentence or a few for each part of the study that there is.
    """
    parts = [
        _failures(failures),
        _offline(study),
        _stability(study),
        _growth(study),
        _means(study),
        _water(study),
    ]
    return [part for part in parts if part]


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _failures(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    members = list(dict.fromkeys(f.member for f in failures))
    stages = ", ".join(f"{f.member} ({f.stage})" for f in failures[:3])
    more = "" if len(failures) <= 3 else f", and {_count(len(failures) - 3, 'more stage')}"
    return (
        f"{_count(len(members), 'member')} failed and {'is' if len(members) == 1 else 'are'} "
        f"missing from what follows or from a part of it: {stages}{more}."
    )


def _offline(study: Study) -> str:
    offline = study.offline
    if offline is None:
        return ""
    scores = offline["r2_mean"].values
    samples = int(np.max(offline["samples"].values))
    split = offline.attrs.get("split", "test")
    start = (
        f"{_count(offline.sizes['member'], 'model')} scored on {samples:,} samples of the {split} "
        "split."
    )
    if not np.isfinite(scores).any():
        return f"{start} No output has a defined R²."
    best = offline.isel(member=int(np.nanargmax(scores)))
    by_output = ", ".join(
        f"{number(best[f'r2_mean_{name}'], 2).text} for {word}"
        for name, word in _WORDS.items()
        if f"r2_mean_{name}" in best
    )
    total = sum(best[f"r2_{name}"].size for name in DOOR_OUTPUTS.names)
    undefined = int(best["undefined_outputs"])
    lead = "Best offline is " if offline.sizes["member"] > 1 else ""
    return (
        f"{start} {lead}{name_of(best)}: mean R² {number(best['r2_mean'], 3).text} over "
        f"{total - undefined} of {total} outputs ({undefined} have no variance; negative values "
        f"count as 0): {by_output}."
    )


def _stability(study: Study) -> str:
    members = study.members()
    if members is None:
        return ""
    status = members["status"].values.astype(str)
    wanted = float(members["days_wanted"].max())
    whole = int(((status != UNSTABLE) & (members["days"] >= members["days_wanted"])).sum())
    sentences = [
        f"{whole} of {_count(status.size, 'coupled run')} reached the end of "
        f"{'its' if status.size == 1 else 'their'} "
        f"{number(wanted).text} simulated days."
    ]
    lost = np.flatnonzero(status == UNSTABLE)
    if lost.size:
        days = members["days"].values[lost]
        first = members.isel(run=int(lost[np.argmin(days)]))
        sentences.append(
            f"{_count(lost.size, 'run')} became unstable, the first after "
            f"{number(days.min()).text} days ({name_of(first)})."
        )
    other = int(((status != UNSTABLE) & (members["days"] < members["days_wanted"])).sum())
    if other:
        sentences.append(f"{_count(other, 'run')} stopped early for another reason.")
    return " ".join(sentences)


def _growth(study: Study) -> str:
    members = study.members()
    if members is None:
        return ""
    try:
        word, axis = time_axis(study)
    except NothingToDrawError:
        return ""
    values = members[f"growth_{word}_T"].values
    if not np.isfinite(values).any():
        return "No coupled run shares a whole period with the reference run."
    last = int(np.flatnonzero(np.isfinite(values).any(axis=0))[-1])
    best = int(np.nanargmin(values[:, last]))
    when = f"{axis} {last + 1}"
    text = (
        f"On {when} the temperature of {name_of(members.isel(run=best))}, the closest run, differs "
        f"from the reference by {number(values[best, last]).text} K (mass-weighted RMSE)"
    )
    floor = study.floor()
    if floor is None:
        return f"{text}; there is no second reference run, so internal variability is not known."
    against = float(floor[f"growth_{word}_T"][last])
    if not math.isfinite(against) or against == 0:
        return f"{text}; internal variability is not known for that {axis}."
    return (
        f"{text}, {number(values[best, last] / against, 2).text} times the difference between two "
        f"runs with the full physics ({number(against).text} K)."
    )


def _means(study: Study) -> str:
    members, reference = study.members(), study.reference()
    if members is None or reference is None or "zonal_mean_PRECT" not in members:
        return ""
    rain, area = quantity("PRECT"), reference["area"]
    known = np.flatnonzero(members["map_PRECT"].notnull().all("column").values)
    if not known.size:
        return ""
    truth = float(rain.shown(reference["map_PRECT"]).weighted(area).mean())
    found = rain.shown(members["map_PRECT"].isel(run=known)).weighted(area).mean("column")
    span = f"{number(found.min()).text}"
    if known.size > 1:
        span += f" to {number(found.max()).text}"
    errors = [error_over_floor(study, members.isel(run=int(i))) for i in known]
    text = (
        f"Mean precipitation of the coupled runs is {span} {plain(rain.unit)}, of the reference "
        f"{number(truth).text}."
    )
    if np.isfinite(errors).any():
        text += (
            f" The time mean of temperature is {number(np.nanmin(errors), 2).text} times as far "
            "from the reference as internal variability in the best run."
        )
    return text


def _water(study: Study) -> str:
    if study.offline is None:
        return ""
    residual = study.offline["water_residual_prediction"].values * 86400.0
    if not np.isfinite(residual).any():
        return ""
    worst = int(np.nanargmax(np.abs(residual)))
    truth = float(study.offline["water_residual_truth"].values[worst]) * 86400.0
    label = name_of(study.offline.isel(member=worst))
    several = " at most" if residual.size > 1 else ""
    verb = "create" if residual[worst] > 0 else "destroy"
    return (
        f"Predicted tendencies and precipitation together {verb}{several} "
        f"{number(abs(residual[worst]), 2).text} mm of water a day in the global mean ({label}); "
        f"the residual of the truth is {number(truth, 2).text}."
    )
