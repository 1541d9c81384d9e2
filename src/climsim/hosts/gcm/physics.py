"""The two compositions of physics: full with taps, and hybrid with the emulated term."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from climsim.errors import ClimSimError, unknown_name
from climsim.hosts.gcm.compilation import needs_rrtmgp
from climsim.hosts.gcm.tuning import GUSTS, scheme_parameters

if TYPE_CHECKING:
    from dinosaur.coordinate_systems import CoordinateSystem
    from jcm.physics.composable_physics import ComposablePhysics
    from jcm.physics.physics_term import PhysicsTerm
    from jcm.physics.radiation.band_config import RadiationBandConfig
    from jcm.physics.radiation.radiation_types import RadiationParameters

REDUCED, RRTMGP, GREY = "reduced", "rrtmgp", "grey"
RADIATION_SCHEMES = (REDUCED, RRTMGP, GREY)
"""RRTMGP on a few spectral points; RRTMGP whole; jcm's idealized two-stream scheme."""
_TURBULENCE = "tte_tke_vertical_diffusion"
_MIXING = (_TURBULENCE, "tiedtke_convection")
"""Terms of jcm that mix momentum without a use for the kinetic energy that it loses."""
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


@dataclass(frozen=True)
class PhysicsOptions:
    """What the physics is made of.

    Attributes:
        radiation: of `RADIATION_SCHEMES`.
        radiation_interval: seconds between two calls of the radiation; 0 for every step.
        retain_turbulence: leave turbulence out of the emulated term.
        split_condensate: split condensate into liquid and ice by temperature at the end of the
            emulated term.
        tuning: values by `scheme.field` in place of the shipped ones, see `tuning`.
    """

    radiation: str
    radiation_interval: float = 0.0
    retain_turbulence: bool = False
    split_condensate: bool = True
    tuning: Mapping[str, float] = field(default_factory=dict)


def _radiation_term(options: PhysicsOptions, parameters: RadiationParameters) -> PhysicsTerm:
    if options.radiation == GREY:
        from jcm.physics.radiation.grey_two_stream import GreyTwoStreamRadiation

        return GreyTwoStreamRadiation(params=parameters)
    from climsim.hosts.gcm import correlated_k, reduced
    from climsim.hosts.gcm.radiation import FluxRadiation

    # Before any tracing: the library makes arrays of its tables when it loads them.
    correlated_k.tables()
    if options.radiation == REDUCED:
        reduced.shipped_points()
        return FluxRadiation(reduced.solve, parameters)
    return FluxRadiation(correlated_k.solve, parameters)


def _echam(
    coordinates: CoordinateSystem, options: PhysicsOptions
) -> tuple[ComposablePhysics, RadiationParameters]:
    """jcm's composition of ECHAM physics and the parameters of its radiation."""
    with needs_rrtmgp():
        from jcm.physics.echam.echam_terms import echam_physics
    from jcm.physics.radiation.radiation_types import RadiationParameters

    from climsim.hosts.gcm import gustiness
    from climsim.hosts.gcm.wrapped import WithDissipation

    if options.radiation not in RADIATION_SCHEMES:
        raise unknown_name("radiation scheme", options.radiation, RADIATION_SCHEMES)
    schemes = scheme_parameters(options.tuning)
    parameters = RadiationParameters.default(
        radiation_interval=options.radiation_interval, **schemes.pop("radiation", {})
    )
    gustiness.install()
    try:
        gusty = gustiness.gusty_parameters(
            schemes.pop("vertical_diffusion", {}), schemes.pop(GUSTS)
        )
        composed = echam_physics(
            radiation_scheme=_radiation_term(options, parameters),
            vertical_diffusion=gusty,
            coords=coordinates,
            checkpoint_terms=False,
            **schemes,
        )
    except (TypeError, ValueError) as error:
        raise ClimSimError(f"host_options.tuning: {error}") from error
    terms = [WithDissipation(term) if term.name in _MIXING else term for term in composed.terms]
    return _compose(terms, composed.band_config), parameters


