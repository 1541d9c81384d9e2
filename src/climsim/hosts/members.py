"""Members of one climate model that are stepped together, their columns side by side.

A network, the coupler and the history treat columns one by one: so many members cost them one
call. Fields of all members are (level, member x column) or (member x column,), the columns of the
first member first; grids, restart files and reports are those of single members.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import cftime
from numpy.typing import NDArray

from climsim.arrays import Array, Constant, Fields, double, namespace
from climsim.errors import ClimSimError
from climsim.hosts.base import HealthReport, SteppedHost, StepResult


class Members(Protocol):
    """One or more members, each a state of the same climate model."""

    @property
    def count(self) -> int:
        """Number of members."""
        ...

    @property
    def date(self) -> cftime.DatetimeNoLeap:
        """Beginning of the coming step of all members.

        Raises:
            ClimSimError: if they are at several dates.
        """
        ...

    @property
    def dates(self) -> tuple[cftime.DatetimeNoLeap, ...]:
        """Beginning of the coming step of each member."""
        ...

    def member(self, index: int) -> SteppedHost:
        """One member: its grid and declaration; to perturb, save and restore it."""
        ...

    def inputs(self) -> Fields:
        """State before physics and boundary inputs of the coming step."""
        ...

    def physics(self) -> StepResult:
        """The hosts' own physics at the present states, without advancing."""
        ...

    def step_physics(self) -> StepResult:
        """Advance every member one step with the host's own physics."""
        ...

    def step_emulated(self, tendencies: Fields, surface: Fields) -> StepResult:
        """Advance every member one step with the emulated term replaced by the arrays given."""
        ...

    def health(self) -> tuple[HealthReport | None, ...]:
        """The worst violation of bounds in the present state of each member, or None."""
        ...


def another(host: SteppedHost) -> SteppedHost:
    """A host like this one, at its present state: by its method `another`, or a deep copy."""
    make = getattr(host, "another", None)
    made: SteppedHost = copy.deepcopy(host) if make is None else make()
    return made


def members_of(hosts: Sequence[SteppedHost], *, by_physics: bool = False) -> Members:
    """Members of a climate model, stepped together where the host knows how.

    Args:
        hosts: built alike; at one date unless their own physics steps them.
        by_physics: whether nothing else steps them.

    Returns:
        What the host's method `together` makes of both, if it has one; else members apart.
    """
    together = getattr(hosts[0], "together", None)
    made: Members = SeparateMembers(hosts) if together is None else together(hosts, by_physics)
    return made


def one_date(dates: Iterable[cftime.DatetimeNoLeap]) -> cftime.DatetimeNoLeap:
    """The date that members share.

    Raises:
        ClimSimError: if they are at several dates.
    """
    found = set(dates)
    if len(found) > 1:
        raise ClimSimError(
            "members: expected one date, found "
            f"{', '.join(sorted(date.isoformat() for date in found))}: start them alike"
        )
    return found.pop()


class SeparateMembers:
    """Members that are hosts of their own, each stepped by itself.

    Args:
        hosts: built alike.
    """

    def __init__(self, hosts: Sequence[SteppedHost]) -> None:
        self._hosts = tuple(hosts)

    @property
    def count(self) -> int:
        """Number of members."""
        return len(self._hosts)

    @property
    def date(self) -> cftime.DatetimeNoLeap:
        """Beginning of the coming step of all members.

        Raises:
            ClimSimError: if they are at several dates.
        """
        return one_date(self.dates)

    @property
    def dates(self) -> tuple[cftime.DatetimeNoLeap, ...]:
        """Beginning of the coming step of each member."""
        return tuple(host.date for host in self._hosts)

    def member(self, index: int) -> SteppedHost:
        """One member."""
        return self._hosts[index]

    def inputs(self) -> Fields:
        """State before physics and boundary inputs of the coming step."""
        return side_by_side([host.inputs() for host in self._hosts])

    def physics(self) -> StepResult:
        """The hosts' own physics at the present states, without advancing."""
        return joined([host.physics() for host in self._hosts])

    def step_physics(self) -> StepResult:
        """Advance every member one step with the host's own physics."""
        return joined([host.step_physics() for host in self._hosts])

    def step_emulated(self, tendencies: Fields, surface: Fields) -> StepResult:
        """Advance every member one step with the emulated term replaced by the arrays given."""
        return joined(
            [
                host.step_emulated(
                    of_member(tendencies, index, self.count), of_member(surface, index, self.count)
                )
                for index, host in enumerate(self._hosts)
            ]
        )

    def health(self) -> tuple[HealthReport | None, ...]:
        """The worst violation of bounds in the present state of each member, or None."""
        return tuple(host.health() for host in self._hosts)


