"""A climate model of four columns whose air relaxes to a profile that follows the hours of the day.

It computes in no time, so that a whole study runs on it.
"""

import numpy as np

from climsim.hosts.base import StepResult
from climsim.variables import OUTPUTS
from tests.online.one_file_host import COLUMNS, LEVELS, Room

_TIME = 6 * 3600.0
"""Of the relaxation [s]."""


class Weather(Room):
    name, source = "weather", "four columns that relax"

    def physics(self):
        warmest = np.linspace(210.0, 290.0, LEVELS)[:, None]
        hour = 2 * np.pi * (self.step_number / 72 + np.arange(COLUMNS) / COLUMNS)
        tendencies = {n: np.zeros((LEVELS, COLUMNS)) for n in OUTPUTS.profiles}
        tendencies["ptend_t"] = (warmest + 5 * np.cos(hour) - self.temperature) / _TIME
        surface = {n: 1.0 + np.cos(hour) for n in OUTPUTS.scalars}
        return StepResult(self.date, self.inputs(), tendencies, surface)


def build_host(options):
    return Weather(warmth=0.0)
