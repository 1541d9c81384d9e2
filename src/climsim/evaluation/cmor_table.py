"""Variables of the CMIP tables that history files hold: name, standard name, unit, formula."""

from __future__ import annotations

from dataclasses import dataclass

from climsim.constants import WATER_DENSITY

PLEV19 = (
    100000.0, 92500.0, 85000.0, 70000.0, 60000.0, 50000.0, 40000.0, 30000.0, 25000.0, 20000.0,
    15000.0, 10000.0, 7000.0, 5000.0, 3000.0, 2000.0, 1000.0, 500.0, 100.0,
)  # fmt: skip
"""Pressure levels ``plev19`` of CMIP6 [Pa]."""


@dataclass(frozen=True)
class CmorVariable:
    """One variable of the table ``Amon``.

    Attributes:
        name: in the table.
        standard_name: of the CF conventions.
        unit: in the table.
        long_name: in the table.
        fields: history fields whose sum it is.
        factor: that turns this sum into the unit and sign of the table.
        profile: whether it has levels.
        layer: whether it is a property of a layer, which is not interpolated in pressure.
    """

    name: str
    standard_name: str
    unit: str
    long_name: str
    fields: tuple[str, ...]
    factor: float = 1.0
    profile: bool = False
    layer: bool = False


def _profile(
    name: str, field: str, standard: str, unit: str, long_name: str, factor: float = 1.0
) -> CmorVariable:
    layer = name.startswith("cl")
    return CmorVariable(
        name, standard, unit, long_name, (field,), factor=factor, profile=True, layer=layer
    )


def _surface(
    name: str, field: str, standard: str, unit: str, long_name: str, factor: float = 1.0
) -> CmorVariable:
    return CmorVariable(name, standard, unit, long_name, tuple(field.split("+")), factor=factor)


_WATER_PATH = "atmosphere_mass_content_of_"
CMOR_VARIABLES: dict[str, CmorVariable] = {
    v.name: v
    for v in (
        _profile("ta", "T", "air_temperature", "K", "Air Temperature"),
        _profile("hus", "Q", "specific_humidity", "1", "Specific Humidity"),
        _profile("ua", "U", "eastward_wind", "m s-1", "Eastward Wind"),
        _profile("va", "V", "northward_wind", "m s-1", "Northward Wind"),
        _profile("zg", "Z3", "geopotential_height", "m", "Geopotential Height"),
        _profile(
            "cl", "CLOUD", "cloud_area_fraction_in_atmosphere_layer", "%",
            "Percentage Cloud Cover", factor=100.0,
        ),
        _profile(
            "clw", "CLDLIQ", "mass_fraction_of_cloud_liquid_water_in_air", "kg kg-1",
            "Mass Fraction of Cloud Liquid Water",
        ),
        _profile(
            "cli", "CLDICE", "mass_fraction_of_cloud_ice_in_air", "kg kg-1",
            "Mass Fraction of Cloud Ice",
        ),
        _surface("ps", "PS", "surface_air_pressure", "Pa", "Surface Air Pressure"),
        _surface("ts", "TS", "surface_temperature", "K", "Surface Temperature"),
        _surface(
            "pr", "PRECT", "precipitation_flux", "kg m-2 s-1", "Precipitation", factor=WATER_DENSITY
        ),
        _surface(
            "prsn", "PRECSC", "snowfall_flux", "kg m-2 s-1", "Snowfall Flux", factor=WATER_DENSITY
        ),
        _surface("prw", "TMQ", f"{_WATER_PATH}water_vapor", "kg m-2", "Water Vapor Path"),
        _surface("clivi", "TGCLDIWP", f"{_WATER_PATH}cloud_ice", "kg m-2", "Ice Water Path"),
        _surface(
            "clwvi", "TGCLDLWP+TGCLDIWP", f"{_WATER_PATH}cloud_condensed_water", "kg m-2",
            "Condensed Water Path",
        ),
        _surface("clt", "CLDTOT", "cloud_area_fraction", "%", "Total Cloud Cover", factor=100.0),
        _surface(
            "hfls", "LHFLX", "surface_upward_latent_heat_flux", "W m-2",
            "Surface Upward Latent Heat Flux",
        ),
        _surface(
            "hfss", "SHFLX", "surface_upward_sensible_heat_flux", "W m-2",
            "Surface Upward Sensible Heat Flux",
        ),
        # Histories hold the stress on the atmosphere, the tables that on the surface.
        _surface(
            "tauu", "TAUX", "surface_downward_eastward_stress", "Pa",
            "Surface Downward Eastward Wind Stress", factor=-1.0,
        ),
        _surface(
            "tauv", "TAUY", "surface_downward_northward_stress", "Pa",
            "Surface Downward Northward Wind Stress", factor=-1.0,
        ),
        _surface(
            "evspsbl", "QFLX", "water_evapotranspiration_flux", "kg m-2 s-1",
            "Evaporation Including Sublimation and Transpiration",
        ),
        _surface(
            "rsdt", "SOLIN", "toa_incoming_shortwave_flux", "W m-2",
            "TOA Incident Shortwave Radiation",
        ),
        _surface(
            "rsut", "FSUTOA", "toa_outgoing_shortwave_flux", "W m-2",
            "TOA Outgoing Shortwave Radiation",
        ),
        _surface(
            "rlut", "FLUT", "toa_outgoing_longwave_flux", "W m-2", "TOA Outgoing Longwave Radiation"
        ),
        _surface(
            "rlutcs", "FLUTC", "toa_outgoing_longwave_flux_assuming_clear_sky", "W m-2",
            "TOA Outgoing Clear-Sky Longwave Radiation",
        ),
        _surface(
            "rss", "FSNS", "surface_net_downward_shortwave_flux", "W m-2",
            "Net Shortwave Surface Radiation",
        ),
        _surface(
            "rlds", "FLDS", "surface_downwelling_longwave_flux_in_air", "W m-2",
            "Surface Downwelling Longwave Radiation",
        ),
        _surface(
            "rlus", "LWUP", "surface_upwelling_longwave_flux_in_air", "W m-2",
            "Surface Upwelling Longwave Radiation",
        ),
    )
}  # fmt: skip
"""Variables that are written, by name."""
