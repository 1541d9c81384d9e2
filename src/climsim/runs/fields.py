"""Table of the fields of the history files, under E3SM's names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from climsim.validation import each_of


@dataclass(frozen=True)
class HistoryField:
    """One field of a history file.

    Attributes:
        name: E3SM's name.
        unit: unit.
        profile: whether it has levels.
        long_name: what it is, in words.
        standard_name: of the CF conventions; empty where they have none for it.
    """

    name: str
    unit: str
    profile: bool
    long_name: str
    standard_name: str = ""


_PROFILES = (
    ("T", "K", "Temperature"),
    ("Q", "kg/kg", "Specific humidity"),
    ("U", "m/s", "Zonal wind"),
    ("V", "m/s", "Meridional wind"),
    ("CLDLIQ", "kg/kg", "Grid box averaged cloud liquid amount"),
    ("CLDICE", "kg/kg", "Grid box averaged cloud ice amount"),
    ("DTPHYS", "K/s", "Temperature tendency of the emulated physics"),
    ("DQ1PHYS", "kg/kg/s", "Vapor tendency of the emulated physics"),
    ("DQ2PHYS", "kg/kg/s", "Cloud liquid tendency of the emulated physics"),
    ("DQ3PHYS", "kg/kg/s", "Cloud ice tendency of the emulated physics"),
    ("DUPHYS", "m/s2", "Zonal wind tendency of the emulated physics"),
    ("DVPHYS", "m/s2", "Meridional wind tendency of the emulated physics"),
    ("CLOUD", "1", "Cloud fraction"),
    ("Z3", "m", "Geopotential Height (above sea level)"),
    ("DTPHYSCONF", "1", "Predicted loss of the temperature tendency"),
    ("DQ1PHYSCONF", "1", "Predicted loss of the vapor tendency"),
    ("DQNPHYSCONF", "1", "Predicted loss of the cloud condensate tendency"),
    ("DUPHYSCONF", "1", "Predicted loss of the zonal wind tendency"),
    ("DTPHYSLOSS", "1", "True loss of the temperature tendency against the host's physics"),
    ("DQ1PHYSLOSS", "1", "True loss of the vapor tendency against the host's physics"),
    ("DQNPHYSLOSS", "1", "True loss of the condensate tendency against the host's physics"),
    ("DUPHYSLOSS", "1", "True loss of the zonal wind tendency against the host's physics"),
)
_SURFACE = (
    ("PS", "Pa", "Surface pressure"),
    ("PHIS", "m2/s2", "Surface geopotential"),
    ("TS", "K", "Surface temperature (radiative)"),
    ("PRECT", "m/s", "Total precipitation rate"),
    ("PRECC", "m/s", "Convective precipitation rate (the host's total: it has no other)"),
    ("PRECSC", "m/s", "Snow rate (water equivalent)"),
    ("TMQ", "kg/m2", "Total (vertically integrated) precipitable water"),
    ("TGCLDLWP", "kg/m2", "Total grid-box cloud liquid water path"),
    ("TGCLDIWP", "kg/m2", "Total grid-box cloud ice water path"),
    ("LHFLX", "W/m2", "Surface latent heat flux"),
    ("SHFLX", "W/m2", "Surface sensible heat flux"),
    ("TAUX", "N/m2", "Zonal surface stress"),
    ("TAUY", "N/m2", "Meridional surface stress"),
    ("SOLIN", "W/m2", "Solar insolation"),
    ("FSNS", "W/m2", "Net solar flux at surface"),
    ("FLDS", "W/m2", "Downwelling longwave flux at surface"),
    ("LWUP", "W/m2", "Upwelling longwave flux at surface"),
    ("NNSHARE", "1", "Share of the network in the tendencies, where it varies by column"),
    ("LANDFRAC", "1", "Fraction of sfc area covered by land"),
    ("ICEFRAC", "1", "Fraction of sfc area covered by sea-ice"),
    ("OCNFRAC", "1", "Fraction of sfc area covered by ocean"),
    ("FLUT", "W/m2", "Upwelling longwave flux at top of model"),
    ("FLUTC", "W/m2", "Clearsky upwelling longwave flux at top of model"),
    ("FLNT", "W/m2", "Net longwave flux at top of model"),
    ("FSNT", "W/m2", "Net solar flux at top of model"),
    ("FLNS", "W/m2", "Net longwave flux at surface"),
    ("QFLX", "kg/m2/s", "Surface water flux"),
    ("FSNTC", "W/m2", "Clearsky net solar flux at top of model"),
    ("FSUTOA", "W/m2", "Upwelling solar flux at top of atmosphere"),
    ("LWCF", "W/m2", "Longwave cloud forcing"),
    ("SWCF", "W/m2", "Shortwave cloud forcing"),
    ("CLDTOT", "1", "Vertically-integrated total cloud"),
    ("CLDLOW", "1", "Vertically-integrated low cloud"),
    ("CLDMED", "1", "Vertically-integrated mid-level cloud"),
    ("CLDHGH", "1", "Vertically-integrated high cloud"),
    *((f"T{p}", "K", f"Temperature at {p} mbar pressure surface") for p in (850, 500)),
    *((f"U{p}", "m/s", f"Zonal wind at {p} mbar pressure surface") for p in (850, 500)),
    *((f"V{p}", "m/s", f"Meridional wind at {p} mbar pressure surface") for p in (850, 500)),
    *((f"Z{p}", "m", f"Geopotential Z at {p} mbar pressure surface") for p in (850, 500)),
)
_STANDARD_NAMES = {
    "T": "air_temperature",
    "Q": "specific_humidity",
    "U": "eastward_wind",
    "V": "northward_wind",
    "CLDLIQ": "mass_fraction_of_cloud_liquid_water_in_air",
    "CLDICE": "mass_fraction_of_cloud_ice_in_air",
    "CLOUD": "cloud_area_fraction_in_atmosphere_layer",
    "Z3": "geopotential_height",
    "PS": "surface_air_pressure",
    "TS": "surface_temperature",
    "PRECT": "lwe_precipitation_rate",
    "PRECSC": "lwe_snowfall_rate",
    "TMQ": "atmosphere_mass_content_of_water_vapor",
    "TGCLDLWP": "atmosphere_mass_content_of_cloud_liquid_water",
    "TGCLDIWP": "atmosphere_mass_content_of_cloud_ice",
    "LHFLX": "surface_upward_latent_heat_flux",
    "SHFLX": "surface_upward_sensible_heat_flux",
    "SOLIN": "toa_incoming_shortwave_flux",
    "FSNS": "surface_net_downward_shortwave_flux",
    "FLDS": "surface_downwelling_longwave_flux_in_air",
    "LWUP": "surface_upwelling_longwave_flux_in_air",
    "LANDFRAC": "land_area_fraction",
    "ICEFRAC": "sea_ice_area_fraction",
    "OCNFRAC": "sea_area_fraction",
    "FLUT": "toa_outgoing_longwave_flux",
    "FLUTC": "toa_outgoing_longwave_flux_assuming_clear_sky",
    "FSUTOA": "toa_outgoing_shortwave_flux",
    "QFLX": "water_evapotranspiration_flux",
    "CLDTOT": "cloud_area_fraction",
}
HISTORY_FIELDS: dict[str, HistoryField] = {
    name: HistoryField(name, unit, profile, long_name, _STANDARD_NAMES.get(name, ""))
    for table, profile in ((_PROFILES, True), (_SURFACE, False))
    for name, unit, long_name in table
}
"""Every field a history file may hold, by name."""
HOURLY_FIELDS = ("PRECT", "TMQ", "PS", "LANDFRAC", "ICEFRAC", "OCNFRAC")
"""Fields of the hourly stream, unless others are chosen."""


def require_hourly_fields(names: Sequence[str]) -> None:
    """Refuse fields of the hourly stream that no history from here holds.

    A host that runs in batch writes its own history, under names of its own.

    Args:
        names: of the fields.

    Raises:
        ClimSimError: naming the first that is none.
    """
    each_of("hourly_fields", names, HISTORY_FIELDS)
