"""Units of variables of files: those that are known to be others than the ones expected."""

from __future__ import annotations

_FOREIGN = {
    "Pa": "hpa mb mbar millibar millibars kpa bar atm mmhg",
    "K": "c degc deg_c celsius degree_celsius degrees_celsius f degf fahrenheit",
    "kg kg-1": "g/kg gkg-1 mg/kg mgkg-1 % percent",
    "mol mol-1": "ppm ppmv ppb ppbv % percent",
    "m s-1": "mm/s mms-1 mm/h mm/hr mmh-1 mm/d mm/day mmd-1 mmday-1 cm/s cms-1 km/h kmh-1 "
    "knots kg/m2/s kgm-2s-1",
    "W m-2": "kw/m2 kwm-2 mw/m2 mwm-2 j/m2 jm-2",
    "N m-2": "hpa dyn/cm2 dyncm-2",
    "m": "mm cm km kg/m2 kgm-2",
    "1": "% percent",
    "degrees_north": "rad radian radians degrees_east degree_east degrees_e",
    "degrees_east": "rad radian radians degrees_north degree_north degrees_n",
    "steradian": "m2 m^2 km2 km^2",
}
"""By the unit expected, common spellings of units of the same kind that mean other numbers."""


def foreign_unit(expected: str, given: str) -> bool:
    """Whether a unit is known to mean other numbers than the one expected.

    Spellings vary without end, so a unit that nobody knows is not taken for a wrong one.

    Args:
        expected: unit as in the variable table.
        given: attribute of a file; empty where there is none.
    """
    return given.casefold().replace(" ", "") in _FOREIGN.get(expected, "").split()
