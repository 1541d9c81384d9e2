"""The two compositions of physics: full with taps, and hybrid with the emulated term."""

from __future__ import annotations

from typing import Any

from climsim.errors import ClimSimError, unknown_name

GREY = "grey"
RADIATION_SCHEMES = (GREY, "rrtmgp")
_TURBULENCE = "tte_tke_vertical_diffusion"
_SURFACE = "echam_surface"
_EXCHANGE = "echam_surface_exchange"
_PREVIOUS_STEP = "_prev_step"
"""Slot that jcm itself writes after the terms: humidity and its tendency."""
_BEFORE_EMULATED = (
    "moist_air_column_state",
    "echam_boundary_conditions",
    "sundqvist_cloud_fraction",
)
_AFTER_SURFACE = (_EXCHANGE, "hines_gwd", "lott_miller_sso")


def radiation_parameters() -> Any:
    """jcm's radiation parameters, solved at every step."""
    from jcm.physics.radiation.radiation_types import RadiationParameters

    return RadiationParameters.default(radiation_interval=0.0)


def _echam(coordinates: Any, radiation: str) -> Any:
    from jcm.physics.echam.echam_terms import echam_physics

    if radiation not in RADIATION_SCHEMES:
        raise unknown_name("radiation scheme", radiation, RADIATION_SCHEMES)
    term: Any
    if radiation == GREY:
        from jcm.physics.radiation.grey_two_stream import GreyTwoStreamRadiation

        term = GreyTwoStreamRadiation(params=radiation_parameters())
    else:
        term = _rrtmgp()
    return echam_physics(radiation_scheme=term, coords=coordinates, checkpoint_terms=False)


def _rrtmgp() -> Any:
    try:
        from jcm.physics.radiation.rrtmgp import RRTMGPRadiation
    except ModuleNotFoundError as error:
        raise ClimSimError(
            "radiation 'rrtmgp': expected the package jax-rrtmgp, found none: "
            "pip install jax-rrtmgp, or set radiation=grey"
        ) from error
    return RRTMGPRadiation(params=radiation_parameters())


def _compose(terms: list[Any], band_config: Any) -> Any:
    from jcm.physics.composable_physics import ComposablePhysics

    return ComposablePhysics(
        terms=terms, checkpoint_terms=False, vectorize_columns=True, band_config=band_config
    )


def full_physics(coordinates: Any, radiation: str, *, retain_turbulence: bool = False) -> Any:
    """jcm's ECHAM physics with taps for the emulated and the retained tendency.

    Args:
        coordinates: dinosaur's coordinate system.
        radiation: `"grey"` or `"rrtmgp"`.
        retain_turbulence: leave turbulence out of the emulated term.
    """
    from climsim.online.hosts.gcm.streams import SurfaceStreams
    from climsim.online.hosts.gcm.terms import TURBULENCE_KEY, RetainedTap, TargetTap, Wrapped

    echam = _echam(coordinates, radiation)
    terms: list[Any] = []
    for term in echam.terms:
        if term.name == _TURBULENCE and retain_turbulence:
            terms.append(Wrapped(term, keep=True, key=TURBULENCE_KEY))
        else:
            terms.append(term)
        if term.category == "radiation":
            terms.append(SurfaceStreams(radiation_parameters()))
        if term.name == _EXCHANGE:
            terms.append(TargetTap(retain_turbulence))
    return _compose([*terms, RetainedTap()], echam.band_config)


def hybrid_physics(coordinates: Any, radiation: str, *, retain_turbulence: bool = False) -> Any:
    """The retained processes around the emulated term.

    Order: column state, boundary conditions, cloud cover (diagnostic), the emulated term,
    turbulence with its implicit surface exchange (for the fluxes alone, unless retained),
    surface, delivery of the surface fluxes, gravity waves.
    """
    from climsim.online.hosts.gcm.terms import (
        DeliveredFluxes,
        EmulatedTerm,
        RetainedTap,
        Wrapped,
    )

    echam = _echam(coordinates, GREY)
    by_name = {term.name: term for term in echam.terms}
    turbulence = Wrapped(by_name[_TURBULENCE], keep=retain_turbulence)
    terms = [
        *(by_name[name] for name in _BEFORE_EMULATED),
        EmulatedTerm(grey=radiation == GREY),
        turbulence,
        Wrapped(by_name[_SURFACE], keep=False),
        *(() if retain_turbulence else (DeliveredFluxes(),)),
        *(by_name[name] for name in _AFTER_SURFACE),
        RetainedTap(),
    ]
    return _compose(terms, echam.band_config)


def hybrid_slots(physics: Any) -> frozenset[str]:
    """Slots of the cross-step carry that a composition of physics writes itself."""
    written = (slot for term in physics.terms for slot in term.provides)
    return frozenset(written) | {_PREVIOUS_STEP}
