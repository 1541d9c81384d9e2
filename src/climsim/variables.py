"""The one table of variables, and the variable sets whose order is the layout of every vector.

A vector holds the variables of a set in order, profiles from the model top to the surface.
Source: Yu et al. 2023 (arXiv 2306.08754), Hu et al. 2025 (arXiv 2407.00124), Lin et al. 2025
(arXiv 2511.20963) and the published files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from climsim.constants import N_LEVELS
from climsim.errors import unknown_name

_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True)
class Variable:
    """One physical quantity of the data set.

    Attributes:
        name: name in the files.
        unit: unit, in CF spelling.
        profile: whether it has a value on every level (else one per column).
        long_name: what it is, in words.
        non_negative: whether negative values are unphysical.
    """

    name: str
    unit: str
    profile: bool
    long_name: str
    non_negative: bool = False


def _profile(name: str, unit: str, long_name: str, non_negative: bool = False) -> Variable:
    return Variable(name, unit, True, long_name, non_negative)


def _scalar(name: str, unit: str, long_name: str, non_negative: bool = False) -> Variable:
    return Variable(name, unit, False, long_name, non_negative)


_STATE = (
    _profile("state_t", "K", "air temperature", True),
    _profile("state_q0001", "kg kg-1", "specific humidity", True),
    _profile("state_q0002", "kg kg-1", "cloud liquid mixing ratio", True),
    _profile("state_q0003", "kg kg-1", "cloud ice mixing ratio", True),
    _profile("state_u", "m s-1", "eastward wind"),
    _profile("state_v", "m s-1", "northward wind"),
    _profile("state_pmid", "Pa", "air pressure at layer midpoints", True),
    _profile("pbuf_ozone", "mol mol-1", "ozone volume mixing ratio", True),
    _profile("pbuf_CH4", "mol mol-1", "methane volume mixing ratio", True),
    _profile("pbuf_N2O", "mol mol-1", "nitrous oxide volume mixing ratio", True),
)
_DERIVED = (
    _profile("state_rh", "1", "relative humidity (SAM saturation, mixed phase by temperature)"),
    _profile("state_qn", "kg kg-1", "cloud condensate mixing ratio, liquid plus ice", True),
    _profile("liq_partition", "1", "fraction of condensate that is liquid at this temperature"),
)


def _previous_step_variables() -> tuple[Variable, ...]:
    """Physics tendencies and large-scale forcings of one and two steps before."""
    physics = (
        ("t", "K s-1", "temperature"),
        ("q0001", "kg kg-1 s-1", "specific humidity"),
        ("q0002", "kg kg-1 s-1", "cloud liquid"),
        ("q0003", "kg kg-1 s-1", "cloud ice"),
        ("qn", "kg kg-1 s-1", "cloud condensate"),
        ("u", "m s-2", "eastward wind"),
    )
    forcing = (
        ("t", "K s-1", "temperature"),
        ("q0", "kg kg-1 s-1", "total water"),
        ("u", "m s-2", "eastward wind"),
    )
    result = []
    for prefix, steps in (("", "previous step"), ("tm_", "step before the previous")):
        for key, unit, what in forcing:
            text = f"large-scale forcing of {what}, {steps}"
            result.append(_profile(f"{prefix}state_{key}_dyn", unit, text))
        for key, unit, what in physics:
            text = f"physics tendency of {what}, {steps}"
            result.append(_profile(f"{prefix}state_{key}_prvphy", unit, text))
    return tuple(result)


_SCALARS_IN = (
    _scalar("state_ps", "Pa", "surface air pressure", True),
    _scalar("pbuf_SOLIN", "W m-2", "insolation at the model top", True),
    _scalar("pbuf_LHFLX", "W m-2", "surface latent heat flux, positive upward"),
    _scalar("pbuf_SHFLX", "W m-2", "surface sensible heat flux, positive upward"),
    _scalar("pbuf_TAUX", "N m-2", "eastward surface stress on the atmosphere"),
    _scalar("pbuf_TAUY", "N m-2", "northward surface stress on the atmosphere"),
    _scalar("pbuf_COSZRS", "1", "cosine of the solar zenith angle"),
    _scalar("cam_in_ALDIF", "1", "albedo, near-infrared diffuse", True),
    _scalar("cam_in_ALDIR", "1", "albedo, near-infrared direct", True),
    _scalar("cam_in_ASDIF", "1", "albedo, visible diffuse", True),
    _scalar("cam_in_ASDIR", "1", "albedo, visible direct", True),
    _scalar("cam_in_LWUP", "W m-2", "upward longwave flux at the surface", True),
    _scalar("cam_in_ICEFRAC", "1", "sea-ice area fraction", True),
    _scalar("cam_in_LANDFRAC", "1", "land area fraction", True),
    _scalar("cam_in_OCNFRAC", "1", "open-ocean area fraction", True),
    _scalar("cam_in_SNOWHICE", "m", "snow on sea ice, liquid-water equivalent", True),
    _scalar("cam_in_SNOWHLAND", "m", "snow on land, liquid-water equivalent", True),
)
_LOCATION = (
    _scalar("clat", "1", "cosine of latitude"),
    _scalar("slat", "1", "sine of latitude"),
)
_COLUMN_NUMBER = (_scalar("icol", "1", "number of the column, from 1", True),)
_EARLIER_SCALARS = tuple(
    _scalar(f"tm_{v.name}", v.unit, f"{v.long_name}, previous step", v.non_negative)
    for v in _SCALARS_IN
    if v.name.partition("_")[2] in ("ps", "SOLIN", "LHFLX", "SHFLX", "COSZRS")
)
_TENDENCIES = (
    _profile("ptend_t", "K s-1", "physics tendency of temperature"),
    _profile("ptend_q0001", "kg kg-1 s-1", "physics tendency of specific humidity"),
    _profile("ptend_q0002", "kg kg-1 s-1", "physics tendency of cloud liquid"),
    _profile("ptend_q0003", "kg kg-1 s-1", "physics tendency of cloud ice"),
    _profile("ptend_qn", "kg kg-1 s-1", "physics tendency of cloud condensate"),
    _profile("ptend_u", "m s-2", "physics tendency of eastward wind"),
    _profile("ptend_v", "m s-2", "physics tendency of northward wind"),
)
_SCALARS_OUT = (
    _scalar("cam_out_NETSW", "W m-2", "net shortwave flux at the surface", True),
    _scalar("cam_out_FLWDS", "W m-2", "downward longwave flux at the surface", True),
    _scalar("cam_out_PRECSC", "m s-1", "snowfall rate, liquid-water equivalent", True),
    _scalar("cam_out_PRECC", "m s-1", "precipitation rate", True),
    _scalar("cam_out_SOLS", "W m-2", "downward visible direct flux at the surface", True),
    _scalar("cam_out_SOLL", "W m-2", "downward near-infrared direct flux at the surface", True),
    _scalar("cam_out_SOLSD", "W m-2", "downward visible diffuse flux at the surface", True),
    _scalar("cam_out_SOLLD", "W m-2", "downward near-infrared diffuse flux at the surface", True),
)

VARIABLES: dict[str, Variable] = {
    v.name: v
    for v in (
        *_STATE,
        *_DERIVED,
        *_previous_step_variables(),
        *_SCALARS_IN,
        *_EARLIER_SCALARS,
        *_LOCATION,
        *_COLUMN_NUMBER,
        *_TENDENCIES,
        *_SCALARS_OUT,
    )
}
"""Every variable, by its name in the files."""


def variable(name: str) -> Variable:
    """Look a variable up by its name in the files.

    Raises:
        ClimSimError: if no such variable exists.
    """
    if name not in VARIABLES:
        raise unknown_name("variable", name, VARIABLES)
    return VARIABLES[name]


@dataclass(frozen=True)
class VariableSet:
    """An ordered choice of variables: the layout of a vector of features.

    Attributes:
        name: name of the set.
        names: names of the variables, in the order of the vector.
    """

    name: str
    names: tuple[str, ...]

    @cached_property
    def profiles(self) -> tuple[str, ...]:
        """Names of the variables with levels, in order."""
        return tuple(n for n in self.names if variable(n).profile)

    @cached_property
    def scalars(self) -> tuple[str, ...]:
        """Names of the variables without levels, in order."""
        return tuple(n for n in self.names if not variable(n).profile)

    def size(self, levels: int = N_LEVELS) -> int:
        """Length of the vector for a number of levels."""
        return levels * len(self.profiles) + len(self.scalars)

    def slices(self, levels: int = N_LEVELS) -> dict[str, slice]:
        """Where each variable lies in the vector, for a number of levels."""
        result, start = {}, 0
        for name in self.names:
            stop = start + (levels if variable(name).profile else 1)
            result[name] = slice(start, stop)
            start = stop
        return result

    def slice(self, name: str, levels: int = N_LEVELS) -> slice:
        """Where one variable lies in the vector.

        Raises:
            ClimSimError: if the set does not hold the variable.
        """
        if name not in self.names:
            raise unknown_name(f"variable of the set {self.name!r}", name, self.names)
        return self.slices(levels)[name]

    def fields(
        self, vectors: NDArray[_Number], levels: int = N_LEVELS
    ) -> dict[str, NDArray[_Number]]:
        """Split vectors into named fields.

        Args:
            vectors: (..., feature).
            levels: levels of a profile.

        Returns:
            Views (..., level) for profiles and (...) for scalars, by name.
        """
        places = self.slices(levels)
        return {
            name: vectors[..., features] if variable(name).profile else vectors[..., features.start]
            for name, features in places.items()
        }


PROGNOSTIC = ("state_t", "state_q0001", "state_q0002", "state_q0003", "state_u", "state_v")
"""State variables that physics changes: the profiles of a raw output file (``mlo``)."""
TRACE_GASES = ("pbuf_ozone", "pbuf_CH4", "pbuf_N2O")
SCALARS_IN = tuple(v.name for v in _SCALARS_IN)
SCALARS_OUT = tuple(v.name for v in _SCALARS_OUT)
_FORCINGS = ("state_t_dyn", "state_q0_dyn", "state_u_dyn")
_PHYSICS = ("state_t_prvphy", "state_q0001_prvphy", "state_qn_prvphy", "state_u_prvphy")


def _earlier(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"tm_{name}" for name in names)


_COLUMN_STATE = ("state_t", "state_rh", "state_qn", "liq_partition", "state_u", "state_v")
_PREVIOUS = (*_FORCINGS, *_earlier(_FORCINGS), *_PHYSICS, *_earlier(_PHYSICS))
LOCATION = tuple(v.name for v in _LOCATION)
EARLIER_SCALARS = tuple(v.name for v in _EARLIER_SCALARS)
COLUMN_NUMBER = tuple(v.name for v in _COLUMN_NUMBER)

STANDARD = VariableSet("standard", (*_COLUMN_STATE, *TRACE_GASES, *SCALARS_IN))
"""Inputs of the standard set, published tag ``v2_rh_mc``: 557 values at 60 levels."""
EXPANDED = VariableSet(
    "expanded", (*_COLUMN_STATE, *_PREVIOUS, *TRACE_GASES, *SCALARS_IN, *LOCATION)
)
"""Inputs with the memory of two steps, published tag ``v6``: 1399 values."""
V5 = VariableSet(
    "v5",
    (
        *_COLUMN_STATE,
        *_PREVIOUS,
        *TRACE_GASES,
        *SCALARS_IN,
        *EARLIER_SCALARS,
        *LOCATION,
        *COLUMN_NUMBER,
    ),
)
"""The expanded inputs, five scalars of the previous step and the column: 1405 values."""
V7 = VariableSet("v7", (*_COLUMN_STATE, *_PHYSICS, *TRACE_GASES, *SCALARS_IN))
"""The standard inputs and what physics did in the previous step: 797 values."""
TARGETS = VariableSet(
    "targets", ("ptend_t", "ptend_q0001", "ptend_qn", "ptend_u", "ptend_v", *SCALARS_OUT)
)
"""What the networks predict: 308 values."""
KAGGLE_INPUTS = VariableSet(
    "kaggle_inputs",
    (*PROGNOSTIC, *(n for n in SCALARS_IN if n != "cam_in_SNOWHICE"), *TRACE_GASES),
)
"""Raw inputs of the Kaggle competition (``v2_kaggle``): 556 values, trace gases last."""


_TOTAL, _LIQUID, _ICE = "qn", "q0002", "q0003"


def phases(name: str) -> tuple[str, str] | None:
    """Names of the liquid and the ice that a variable is the sum of; None if it is no such sum.

    Args:
        name: of a variable, such as ``state_qn`` or ``tm_state_qn_prvphy``.
    """
    parts = name.split("_")
    if _TOTAL not in parts:
        return None
    liquid, ice = (
        "_".join(phase if part == _TOTAL else part for part in parts) for phase in (_LIQUID, _ICE)
    )
    return liquid, ice


def liquid_and_ice(names: tuple[str, ...]) -> tuple[str, ...]:
    """Variables of a climate model that a set with condensate is made of.

    Condensate becomes liquid and ice; the liquid fraction, which temperature gives, goes.
    """
    result: list[str] = []
    for name in names:
        if name != "liq_partition":
            result += phases(name) or (name,)
    return tuple(result)


OUTPUTS = VariableSet("outputs", liquid_and_ice(TARGETS.names))
"""What an exported model returns, and Kaggle's targets: 368 values."""

