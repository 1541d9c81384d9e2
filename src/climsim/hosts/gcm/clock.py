"""Dates as the compiled programs of the embedded model take them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cftime
import numpy as np
from numpy.typing import NDArray

from climsim.constants import TIME_STEP

if TYPE_CHECKING:
    import jax
    from jcm.date import DateData

_REFERENCE_YEAR = 2001
"""A Gregorian year without a leap day: noleap dates are mapped onto it."""


class DeviceClock(NamedTuple):
    """A date, or one of each member, as the compiled programs take it.

    Attributes:
        day: since 1970.
        second: of the day.
    """

    day: np.int32 | NDArray[np.int32] | jax.Array
    second: np.int32 | NDArray[np.int32] | jax.Array


def device_clock(date: cftime.DatetimeNoLeap) -> DeviceClock:
    """Days since 1970 and seconds of day of a noleap date, as int32 arrays.

    The year is replaced by a year without a leap day: the boundary climatology
    repeats and the orbit depends on the fraction of the year alone.
    """
    day = datetime.date(_REFERENCE_YEAR, date.month, date.day) - datetime.date(1970, 1, 1)
    seconds = date.hour * 3600 + date.minute * 60 + date.second
    return DeviceClock(np.int32(day.days), np.int32(seconds))


def device_clocks(dates: Sequence[cftime.DatetimeNoLeap]) -> DeviceClock:
    """The clocks of several members, (member,)."""
    clocks = [device_clock(date) for date in dates]
    return DeviceClock(
        np.array([clock.day for clock in clocks], np.int32),
        np.array([clock.second for clock in clocks], np.int32),
    )


def date_data(clock: DeviceClock) -> DateData:
    """jcm's per-step date from the integers of a clock."""
    import jax.numpy as jnp
    import jax_datetime
    from jcm.date import DateData

    moment = jax_datetime.Datetime(jax_datetime.Timedelta(days=clock.day, seconds=clock.second))
    return DateData(dt=moment, model_step=jnp.int32(0), dt_seconds=TIME_STEP)
