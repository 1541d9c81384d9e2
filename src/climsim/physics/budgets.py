"""Weighting of outputs to energy units, and the column budgets that tendencies should close.

Only the vertical coordinate and the constants of the model enter. The delivered surface fluxes of
heat and moisture are no part of the emulated tendencies. Fields are in float64 or float32; profiles
have the levels where `Columns` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from climsim.arrays import Array
from climsim.constants import PhysicalConstants
from climsim.physics.columns import Columns
from climsim.physics.condensate import total_water

_WATER: Final = ("ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_qn")
_PRECIPITATION: Final = ("cam_out_PRECSC", "cam_out_PRECC")


def energy_factor(name: str, constants: PhysicalConstants) -> float:
    """ClimSim's conversion of an output to energy; 1 for fluxes and for winds (Yu et al. 2023)."""
    if name == "ptend_t":
        return constants.dry_air_heat_capacity
    if name in _WATER:
        return constants.vaporization_heat
    if name in _PRECIPITATION:
        return constants.vaporization_heat * constants.water_density
    return 1.0


def energy_unit(name: str) -> str:
    """Unit of an output after ClimSim's weighting: a force per area for winds, else energy."""
    return "N m-2" if name in ("ptend_u", "ptend_v") else "W m-2"


def energy_weight(name: str, columns: Columns, area_weight: Array) -> Array:
    """Factor that turns an output into W/m2 of an average column (N/m2 for winds).

    Args:
        name: output, such as ``ptend_t`` or ``cam_out_PRECC``.
        columns: with the levels last.
        area_weight: (column,) area over its mean [1].

    Returns:
        (..., column, level) for a tendency, (column,) for a surface flux.
    """
    factor = energy_factor(name, columns.constants) * area_weight
    return columns.mass * factor[:, None] if name.startswith("ptend_") else factor


def moist_energy(fields: Mapping[str, Array], prefix: str, constants: PhysicalConstants) -> Array:
    """``cp T + Lv qv - Lf qi`` of a state [J kg-1] or of its tendencies [W kg-1].

    Without potential and kinetic energy.

    Args:
        fields: by name, of any shape.
        prefix: of the names, ``state_`` or ``ptend_``.
        constants: of the model.
    """
    return (
        constants.dry_air_heat_capacity * fields[f"{prefix}t"]
        + constants.vaporization_heat * fields[f"{prefix}q0001"]
        - constants.fusion_heat * fields[f"{prefix}q0003"]
    )


def column_water_residual(fields: Mapping[str, Array], columns: Columns) -> Array:
    """Water that the emulated physics creates in a column.

    ``sum((dqv + dqc + dqi) dp/g) + rho_w PRECC``: the emulated term loses water by precipitation
    alone, because the surface flux of moisture is delivered outside of it.

    Args:
        fields: outputs by name; tendencies [kg kg-1 s-1], rates (..., column) [m s-1].
        columns: that the tendencies act on.

    Returns:
        (..., column) [kg m-2 s-1], positive where water appears from nowhere.
    """
    rain = columns.constants.water_density * fields["cam_out_PRECC"]
    return columns.integral(total_water(fields, "ptend_")) + rain


def column_heating(fields: Mapping[str, Array], columns: Columns) -> Array:
    """Energy that the tendencies add to a column, less the fusion heat of snowfall.

    ``sum((cp dT + Lv dqv - Lf dqi) dp/g) - Lf rho_w PRECSC``: it equals the net radiation into the
    column when the physics conserves energy.

    Args:
        fields: outputs by name, see `column_water_residual`.
        columns: that the tendencies act on.

    Returns:
        (..., column) [W m-2].
    """
    constants = columns.constants
    snow = constants.fusion_heat * constants.water_density * fields["cam_out_PRECSC"]
    return columns.integral(moist_energy(fields, "ptend_", constants)) - snow


def surface_radiation(fields: Mapping[str, Array], longwave_up: Array) -> Array:
    """Net radiation into the surface ``NETSW + FLWDS - LWUP``, (..., column) [W m-2].

    Args:
        fields: outputs by name, fluxes (..., column) [W m-2].
        longwave_up: (..., column) upward longwave flux at the surface [W m-2].
    """
    return fields["cam_out_NETSW"] + fields["cam_out_FLWDS"] - longwave_up


def implied_top_radiation(
    fields: Mapping[str, Array], columns: Columns, longwave_up: Array
) -> Array:
    """Net downward radiation at the model top that tendencies imply by energy conservation.

    `column_heating` plus `surface_radiation`. No output says it directly, so prediction and truth
    are compared with each other.

    Args:
        fields: outputs by name, see `column_water_residual`; fluxes (..., column) [W m-2].
        columns: that the tendencies act on.
        longwave_up: (..., column) upward longwave flux at the surface [W m-2].

    Returns:
        (..., column) [W m-2], positive downward.
    """
    return column_heating(fields, columns) + surface_radiation(fields, longwave_up)
