"""Scores of an ensemble, whose mean the other scores are of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from climsim.evaluation.block import ENSEMBLE
from climsim.evaluation.offline_score import SCORED_OUTPUTS, OfflineScore, Totals
from climsim.evaluation.score import Subject, register

Array = NDArray[np.floating]


class _OfEnsemble(OfflineScore):
    subjects = SCORED_OUTPUTS
    statistics = (ENSEMBLE,)
    dims = ("level",)
    weights = "samples"


@register
class Crps(_OfEnsemble):
    """Continuous ranked probability score of an ensemble (``members=[...]``, further model files).

    The other scores of an ensemble are of its mean.
    """

    name = "crps_{output}"
    long_name = "continuous ranked probability score of the ensemble: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        sums = state[ENSEMBLE]
        return sums.crps[state.slice(subject)] / sums.count


@register
class Spread(_OfEnsemble):
    """Root mean variance over the members of an ensemble."""

    name = "spread_{output}"
    long_name = "root mean variance over members: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        sums = state[ENSEMBLE]
        return np.sqrt(sums.variance[state.slice(subject)] / sums.count)
