"""Moist thermodynamics of ClimSim's features, on plain arrays.

Functions take and return arrays of any (broadcastable) shape in float64 or float32. Saturation and
the liquid fraction are definitions of the data set, the same for every model; what belongs to a
model's own atmosphere (heights, potential temperature) takes its constants.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from climsim.arrays import (
    Array,
    anywhere,
    as_array,
    at_least,
    between,
    double,
    namespace,
    numbers_like,
    sum_onwards,
)
from climsim.constants import (
    ALL_ICE_TEMPERATURE,
    DRY_AIR_GAS_CONSTANT,
    FREEZING_TEMPERATURE,
    MIXED_PHASE_RANGE,
    REFERENCE_PRESSURE,
    VAPOUR_GAS_CONSTANT,
    PhysicalConstants,
)

LIQUID_COEFFICIENTS = (
    6.11239921,
    0.443987641,
    0.142986287e-1,
    0.264847430e-3,
    0.302950461e-5,
    0.206739458e-7,
    0.640689451e-10,
    -0.952447341e-13,
    -0.976195544e-15,
)
ICE_COEFFICIENTS = (
    6.11147274,
    0.503160820,
    0.188439774e-1,
    0.420895665e-3,
    0.615021634e-5,
    0.602588177e-7,
    0.385852041e-9,
    0.146898966e-11,
    0.252751365e-14,
)
COLD_COEFFICIENTS = (0.00763685, 0.000151069, 7.48215e-7)
"""Saturation vapour pressure over ice below its polynomial [hPa]."""
ICE_POLYNOMIAL_TOP = 273.15
ICE_POLYNOMIAL_BOTTOM = 185.0
_PA_PER_HPA = 100.0


def liquid_fraction(temperature: ArrayLike) -> Array:
    """Fraction of cloud condensate that is liquid, by temperature alone.

    ``clip((T - 253.16 K) / 20 K, 0, 1)``, as in E3SM-MMF's single-moment microphysics.

    Args:
        temperature: [K].

    Returns:
        Fraction [1], same shape.
    """
    return between((as_array(temperature) - ALL_ICE_TEMPERATURE) / MIXED_PHASE_RANGE, 0.0, 1.0)


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """Value of a polynomial, the coefficient of the lowest power first (Horner's scheme)."""
    value = coefficients[-1] * x
    for coefficient in coefficients[-2:0:-1]:
        # In place: it is computed at every coupled step, and new arrays take half of its time.
        value += coefficient
        value *= x
    value += coefficients[0]
    return value


def saturation_pressure_liquid(temperature: ArrayLike) -> Array:
    """Saturation vapour pressure over liquid [Pa] (SAM polynomial, T - 273.16 K floored at -80)."""
    t = double(temperature)
    d = at_least(t - FREEZING_TEMPERATURE, -80.0)
    return _PA_PER_HPA * _polynomial(d, LIQUID_COEFFICIENTS)


def saturation_pressure_ice(temperature: ArrayLike) -> Array:
    """Saturation vapour pressure over ice [Pa].

    SAM's polynomial between 185 K and 273.15 K, a parabola below, the liquid value above.
    """
    t = double(temperature)
    return _over_ice(t, saturation_pressure_liquid(t))


def _over_ice(t: Array, over_liquid: Array) -> Array:
    """Saturation vapour pressure over ice [Pa], given that over liquid."""
    xp = namespace(t)
    d = t - FREEZING_TEMPERATURE
    ice, cold = _polynomial(d, ICE_COEFFICIENTS), t <= ICE_POLYNOMIAL_BOTTOM
    if anywhere(cold):
        ice = xp.where(cold, _polynomial(at_least(d, -100.0), COLD_COEFFICIENTS), ice)
    ice *= _PA_PER_HPA
    pressure: Array = xp.where(t > ICE_POLYNOMIAL_TOP, over_liquid, ice)
    return pressure


def saturation_humidity(temperature: ArrayLike, pressure: ArrayLike) -> Array:
    """Saturation humidity ``Rd e_sat / (Rv p)`` with the phase split by temperature.

    Args:
        temperature: [K].
        pressure: [Pa].

    Returns:
        [kg kg-1].
    """
    t = double(temperature)
    w = liquid_fraction(t)
    over_liquid = saturation_pressure_liquid(t)
    over_ice = _over_ice(t, over_liquid)
    over_liquid *= w
    over_ice *= 1 - w
    over_liquid += over_ice
    over_liquid *= DRY_AIR_GAS_CONSTANT
    return over_liquid / (VAPOUR_GAS_CONSTANT * as_array(pressure))


def relative_humidity(humidity: ArrayLike, temperature: ArrayLike, pressure: ArrayLike) -> Array:
    """Relative humidity of ClimSim's ``state_rh`` [1].

    Args:
        humidity: specific humidity [kg kg-1].
        temperature: [K].
        pressure: [Pa].
    """
    return as_array(humidity) / saturation_humidity(temperature, pressure)


def potential_temperature(
    temperature: ArrayLike, pressure: ArrayLike, constants: PhysicalConstants
) -> Array:
    """Potential temperature ``T (P0 / p)^(Rd / cp)`` [K]."""
    kappa = constants.dry_air_gas_constant / constants.dry_air_heat_capacity
    return as_array(temperature) * (REFERENCE_PRESSURE / as_array(pressure)) ** kappa


def midpoint_heights(
    temperature: Array, humidity: Array, interfaces: Array, constants: PhysicalConstants
) -> Array:
    """Height of layer midpoints above the surface from the hydrostatic equation.

    ``dz = Rd Tv / g * ln(p_below / p_above)``, half a layer by its midpoint in log-pressure.

    Args:
        temperature: (level, column) [K], level 0 at the top.
        humidity: (level, column) [kg kg-1].
        interfaces: (level + 1, column) pressure [Pa].
        constants: of the model that the columns are of.

    Returns:
        (level, column) [m].
    """
    dry, vapour = constants.dry_air_gas_constant, constants.vapour_gas_constant
    virtual = temperature * (1 + (vapour / dry - 1) * humidity)
    xp = namespace(interfaces)
    top = at_least(interfaces[:-1, ...], 1.0e-3)
    depth = dry * virtual / constants.gravity * xp.log(interfaces[1:, ...] / top)
    heights = sum_onwards(depth)
    heights -= depth
    depth *= 0.5
    heights += depth
    return heights


def tropopause_level(
    temperature: Array,
    heights: Array,
    pressure: Array,
    constants: PhysicalConstants,
    lowest_pressure: float = 4.0e4,
) -> NDArray[np.intp]:
    """Index of the lowest level that counts as stratospheric in E3SM's emulator.

    The largest k in 2..L-1 (1-based) with p <= 400 hPa and a potential temperature gradient,
    centred over k-1 and k+1, above 10 K/km. Source: Hu et al. 2025.

    Args:
        temperature: (level, column) [K].
        heights: (level, column) [m].
        pressure: (level, column) at midpoints [Pa].
        constants: of the model that the columns are of.
        lowest_pressure: [Pa].

    Returns:
        (column,) 0-based index; -1 where no level qualifies.
    """
    theta = potential_temperature(temperature, pressure, constants)
    xp = namespace(theta)
    if theta.shape[0] < 3:
        none: NDArray[np.intp] = xp.astype(xp.zeros_like(theta[0]), xp.int64) - 1
        return none
    gradient = (theta[:-2] - theta[2:]) / (heights[:-2] - heights[2:])
    stable = (gradient > 10.0e-3) & (pressure[1:-1] <= lowest_pressure)
    levels = xp.astype(numbers_like(temperature.shape[0] - 2, theta, first=1), xp.int16)[:, None]
    lowest: NDArray[np.intp] = xp.astype(xp.max(xp.where(stable, levels, -1), axis=0), xp.int64)
    return lowest
