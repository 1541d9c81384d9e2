"""Streams of the history: monthly, daily and hourly means, and how their files are cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cftime import DatetimeNoLeap as Date

from climsim.runs.fields import HOURLY_FIELDS


@dataclass(frozen=True)
class StreamKind:
    """How a stream averages and how its files are cut.

    Attributes:
        period: key of the averaging period that a date lies in.
        file: key of the file that a date belongs to, as its name spells it.
        fields: names of the fields it holds by default; empty means all.
    """

    period: Callable[[Date], tuple[int, ...]]
    file: Callable[[Date], str]
    fields: tuple[str, ...] = ()


def _month_name(date: Date) -> str:
    return f"{date.year:04d}-{date.month:02d}"


def _day_name(date: Date) -> str:
    return f"{date.year:04d}-{date.month:02d}-{date.day:02d}-00000"


STREAMS: dict[str, StreamKind] = {
    "h0": StreamKind(lambda d: (d.year, d.month), _month_name),
    "h1": StreamKind(lambda d: (d.year, d.month, d.day), _day_name),
    "h2": StreamKind(lambda d: (d.year, d.month, d.day, d.hour), _day_name, HOURLY_FIELDS),
}
"""Monthly, daily and hourly means, by E3SM's stream names."""
