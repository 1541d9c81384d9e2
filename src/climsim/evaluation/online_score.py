"""What the scores of online evaluation are formulas on, and what they are of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Final

from climsim.arrays import Array, Fields
from climsim.evaluation.online_run import (
    CONFIDENCE,
    FIELDS,
    PROFILES,
    SERIES,
    SURFACE,
    TimeMean,
    mass_weights,
    series_fields,
)
from climsim.evaluation.precipitation import PrecipitationCounts
from climsim.evaluation.regions import zonal_mean
from climsim.evaluation.score import Score, State, Subject, Subjects, scores_of
from climsim.grid import ColumnGrid

FIRST_DAYS: Final = 31
"""Daily means that count as the first month [1]."""
UNRELATED_DAYS: Final = 5
"""Between two states of a run that hardly have weather in common [days]."""
PROFILE_FIELDS: Final = Subjects(
    "profile", tuple(Subject(name, *words, profile=True) for name, words in PROFILES.items())
)
SURFACE_FIELDS: Final = Subjects(
    "surface_field", tuple(Subject(name, *words) for name, words in SURFACE.items())
)
LOSSES: Final = Subjects(
    "loss", tuple(Subject(name, "1", what, profile=True) for name, what in CONFIDENCE.items())
)
QUANTITIES: Final = Subjects(
    "quantity", tuple(Subject(name, *words) for name, words in SERIES.items())
)


@dataclass(frozen=True)
class PeriodMeans:
    """Means of a run over one period, and of the reference over the same.

    Attributes:
        run: fields of the run, (level, column) or (column,).
        reference: fields of the reference; empty for the reference itself, and where it has none.
        grid: columns and levels.
    """

    run: Fields
    reference: Fields
    grid: ColumnGrid

    @cached_property
    def series(self) -> Fields:
        """Quantities of `SERIES` of the run (column,)."""
        return series_fields(self.run, self.grid)

    @cached_property
    def mass(self) -> Array | None:
        """Weights (level, column) by the layer mass of the run."""
        return mass_weights(self.grid, self.run["PS"]) if "PS" in self.run else None

    @cached_property
    def reference_mass(self) -> Array | None:
        """Weights (level, column) by the layer mass of the reference."""
        return mass_weights(self.grid, self.reference["PS"]) if "PS" in self.reference else None


@dataclass(frozen=True)
class TimeMeans:
    """Time means of a run and of the reference over the periods that both have.

    Attributes:
        mean: the means.
        grid: columns and levels.
    """

    mean: TimeMean
    grid: ColumnGrid
    _zonal: dict[tuple[str, bool], Array] = field(default_factory=dict, repr=False)

    def pair(self, subject: Subject) -> tuple[Array, Array] | None:
        """A field of the run and of the reference; None where one lacks it."""
        run, reference = self.mean.run, self.mean.reference
        if subject.name not in run or subject.name not in reference:
            return None
        return run[subject.name], reference[subject.name]

    @cached_property
    def mass(self) -> Array | None:
        """Weights (level, column) by the layer mass of the reference."""
        reference = self.mean.reference
        return mass_weights(self.grid, reference["PS"]) if "PS" in reference else None

    def zonal(self, name: str, reference: bool = False) -> Array:
        """Zonal mean (..., latitude) of a field of the run, or of the reference.

        Fields with levels may leave the first month out, see `Definitions`.
        """
        if (name, reference) not in self._zonal:
            mean = self.mean
            later, whole = (
                (mean.later_reference, mean.reference) if reference else (mean.later_run, mean.run)
            )
            side = later if name in later else whole
            self._zonal[name, reference] = zonal_mean(side[name], self.grid.lat, self.grid.area)
        return self._zonal[name, reference]


class OnlineScore(Score[State]):
    """A score of online evaluation.

    Attributes:
        fields: fields of the history that it needs beside those that are always read.
        of_reference: whether it belongs to the reference alone and is saved once, not for each run.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    of_reference: ClassVar[bool] = False


class PeriodScore(OnlineScore[PeriodMeans]):
    """A score of each daily and monthly mean; ``time`` among its axes is ``day`` or ``month``.

    Attributes:
        shape: sizes of the axes before ``time``.
        saved_if_empty: whether it is saved where no mean of the run has it.
    """

    shape: ClassVar[tuple[int, ...]] = ()
    saved_if_empty: ClassVar[bool] = True


class FirstMonthScore(OnlineScore[PeriodMeans]):
    """A score of each daily mean of the first month; ``first_day`` is the first of its axes."""


class UnrelatedScore(OnlineScore[PeriodMeans]):
    """A score of pairs of daily means of the reference, `UNRELATED_DAYS` apart.

    Its root mean square over the pairs is saved. Errors of daily means grow up to it in any run,
    however good: it is how far two states of one climate are apart that share no weather.
    """

    of_reference = True


class TimeMeanScore(OnlineScore[TimeMeans]):
    """A score of the time mean."""


class PrecipitationScore(OnlineScore[PrecipitationCounts]):
    """A score of the distribution of precipitation."""

    comment = "{samples}"


def fields_read() -> tuple[str, ...]:
    """Fields of the history that are read: those compared, and what further scores need."""
    scores = scores_of(OnlineScore)
    return tuple(dict.fromkeys([*FIELDS, *(name for score in scores for name in score.fields)]))
