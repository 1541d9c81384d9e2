"""Every number of the embedded model that is tuned, with its value and jcm's.

Nothing here is a flux correction: each key is a parameter of a jcm scheme or of `gustiness`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from climsim.errors import unknown_name
from climsim.validation import require

TUNING: Final[dict[str, float]] = {
    # Coarse cells hold more clouds at a mean humidity: near the values that jcm calibrated at T63
    # (0.7 and 0.9) in place of ECHAM's for T31 (0.85 and 0.95), which jcm holds for coarser grids.
    "clouds.crt": 0.65,
    "clouds.crs": 0.9,
    # Convection removes instability within an hour (jcm: two): the middle troposphere was cold.
    "convection.tau": 3600.0,
    # It moistens the middle troposphere, which was a fifth too dry: plumes of deep convection mix
    # with more air (jcm: 1e-4), those of shallow convection with less (3e-3) and so rise higher,
    # and both rain out half as fast (2.5e-4).
    "convection.entrpen": 1.6e-4,
    "convection.entrscv": 1.0e-3,
    "convection.cprcon": 1.2e-4,
    # Water clouds of coarse cells are thin: a slower rain (jcm: 15) lets less sunlight through,
    # and ice that falls more slowly (jcm: 3) holds back more of the longwave.
    "microphysics.ccraut": 4.0,
    "microphysics.cvtfall": 2.0,
    # Storms blow between the tropics and the poles: evaporation there was a third too small.
    "gusts.storm_wind": 4.0,
    "gusts.storm_track_wind": 12.0,
}
"""Values that differ from jcm's defaults, by `scheme.field` of `echam_physics`, and the gusts."""
GUSTS: Final = "gusts"
SCHEMES: Final = (
    "convection",
    "clouds",
    "microphysics",
    "vertical_diffusion",
    "surface",
    "land_surface",
    "hines",
    "sso",
    "radiation",
    GUSTS,
)
"""Schemes of `echam_physics` whose parameters can be set, and the gusts."""


def scheme_parameters(overrides: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The tuned parameters by scheme, those given over the shipped ones.

    Args:
        overrides: value by `scheme.field`.

    Raises:
        ClimSimError: if a key names no scheme, or its value is no number.
    """
    chosen: dict[str, dict[str, float]] = {}
    for key, value in {**TUNING, **overrides}.items():
        scheme, _, field = key.partition(".")
        if scheme not in SCHEMES or not field:
            raise unknown_name("tuned parameter (scheme.field), scheme", scheme, SCHEMES)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        require(f"host_options.tuning.{key}", value, number, "a number")
        chosen.setdefault(scheme, {})[field] = value
    return chosen
