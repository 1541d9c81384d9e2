"""The few lines that a command prints of the metrics that it wrote."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import xarray

from climsim.constants import MM_PER_DAY
from climsim.errors import some_of
from climsim.evaluation.online_dataset import FLOOR, MEMBER
from climsim.evaluation.saved import open_metrics
from climsim.evaluation.stability import UNSTABLE

_OUTPUTS = {
    "ptend_t": "heating",
    "ptend_q0001": "moistening",
    "ptend_qn": "cloud condensate",
    "cam_out_NETSW": "surface net shortwave",
    "cam_out_PRECC": "rain",
}
_SHOWN_RUNS = 5
_FIELDS = {"T": ("K", 1.0), "PRECT": ("mm/day", MM_PER_DAY)}
"""Fields of the online line: unit, and its factor."""


def offline_lines(path: Path) -> tuple[str, str]:
    """R2 over all outputs, and of the outputs that matter most.

    Args:
        path: of offline metrics.
    """
    with open_metrics(path) as metrics:
        left_out = int(metrics["undefined_outputs"])
        note = f" ({left_out} without variance left out)" if left_out else ""
        scores = [
            f"{word} {_number(float(metrics[f'r2_mean_{name}']))}"
            for name, word in _OUTPUTS.items()
            if f"r2_mean_{name}" in metrics
        ]
        return (
            f"mean R2 over all outputs: {_number(float(metrics['r2_mean']))}{note}",
            f"R2: {', '.join(scores)}",
        )


def online_lines(path: Path) -> tuple[str, ...]:
    """How the runs ended, where there are any, and the error of their time means.

    Args:
        path: of online metrics.
    """
    with open_metrics(path) as metrics:
        members = metrics.isel(run=np.flatnonzero(metrics["role"] == MEMBER))
        status = members["status"].values.astype(str)
        whole = (status != UNSTABLE) & (members["days"] >= members["days_wanted"]).values
        lost = [
            f"{label} unstable on day {float(day):.3g}"
            for label, day in zip(
                members["run"].values[status == UNSTABLE],
                members["days"].values[status == UNSTABLE],
                strict=True,
            )
        ]
        first = f"{int(whole.sum())} of {status.size} runs reached their end"
        ended = f"{first}{': ' + some_of(lost, _SHOWN_RUNS) if lost else ''}"
        return (*([ended] if status.size else []), _errors(metrics, members))


def _errors(metrics: xarray.Dataset, members: xarray.Dataset) -> str:
    floor = metrics.isel(run=np.flatnonzero(metrics["role"] == FLOOR))
    parts = []
    for name, (unit, factor) in _FIELDS.items():
        key = f"rmse_mean_{name}"
        if key not in metrics:
            continue
        order = np.argsort(members[key].values)
        runs = [
            f"{members['run'].values[i]} {_number(factor * float(members[key][i]))}" for i in order
        ]
        shown = [some_of(runs, _SHOWN_RUNS)] if runs else []
        if floor.sizes["run"]:
            shown.append(f"internal variability {_number(factor * float(floor[key][0]))}")
        parts.append(f"{name} [{unit}] {', '.join(shown)}")
    return f"RMSE of the time mean: {'; '.join(parts) or 'none in common with the reference'}"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "undefined"
