"""Physical and numerical constants, each with its unit and origin.

Constants of the data set and of E3SM's emulator come from Yu et al. 2023 and Hu et al. 2025;
values marked CIME are those of E3SM's shared constants (``shr_const_mod``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TIME_STEP: Final = 1200.0
"""Physics time step of E3SM-MMF and of the embedded model [s]."""
DAYS_PER_YEAR: Final = 365
"""Days in a year of the calendar without leap years, which E3SM uses [1]."""
SECONDS_PER_DAY: Final = 86400
"""Length of a day [s]."""
MM_PER_DAY: Final = 1000.0 * SECONDS_PER_DAY
"""A rate of rain of 1 m/s [mm/day]."""
STEPS_PER_DAY: Final = int(SECONDS_PER_DAY / TIME_STEP)
"""Physics steps in a day [1]."""
REFERENCE_PRESSURE: Final = 1.0e5
"""P0 of the hybrid coordinate [Pa] (grid file)."""
MEAN_TEMPERATURE: Final = 250.0
"""Mass-weighted mean temperature of the atmosphere, rounded [K]."""
GRAVITY: Final = 9.80616
"""Acceleration of gravity [m s-2] (CIME)."""
DRY_AIR_HEAT_CAPACITY: Final = 1004.64
"""Specific heat of dry air at constant pressure [J kg-1 K-1] (CIME)."""
VAPORIZATION_HEAT: Final = 2.501e6
"""Latent heat of vaporization at 0 degC [J kg-1] (CIME)."""
FUSION_HEAT: Final = 3.337e5
"""Latent heat of fusion [J kg-1] (CIME)."""
WATER_DENSITY: Final = 1000.0
"""Density of liquid water [kg m-3] (CIME)."""
DRY_AIR_GAS_CONSTANT: Final = 287.0
"""Rd as used in ClimSim's relative humidity [J kg-1 K-1]."""
VAPOUR_GAS_CONSTANT: Final = 461.0
"""Rv as used in ClimSim's relative humidity [J kg-1 K-1]."""
FREEZING_TEMPERATURE: Final = 273.16
"""Origin of the saturation polynomials [K] (SAM)."""
ALL_ICE_TEMPERATURE: Final = 253.16
"""Condensate is all ice at and below this temperature [K] (SAM, single moment)."""
MIXED_PHASE_RANGE: Final = 20.0
"""Width of the range of temperature in which liquid and ice coexist [K] (SAM)."""
FILL_THRESHOLD: Final = 1.0e29
"""Values above are fill values (``cam_in_SNOWHICE`` holds 1e30 off sea ice) [1]."""
N_LEVELS: Final = 60
"""Levels of E3SM-MMF: the default of every level count in this package [1]."""
PRUNED_LEVELS: Final = 12
"""Top levels without moisture and wind tendencies in training and online [1]."""
EXPORT_ZERO_LEVELS: Final = 15
"""Top levels in which the exported model predicts no qv, qn, u, v tendency [1]."""
QN_ZERO_LEVELS: Final = 15
"""Top levels in which the transformed cloud condensate input is zero [1]."""


@dataclass(frozen=True)
class PhysicalConstants:
    """Constants that the physics of one climate model computes with; E3SM's unless declared.

    The definitions of the data set (saturation, liquid fraction) are no part of it: a network has
    to see the same relative humidity on every host.

    Attributes:
        gravity: acceleration of gravity [m s-2].
        dry_air_heat_capacity: specific heat of dry air at constant pressure [J kg-1 K-1].
        vaporization_heat: latent heat of vaporization at 0 degC [J kg-1].
        fusion_heat: latent heat of fusion [J kg-1].
        water_density: density of liquid water [kg m-3].
        dry_air_gas_constant: of dry air [J kg-1 K-1].
        vapour_gas_constant: of water vapour [J kg-1 K-1].
    """

    gravity: float = GRAVITY
    dry_air_heat_capacity: float = DRY_AIR_HEAT_CAPACITY
    vaporization_heat: float = VAPORIZATION_HEAT
    fusion_heat: float = FUSION_HEAT
    water_density: float = WATER_DENSITY
    dry_air_gas_constant: float = DRY_AIR_GAS_CONSTANT
    vapour_gas_constant: float = VAPOUR_GAS_CONSTANT


E3SM: Final = PhysicalConstants()
"""The constants of E3SM, hence of the published data and of the scores of its papers."""
