"""What a network sees beside the state itself: humidity, condensate, phase and location."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from climsim.arrays import Array, Fields, as_array, like
from climsim.physics.condensate import quantity
from climsim.physics.thermodynamics import liquid_fraction, relative_humidity


def derived_inputs(fields: Mapping[str, Array], latitude: Array, members: int = 1) -> Fields:
    """Inputs that follow from the state before physics and the place.

    Args:
        fields: state before physics, profiles (level, column).
        latitude: (column,) [degrees north].
        members: of a climate model, whose columns lie side by side in the fields.

    Returns:
        ``state_rh`` [1], ``state_qn`` [kg kg-1], ``liq_partition`` [1], ``clat`` and ``slat`` [1],
        ``icol``, the number of the column from 1.
    """
    numbers = np.arange(1, np.size(latitude) + 1, dtype=np.float64)
    radians, temperature = np.deg2rad(latitude), as_array(fields["state_t"])
    return {
        "state_rh": relative_humidity(fields["state_q0001"], temperature, fields["state_pmid"]),
        "state_qn": quantity(fields, "state_qn"),
        "liq_partition": liquid_fraction(temperature),
        "clat": like(np.tile(np.cos(radians), members), temperature),
        "slat": like(np.tile(np.sin(radians), members), temperature),
        "icol": like(np.tile(numbers, members), temperature),
    }
