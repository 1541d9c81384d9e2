"""What a network sees beside the state itself: humidity, condensate, phase and location."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from climsim.arrays import Array, Fields, as_array, like
from climsim.physics.condensate import quantity
from climsim.physics.thermodynamics import liquid_fraction, relative_humidity


def derived_inputs(fields: Mapping[str, Array], latitude: Array) -> Fields:
    """Inputs that follow from the state before physics and the place.

    Args:
        fields: state before physics, profiles (level, column).
        latitude: (column,) [degrees north].

    Returns:
        ``state_rh`` [1], ``state_qn`` [kg kg-1], ``liq_partition`` [1], ``clat`` and ``slat`` [1],
        ``icol``, the number of the column from 1.
    """
    radians, temperature = np.deg2rad(latitude), as_array(fields["state_t"])
    return {
        "state_rh": relative_humidity(fields["state_q0001"], temperature, fields["state_pmid"]),
        "state_qn": quantity(fields, "state_qn"),
        "liq_partition": liquid_fraction(temperature),
        "clat": like(np.cos(radians), temperature),
        "slat": like(np.sin(radians), temperature),
        "icol": like(np.arange(1, np.size(latitude) + 1, dtype=np.float64), temperature),
    }