def columns_of(index: int, count: int, columns: int) -> slice:
    """Which of the columns of all members are those of one.

    Args:
        index: of the member.
        count: number of members.
        columns: of all of them.
    """
    width = columns // count
    return slice(index * width, (index + 1) * width)


def of_member(fields: Mapping[str, Array], index: int, count: int) -> Fields:
    """Fields of one member, from fields whose last axis holds the columns of all."""
    if count == 1:
        return dict(fields)
    return {n: x[..., columns_of(index, count, x.shape[-1])] for n, x in fields.items()}


def side_by_side(fields: Sequence[Fields]) -> Fields:
    """Fields of all members, from those of each; a field that one of them lacks is left out."""
    first = fields[0]
    names = [name for name in first if all(name in other for other in fields)]
    if len(fields) == 1 or not names:
        return first
    xp = namespace(first[names[0]])
    return {name: xp.concat([f[name] for f in fields], axis=-1) for name in names}


def joined(results: Sequence[StepResult]) -> StepResult:
    """What a step of all members saw and did, from what it was for each."""
    if len(results) == 1:
        return results[0]
    return StepResult(
        date=results[0].date,
        inputs=side_by_side([r.inputs for r in results]),
        tendencies=side_by_side([r.tendencies for r in results]),
        surface=side_by_side([r.surface for r in results]),
        diagnostics=side_by_side([r.diagnostics for r in results]),
    )


@dataclass(frozen=True)
class MemberTable:
    """Numbers of every member, still on the device where they were computed.

    Attributes:
        names: of the numbers.
        values: (number, member), None where there are none.
    """

    names: tuple[str, ...]
    values: Array | None


def means_of_members(
    fields: Mapping[str, Array], count: int, weights: Constant | None = None
) -> MemberTable:
    """Means over levels and columns, by member and name.

    Args:
        fields: (level, member x column) or (member x column,) by name.
        count: number of members.
        weights: (column,) of one member; None for equal ones.
    """

    def means(by_member: Array) -> Array:
        weighted = by_member if weights is None else by_member * weights.like(by_member)
        result: Array = namespace(weighted).mean(weighted, axis=_levels_and_columns(weighted))
        return result

    return _table(fields, count, means)


def sums_of_members(fields: Mapping[str, NDArray[Any]], count: int) -> MemberTable:
    """Sums over levels and columns, by member and name; see `means_of_members`."""

    def sums(by_member: Array) -> Array:
        result: Array = namespace(by_member).sum(by_member, axis=_levels_and_columns(by_member))
        return result

    return _table(fields, count, sums)


def _levels_and_columns(by_member: Array) -> tuple[int, ...]:
    return (*range(1, by_member.ndim - 2), by_member.ndim - 1)


def _table(
    fields: Mapping[str, NDArray[Any]], count: int, reduced: Callable[[Array], Array]
) -> MemberTable:
    """Reduce (number, ..., member, column) to (number, member), many scalars in one call."""
    parts = []
    for scalars, group in groupby(map(double, fields.values()), lambda values: values.ndim == 1):
        values = list(group)
        xp = namespace(values[0])
        for block in [xp.stack(values)] if scalars else [profile[None] for profile in values]:
            parts.append(reduced(xp.reshape(block, (*block.shape[:-1], count, -1))))
    return MemberTable(tuple(fields), namespace(parts[0]).concat(parts) if parts else None)
