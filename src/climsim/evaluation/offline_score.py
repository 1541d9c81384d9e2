"""What the scores of offline evaluation are formulas on, and what they are of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array
from climsim.evaluation.block import NON_FINITE, STEPS, Block
from climsim.evaluation.metrics import PairStatistics, ratio, sums_by_group
from climsim.evaluation.outputs import SCORED
from climsim.evaluation.regions import BANDS, N_BINS, band_members, latitude_bin
from climsim.evaluation.score import Score, Subject, Subjects, scores_of
from climsim.evaluation.sums import Accumulator, Kind, Statistic
from climsim.grid import ColumnGrid
from climsim.variables import TARGETS

SCORED_OUTPUTS: Final = Subjects.of_variables("output", SCORED.names)
"""All outputs, and the condensate."""
SCORED_TENDENCIES: Final = Subjects.of_variables("output", SCORED.profiles)
"""Those with levels."""
SCORED_TARGETS: Final = Subjects.of_variables("target", TARGETS.names)
"""What a network is trained on."""
PERCENTILE_EDGES: Final = (0.0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.9, 100)
"""Edges of the percentile bins of precipitation [%]."""
RAIN_DECILES: Final = ("no rain", *(f"{low}-{low + 10}" for low in range(0, 100, 10)))
"""No rain, and the deciles of active rain [%]."""


@dataclass(frozen=True)
class Totals:
    """The sums of a whole split, as formulas want them.

    Attributes:
        sums: by statistic.
        grid: the columns and levels.
    """

    sums: Accumulator[Block]
    grid: ColumnGrid
    _merged: dict[str, PairStatistics] = field(default_factory=dict, repr=False)

    def __getitem__(self, statistic: Statistic[Block, Kind]) -> Kind:
        return self.sums[statistic]

    @property
    def samples(self) -> int:
        """Number of samples: steps times columns."""
        return int(self[STEPS].count * self.grid.n_columns)

    def slice(self, subject: Subject) -> slice:
        """Where an output lies on the feature axis of the sums."""
        return SCORED.slice(subject.name, self.grid.n_levels)

    def all_columns(self, statistic: Statistic[Block, PairStatistics]) -> PairStatistics:
        """Sums (feature,) over all columns."""
        if statistic.name not in self._merged:
            self._merged[statistic.name] = self[statistic].pooled()
        return self._merged[statistic.name]

    def pooled(
        self, statistic: Statistic[Block, PairStatistics], subject: Subject
    ) -> PairStatistics:
        """Sums (level,) of an output over all columns."""
        return self.all_columns(statistic).part(self.slice(subject))

    def by_column(
        self, statistic: Statistic[Block, PairStatistics], subject: Subject
    ) -> PairStatistics:
        """Sums (column or surface, level) of an output."""
        return self[statistic].part(self.slice(subject))

    def by_band(self, statistic: Statistic[Block, PairStatistics]) -> PairStatistics:
        """Sums (band, feature) over the columns in each of `BANDS`."""
        key = f"{statistic.name} by band"
        if key not in self._merged:
            bands = band_members(self.grid.lat, BANDS)
            labels = np.where(bands.any(axis=0), bands.argmax(axis=0), -1)
            self._merged[key] = self[statistic].grouped(labels, len(BANDS))
        return self._merged[key]

    def zonal(self, values: Array, undefined: NDArray[np.bool_] | None = None) -> Array:
        """Area-weighted mean (latitude, ...) of values (column, ...).

        Args:
            values: of each column; one that is NaN makes its latitude NaN.
            undefined: which of them are left out, same shape; none if not given.
        """
        bins, shape = latitude_bin(self.grid.lat), np.shape(values)
        area = np.broadcast_to(self.grid.area.reshape(-1, *[1] * (len(shape) - 1)), shape)
        if undefined is not None:
            area, values = (np.where(undefined, 0.0, x) for x in (area, values))
        total, weight = (sums_by_group(x, bins, N_BINS) for x in (area * values, area))
        return ratio(total, weight)

    def by_latitude(self, sums: PairStatistics) -> PairStatistics:
        """Sums (column, ...) merged to (latitude, ...)."""
        return sums.grouped(latitude_bin(self.grid.lat), N_BINS)


class OfflineScore(Score[Totals]):
    """A score of offline evaluation."""


def accumulate(block: Block) -> Accumulator[Block]:
    """The sums of a block that all registered scores need."""
    needed = [s for score in scores_of(OfflineScore) for s in score.statistics]
    return Accumulator.of(block, [STEPS, NON_FINITE, *needed])
