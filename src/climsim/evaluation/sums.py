"""Sums that merge by ``+``, and the statistics that make them of one part of the data.

A statistic is computed once for a part of the data, whatever number of scores uses it; the sums of
all parts merge into those of the whole, and a score is a formula on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from climsim.errors import ClimSimError


class Mergeable(Protocol):
    """What two parts of the data say, merged by ``+``."""

    def __add__(self, other: Self, /) -> Self:
        """The sums of both parts."""
        ...


class Sums:
    """Base of frozen dataclasses whose fields are plain sums over samples."""

    def __add__(self, other: Self, /) -> Self:
        """Field by field."""
        names = [field.name for field in fields(cast(Any, self))]
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in names))


Part = TypeVar("Part")
Kind = TypeVar("Kind", bound=Mergeable, covariant=True)


@dataclass(frozen=True)
class Statistic(Generic[Part, Kind]):
    """Sums that scores are formulas on.

    Attributes:
        name: unique among the statistics of one kind of data; equal names are computed once.
        of: the sums of one part of the data; None where it does not hold what they are of.
    """

    name: str
    of: Callable[[Part], Kind | None]


@dataclass(frozen=True)
class Accumulator(Generic[Part]):
    """Sums by the name of their statistic, merged by ``+``; the one without sums is the zero.

    Attributes:
        sums: of each statistic for which there was data.
    """

    sums: Mapping[str, Mergeable]

    @classmethod
    def zero(cls) -> Accumulator[Part]:
        """The sums of no data."""
        return cls({})

    @classmethod
    def of(cls, part: Part, statistics: Iterable[Statistic[Part, Mergeable]]) -> Accumulator[Part]:
        """The sums of one part of the data, each statistic computed once.

        Raises:
            ClimSimError: if two different statistics have one name.
        """
        by_name: dict[str, Statistic[Part, Mergeable]] = {}
        for statistic in statistics:
            if by_name.setdefault(statistic.name, statistic) != statistic:
                raise ClimSimError(
                    f"statistic {statistic.name!r}: defined twice: give one another name"
                )
        found = {name: statistic.of(part) for name, statistic in by_name.items()}
        return cls({name: value for name, value in found.items() if value is not None})

    def __add__(self, other: Accumulator[Part], /) -> Accumulator[Part]:
        merged = dict(self.sums)
        for name, value in other.sums.items():
            merged[name] = merged[name] + value if name in merged else value
        return Accumulator(merged)

    def __contains__(self, statistic: Statistic[Part, Mergeable]) -> bool:
        return statistic.name in self.sums

    def __getitem__(self, statistic: Statistic[Part, Kind]) -> Kind:
        return cast(Kind, self.sums[statistic.name])
