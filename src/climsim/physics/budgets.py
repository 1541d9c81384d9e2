"""Weighting of outputs to energy units, and the column budgets that a prediction should close."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from climsim.arrays import Array
from climsim.constants import (
    DRY_AIR_HEAT_CAPACITY,
    FUSION_HEAT,
    VAPORIZATION_HEAT,
    WATER_DENSITY,
)

_WATER = ("ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_qn")
ENERGY_FACTOR: Final[dict[str, float]] = {
    "ptend_t": DRY_AIR_HEAT_CAPACITY,
    **dict.fromkeys(_WATER, VAPORIZATION_HEAT),
    "cam_out_PRECSC": VAPORIZATION_HEAT * WATER_DENSITY,
    "cam_out_PRECC": VAPORIZATION_HEAT * WATER_DENSITY,
}
"""ClimSim's conversion of an output to energy; 1 for fluxes and for winds (Yu et al. 2023)."""


def energy_unit(name: str) -> str:
    """Unit of an output after ClimSim's weighting: a force per area for winds, else energy."""
    return "N m-2" if name in ("ptend_u", "ptend_v") else "W m-2"


def energy_weight(name: str, layer_mass: Array, area_weight: Array) -> Array:
    """Factor that turns an output into W/m2 of an average column (N/m2 for winds).

    Args:
        name: output, such as ``ptend_t`` or ``cam_out_PRECC``.
        layer_mass: (..., column, level) ``dp/g`` [kg m-2].
        area_weight: (column,) area over its mean [1].

    Returns:
        (..., column, level) for a tendency, (column,) for a surface flux.
    """
    factor = ENERGY_FACTOR.get(name, 1.0) * area_weight
    return layer_mass * factor[:, None] if name.startswith("ptend_") else factor


def column_water_residual(fields: Mapping[str, Array], layer_mass: Array) -> Array:
    """Water that the emulated physics creates in a column.

    ``sum((dqv + dqc + dqi) dp/g) + rho_w PRECC``: the emulated term loses water by precipitation
    alone, because the surface flux of moisture is delivered outside of it.

    Args:
        fields: outputs by name; tendencies (..., column, level) [kg kg-1 s-1], rates (..., column)
            [m s-1].
        layer_mass: (..., column, level) ``dp/g`` [kg m-2].

    Returns:
        (..., column) [kg m-2 s-1], positive where water appears from nowhere.
    """
    water = fields["ptend_q0001"] + fields["ptend_q0002"] + fields["ptend_q0003"]
    return (water * layer_mass).sum(axis=-1) + WATER_DENSITY * fields["cam_out_PRECC"]


def implied_top_radiation(
    fields: Mapping[str, Array], layer_mass: Array, longwave_up: Array
) -> Array:
    """Net downward radiation at the model top that a prediction implies by energy conservation.

    ``d/dt (cp T + Lv qv - Lf qi) + (NETSW + FLWDS - LWUP) - Lf rho_w PRECSC``, vertically
    integrated. No output says it directly, so prediction and truth are compared with each other.

    Args:
        fields: outputs by name, see `column_water_residual`; fluxes (..., column) [W m-2].
        layer_mass: (..., column, level) ``dp/g`` [kg m-2].
        longwave_up: (..., column) upward longwave flux at the surface [W m-2].

    Returns:
        (..., column) [W m-2], positive downward.
    """
    heating = (
        DRY_AIR_HEAT_CAPACITY * fields["ptend_t"]
        + VAPORIZATION_HEAT * fields["ptend_q0001"]
        - FUSION_HEAT * fields["ptend_q0003"]
    )
    surface = fields["cam_out_NETSW"] + fields["cam_out_FLWDS"] - longwave_up
    snow = FUSION_HEAT * WATER_DENSITY * fields["cam_out_PRECSC"]
    return (heating * layer_mass).sum(axis=-1) + surface - snow
