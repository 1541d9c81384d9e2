"""Random physical values of every variable, and the statistics the transforms are built from."""

from dataclasses import dataclass

import numpy as np
import torch

from climsim.interfaces import ENCODINGS, V6
from climsim.physics.thermodynamics import liquid_fraction
from climsim.variables import EXPANDED, TARGETS, variable


@dataclass(frozen=True)
class VariableSummary:
    """Statistics of one variable, as `climsim.data.statistics.statistics` names them."""

    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray
    column_mean: float
    column_std: float
    positive_mean: np.ndarray


def _of_other_sets(known, levels, n, seed):
    """Values of the variables that only other sets than those of the study hold."""
    rng = np.random.default_rng(seed + 1)
    sets = [(*row.variables.names, *row.targets.names) for row in ENCODINGS.values()]
    result = {}
    for name in dict.fromkeys(name for names in sets for name in names):
        if name not in known:
            shape = (n, levels) if variable(name).profile else (n,)
            scale = 1e-8 if name.startswith("ptend_") else 1.0
            result[name] = scale * rng.normal(1.0, 0.5, shape)
    return result


def samples(levels, n=50, seed=0):
    """Values by variable, (sample, level) or (sample,); scales differ by variable and level."""
    rng = np.random.default_rng(seed)
    result = {}
    for name in dict.fromkeys((*EXPANDED.names, *V6.variables.names, *TARGETS.names)):
        shape = (n, levels) if variable(name).profile else (n,)
        result[name] = rng.normal(1.0, 0.5, shape) * np.exp(rng.normal(0, 2, shape[1:]))
    for name in ("ptend_qn", "ptend_q0001"):
        result[name] *= 1e-8
    result["ptend_t"] *= 1e-4
    result |= _of_other_sets(result, levels, n, seed)
    result["state_t"] = rng.uniform(200, 300, (n, levels))
    result["liq_partition"] = liquid_fraction(result["state_t"])
    result["state_rh"] = rng.uniform(-0.1, 1.5, (n, levels))
    for name in ("state_q0002", "state_q0003"):
        cloudy = rng.random((n, levels)) < 0.4
        result[name] = np.where(cloudy, 3e-5 * rng.random((n, levels)), 0)
    result["state_qn"] = result["state_q0002"] + result["state_q0003"]
    for step in ("state", "tm_state"):
        parts = (result[f"{step}_{q}_prvphy"] for q in ("q0002", "q0003"))
        result[f"{step}_qn_prvphy"] = sum(parts)
    return result


def statistics_of(values):
    """Statistics by variable name."""
    result = {}
    for name, v in values.items():
        above = v > 1e-7
        count = above.sum(axis=0)
        mean = np.where(count > 0, np.where(above, v, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
        result[name] = VariableSummary(
            mean=v.mean(0),
            std=v.std(0),
            min=v.min(0),
            max=v.max(0),
            column_mean=v.mean(),
            column_std=v.std(),
            positive_mean=mean,
        )
    return result


def vector(values, variables):
    """Lay values out as a (sample, feature) float32 tensor."""
    columns = [np.reshape(values[n], (len(values[n]), -1)) for n in variables.names]
    return torch.as_tensor(np.concatenate(columns, axis=1), dtype=torch.float32)
