"""How far the outputs of two forms of a model lie apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from climsim.export.module import Emulation
from climsim.export.probe import Probe
from climsim.variables import OUTPUTS


def relative_difference(expected: Tensor, found: Tensor, levels: int) -> float:
    """Largest difference of two outputs, relative to the largest value of each variable.

    Infinite if one is finite where the other is not; where both are not, they count as equal.

    Args:
        expected: (column, output feature).
        found: likewise.
        levels: levels of a profile.
    """
    if not torch.equal(expected.isfinite(), found.isfinite()):
        return math.inf
    a, b = (v.where(v.isfinite(), 0.0) for v in (expected, found))
    worst = 0.0
    for place in OUTPUTS.slices(levels).values():
        scale = a[:, place].abs().max().clamp_min(1e-30)
        worst = max(worst, float((b[:, place] - a[:, place]).abs().max() / scale))
    return worst


def mean_deviation(
    exact: Emulation, fast: Emulation, levels: int, probe: Probe
) -> dict[str, float]:
    """Deviation by variable of a fast form from the exact one, on 64 columns."""
    x = probe(64)
    with torch.inference_mode():
        return deviation(exact(x), fast(x), levels)


def deviation(expected: Tensor, found: Tensor, levels: int) -> dict[str, float]:
    """Root-mean-square difference of each variable over its root mean square.

    Values that are not finite count as 0.

    Args:
        expected: (column, output feature).
        found: likewise.
        levels: levels of a profile.
    """
    a, b = (v.where(v.isfinite(), 0.0).double() for v in (expected, found))
    result = {}
    for name, place in OUTPUTS.slices(levels).items():
        error = (b[:, place] - a[:, place]).square().mean().sqrt()
        result[name] = float(error / a[:, place].square().mean().sqrt().clamp_min(1e-30))
    return result
