"""How far the outputs of two forms of a model lie apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from climsim.variables import OUTPUTS, TARGETS


def relative_difference(
    expected: Tensor, found: Tensor, levels: int, typical: Tensor | None = None
) -> float:
    """Largest difference of two outputs, relative to the largest value of each variable.

    Confidences, where there are any, count like outputs. Infinite if one is finite where the other
    is not; where both are not, they count as equal.

    Args:
        expected: (column, output feature).
        found: likewise.
        levels: levels of a profile.
        typical: (column, output feature) outputs whose values count instead of the expected ones.
            A scalar of one column may be near 0, where rounding of its terms is all there is.
    """
    if not torch.equal(expected.isfinite(), found.isfinite()):
        return math.inf
    size = expected if typical is None else typical
    a, b, size = (v.where(v.isfinite(), 0.0) for v in (expected, found, size))
    worst = 0.0
    for features in _feature_slices(a.shape[1], levels).values():
        scale = size[:, features].abs().max().clamp_min(1e-30)
        worst = max(worst, float((b[:, features] - a[:, features]).abs().max() / scale))
    return worst


def _feature_slices(width: int, levels: int) -> dict[str, slice]:
    """Where each variable stands in an output, and each confidence behind them."""
    slices, size = dict(OUTPUTS.slices(levels)), OUTPUTS.size(levels)
    if width > size:
        for name, features in TARGETS.slices(levels).items():
            slices[f"confidence_{name}"] = slice(size + features.start, size + features.stop)
    return slices


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
    for name, features in _feature_slices(a.shape[1], levels).items():
        error = (b[:, features] - a[:, features]).square().mean().sqrt()
        result[name] = float(error / a[:, features].square().mean().sqrt().clamp_min(1e-30))
    return result