def _compose(terms: list[PhysicsTerm], band_config: RadiationBandConfig) -> ComposablePhysics:
    from jcm.physics.composable_physics import ComposablePhysics

    return ComposablePhysics(
        terms=terms, checkpoint_terms=False, vectorize_columns=True, band_config=band_config
    )


def full_physics(coordinates: CoordinateSystem, options: PhysicsOptions) -> ComposablePhysics:
    """jcm's ECHAM physics with taps for the emulated and the retained tendency.

    Args:
        coordinates: dinosaur's coordinate system.
        options: what it is made of.
    """
    from climsim.hosts.gcm.streams import SurfaceStreams
    from climsim.hosts.gcm.terms import CondensateFloor, CondensateSplit, RetainedTap, TargetTap
    from climsim.hosts.gcm.wrapped import Wrapped

    echam, parameters = _echam(coordinates, options)
    terms: list[PhysicsTerm] = []
    for term in echam.terms:
        if term.name == _TURBULENCE and options.retain_turbulence:
            terms.append(Wrapped(term, keep=True, publish=True))
        else:
            terms.append(term)
        if term.category == "radiation" and options.radiation == GREY:
            terms.append(SurfaceStreams(parameters))
        if term.name == _EXCHANGE and options.retain_turbulence:
            terms.append(CondensateFloor())
        if term.name == _EXCHANGE and options.split_condensate:
            terms.append(CondensateSplit(options.retain_turbulence))
        if term.name == _EXCHANGE:
            terms.append(TargetTap(options.retain_turbulence))
    return _compose([*terms, RetainedTap()], _bands(options, echam))


def _bands(options: PhysicsOptions, echam: ComposablePhysics) -> RadiationBandConfig:
    """Bands that the aerosol describes itself in."""
    if options.radiation == GREY:
        return echam.band_config
    from climsim.hosts.gcm.correlated_k import band_config

    return band_config()


def hybrid_physics(coordinates: CoordinateSystem, options: PhysicsOptions) -> ComposablePhysics:
    """The retained processes around the emulated term.

    Order: column state, boundary conditions, cloud cover (diagnostic), the emulated term,
    turbulence with its implicit surface exchange (for the fluxes alone, unless retained),
    surface, delivery of the surface fluxes, gravity waves.
    """
    from climsim.hosts.gcm.terms import (
        DeliveredFluxes,
        EmulatedTerm,
        RetainedTap,
    )
    from climsim.hosts.gcm.wrapped import Wrapped

    echam, _ = _echam(coordinates, replace(options, radiation=GREY))
    by_name = {term.name: term for term in echam.terms}
    turbulence = Wrapped(by_name[_TURBULENCE], keep=options.retain_turbulence)
    terms = [
        *(by_name[name] for name in _BEFORE_EMULATED),
        EmulatedTerm(grey=options.radiation == GREY),
        turbulence,
        Wrapped(by_name[_SURFACE], keep=False),
        *(() if options.retain_turbulence else (DeliveredFluxes(),)),
        *(by_name[name] for name in _AFTER_SURFACE),
        RetainedTap(),
    ]
    return _compose(terms, _bands(options, echam))


def columns_physics(coordinates: CoordinateSystem, options: PhysicsOptions) -> ComposablePhysics:
    """The terms before the radiation, and a tap that publishes what a scheme would see."""
    from climsim.hosts.gcm.correlated_k import band_config
    from climsim.hosts.gcm.radiation import ColumnsTap

    echam, parameters = _echam(coordinates, options)
    terms: list[PhysicsTerm] = []
    for term in echam.terms:
        if term.category == "radiation":
            break
        terms.append(term)
    return _compose([*terms, ColumnsTap(parameters)], band_config())


def hybrid_slots(physics: ComposablePhysics) -> frozenset[str]:
    """Slots of the cross-step carry that a composition of physics writes itself."""
    written = (slot for term in physics.terms for slot in term.provides)
    return frozenset(written) | {_PREVIOUS_STEP}
