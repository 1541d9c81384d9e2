"""What a network sees beside the state itself: humidity, condensate, phase and location."""

from __future__ import annotations

from collections.abc import Mapping

from climsim.arrays import Array, Fields, as_array
from climsim.grid import place_features
from climsim.physics.condensate import quantity
from climsim.physics.thermodynamics import liquid_fraction, relative_humidity


def state_features(fields: Mapping[str, Array]) -> Fields:
    """Inputs that follow from the state before physics.

    Args:
        fields: state before physics, profiles (level, column).

    Returns:
        ``state_rh`` [1], ``state_qn`` [kg kg-1], ``liq_partition`` [1].
    """
    temperature = as_array(fields["state_t"])
    return {
        "state_rh": relative_humidity(fields["state_q0001"], temperature, fields["state_pmid"]),
        "state_qn": quantity(fields, "state_qn"),
        "liq_partition": liquid_fraction(temperature),
    }


def derived_inputs(fields: Mapping[str, Array], latitude: Array) -> Fields:
    """Inputs that follow from the state before physics and the place, on arrays of NumPy.

    Args:
        fields: state before physics, profiles (level, column).
        latitude: (column,) [degrees north].

    Returns:
        Those of `state_features` and of `climsim.grid.place_features`.
    """
    return {**state_features(fields), **place_features(latitude)}
