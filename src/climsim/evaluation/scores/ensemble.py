"""Scores of an ensemble, whose mean the other scores are of."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from climsim.arrays import Array
from climsim.evaluation.block import ENSEMBLE
from climsim.evaluation.metrics import CRPS_PAIRS
from climsim.evaluation.offline_score import SCORED_OUTPUTS, OfflineScore, Totals
from climsim.evaluation.score import Subject, register


class _OfEnsemble(OfflineScore):
    subjects = SCORED_OUTPUTS
    statistics = (ENSEMBLE,)
    dims = ("level",)
    weights = "samples"


class _Crps(_OfEnsemble):
    long_name = "continuous ranked probability score of the ensemble: {what}"
    estimator: ClassVar[str]

    def values(self, state: Totals, subject: Subject) -> Array:
        sums, which = state[ENSEMBLE], list(CRPS_PAIRS).index(self.estimator)
        return sums.crps[which, state.slice(subject)] / sums.count


@register
class Crps(_Crps):
    """Continuous ranked probability score of an ensemble (``members=[...]``, further model files).

    The other scores of an ensemble are of its mean.
    """

    name = "crps_{output}"
    label = "CRPS"
    estimator = "empirical"
    comment = "of the empirical distribution: sum over pairs / (2 m^2)"


@register
class PublishedCrps(_Crps):
    """The same in ClimSim's published form."""

    name = "crps_published_{output}"
    label = "CRPS, published"
    estimator = "published"
    comment = "published form: sum over pairs / (2 m (m - 1)^2)"


@register
class FairCrps(_Crps):
    """The same by the fair estimator, which does not depend on the number of members."""

    name = "crps_fair_{output}"
    label = "CRPS, fair"
    estimator = "fair"
    comment = "fair: sum over pairs / (2 m (m - 1))"


@register
class Spread(_OfEnsemble):
    """Root mean variance over the members of an ensemble."""

    name = "spread_{output}"
    label = "spread"
    long_name = "root mean variance over members: {what}"

    def values(self, state: Totals, subject: Subject) -> Array:
        sums = state[ENSEMBLE]
        return np.sqrt(sums.variance[state.slice(subject)] / sums.count)
