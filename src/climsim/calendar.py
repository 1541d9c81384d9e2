"""Time stamps of the noleap calendar as whole seconds, which compare and subtract exactly."""

from __future__ import annotations

import re

import cftime

from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError

CALENDAR = "noleap"
TIME_UNITS = "seconds since 0001-01-01 00:00:00"
_DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DATE = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")


def to_seconds(date: cftime.DatetimeNoLeap) -> int:
    """Seconds from 0001-01-01 00:00 to a noleap date."""
    return int(cftime.date2num(date, TIME_UNITS, calendar=CALENDAR))


def to_date(seconds: int) -> cftime.DatetimeNoLeap:
    """Date at a number of seconds after 0001-01-01 00:00."""
    return cftime.num2date(int(seconds), TIME_UNITS, calendar=CALENDAR)


def seconds_of(year: int, month: int, day: int, second: int = 0) -> int:
    """Seconds from 0001-01-01 00:00 to a day of the noleap calendar.

    Raises:
        ValueError: if the calendar has no such day or second.
    """
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS_IN_MONTH[month - 1]:
        raise ValueError(f"no day {year:04d}-{month:02d}-{day:02d} in the noleap calendar")
    if not 0 <= second < SECONDS_PER_DAY:
        raise ValueError(f"second of the day {second} outside 0..86399")
    days = 365 * (year - 1) + sum(_DAYS_IN_MONTH[: month - 1]) + day - 1
    return days * SECONDS_PER_DAY + second


def parse_period(text: str, key: str) -> tuple[int, int]:
    """Bounds of a period such as ``0001-02/0008-01`` or ``0001-02-03/0001-02-05``.

    Args:
        text: first and last month or day, both included; one alone is a period of its own.
        key: configuration key, for the error.

    Returns:
        Seconds of the beginning, and of the first moment after the end.

    Raises:
        ClimSimError: if the text is no period or ends before it begins.
    """
    first, _, last = text.partition("/")
    start, stop = _bounds(first, key)[0], _bounds(last or first, key)[1]
    if stop <= start:
        raise ClimSimError(f"{key}={text}: the period ends before it begins: swap the two dates")
    return start, stop


def _bounds(text: str, key: str) -> tuple[int, int]:
    match = _DATE.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError("neither YYYY-MM nor YYYY-MM-DD")
        year, month = int(match[1]), int(match[2])
        start = seconds_of(year, month, int(match[3] or 1))
        days = 1 if match[3] else _DAYS_IN_MONTH[month - 1]
    except ValueError as error:
        raise ClimSimError(
            f"{key}={text}: {error}: write a period such as 0001-02/0008-01 or "
            "0001-02-03/0001-02-05"
        ) from error
    return start, start + days * SECONDS_PER_DAY
