"""Dates of a case, and how many jobs bring it from one of them to its end."""

from __future__ import annotations

from datetime import timedelta

from cftime import DatetimeNoLeap

from climsim.constants import SECONDS_PER_DAY
from climsim.hosts.e3sm.config import E3smConfig

_MONTHS = 12


def start_date(config: E3smConfig) -> DatetimeNoLeap:
    """Date that the case starts at."""
    year, month, day = (int(part) for part in config.reference_date.split("-"))
    return DatetimeNoLeap(year, month, day)


def end_date(config: E3smConfig) -> DatetimeNoLeap:
    """Date that the case ends at."""
    if config.days is not None:
        return _later(start_date(config), "ndays", config.days)
    return _later(start_date(config), "nmonths", config.months)


def days_wanted(config: E3smConfig) -> float:
    """Simulated days from start to end."""
    return float((end_date(config) - start_date(config)).total_seconds() / SECONDS_PER_DAY)


def stop_date(config: E3smConfig) -> int:
    """CIME's ``STOP_DATE``, yyyymmdd: where the last job ends though others are longer."""
    end = end_date(config)
    return (end.year * 100 + end.month) * 100 + end.day


def last_restart(config: E3smConfig, days: float) -> int:
    """Day of the last restart of a case that has come to a day; 0 for its start."""
    return int(days // config.restart_days) * config.restart_days if days else 0


def resubmissions(config: E3smConfig, days: float = 0.0) -> int:
    """Jobs after the next one, as CIME's ``RESUBMIT``.

    Args:
        config: of the case.
        days: simulated days that lie behind; the next job begins at the last restart before.
    """
    unit, length = config.stop
    begin = start_date(config) + timedelta(days=last_restart(config, days))
    end = end_date(config)
    jobs = 1
    while _later(begin, unit, jobs * length) < end:
        jobs += 1
    return jobs - 1


def _later(date: DatetimeNoLeap, unit: str, length: int) -> DatetimeNoLeap:
    """A date later by days or months; the day is cut to the length of the month, as CIME does."""
    if unit == "ndays":
        return date + timedelta(days=length)
    months = date.month - 1 + length
    first = DatetimeNoLeap(date.year + months // _MONTHS, months % _MONTHS + 1, 1)
    return first.replace(day=min(date.day, first.daysinmonth))