V1 = VariableSet(
    "v1",
    ("state_t", "state_q0001", "state_ps", "pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX"),
)
"""Inputs of the first ClimSim networks: 124 values."""
V1_TARGETS = VariableSet("v1_targets", ("ptend_t", "ptend_q0001", *SCALARS_OUT))
"""What they predict: 128 values."""
V2 = VariableSet("v2", (*PROGNOSTIC, *TRACE_GASES, *SCALARS_IN))
"""Raw inputs of the present step, liquid and ice apart: 557 values."""
V2_RH = VariableSet("v2_rh", liquid_and_ice(STANDARD.names))
"""The same with relative in place of specific humidity: 557 values."""
V3 = VariableSet("v3", (*PROGNOSTIC, *_FORCINGS, *TRACE_GASES, *SCALARS_IN))
"""The raw inputs and the large-scale forcing: 737 values."""
V4 = VariableSet("v4", liquid_and_ice(V5.names))
"""The inputs of ``v5`` with liquid and ice apart: 1525 values."""

RAW_PROFILES = tuple(v.name for v in _STATE)
"""Profiles of a raw input file (``mli``)."""
_PRUNED = ("ptend_q0001", "ptend_qn", "ptend_q0002", "ptend_q0003", "ptend_u", "ptend_v")


def pruned_targets(targets: VariableSet) -> tuple[str, ...]:
    """Targets that are zero in the top levels: moisture and wind."""
    return tuple(name for name in targets.profiles if name in _PRUNED)


PRUNED_TARGETS = pruned_targets(TARGETS)
"""Those of what the networks of the study predict."""
NIGHT_ZERO = tuple(f"cam_out_{n}" for n in ("NETSW", "SOLS", "SOLL", "SOLSD", "SOLLD"))
"""Surface scalars that vanish where the sun is below the horizon."""
