"""Fields of the history files: how each follows from one step of a host.

T, Q, U, V, clouds, surface pressure and fractions are those before the physics of the step;
tendencies, precipitation and radiation are those of the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Array, Fields, at_least, between, count, namespace, numbers_like
from climsim.constants import PhysicalConstants
from climsim.hosts.base import StepResult
from climsim.physics.air import Air
from climsim.runs.fields import HISTORY_FIELDS

_STATE = {
    "T": "state_t",
    "Q": "state_q0001",
    "U": "state_u",
    "V": "state_v",
    "CLDLIQ": "state_q0002",
    "CLDICE": "state_q0003",
    "PS": "state_ps",
    "LHFLX": "pbuf_LHFLX",
    "SHFLX": "pbuf_SHFLX",
    "TAUX": "pbuf_TAUX",
    "TAUY": "pbuf_TAUY",
    "SOLIN": "pbuf_SOLIN",
    "LWUP": "cam_in_LWUP",
    "LANDFRAC": "cam_in_LANDFRAC",
    "ICEFRAC": "cam_in_ICEFRAC",
    "OCNFRAC": "cam_in_OCNFRAC",
}
NEEDED_FIELDS = frozenset((*_STATE.values(), "state_pmid"))
"""Fields of a host that every history is made of."""
_TENDENCIES = {
    "DTPHYS": "ptend_t",
    "DQ1PHYS": "ptend_q0001",
    "DQ2PHYS": "ptend_q0002",
    "DQ3PHYS": "ptend_q0003",
    "DUPHYS": "ptend_u",
    "DVPHYS": "ptend_v",
}
_FLUXES = {
    "PRECT": "cam_out_PRECC",
    "PRECC": "cam_out_PRECC",
    "PRECSC": "cam_out_PRECSC",
    "FSNS": "cam_out_NETSW",
    "FLDS": "cam_out_FLWDS",
}
_PATHS = {"TMQ": "state_q0001", "TGCLDLWP": "state_q0002", "TGCLDIWP": "state_q0003"}
_PRESSURE_LEVELS = (850, 500)
_PA_PER_HPA = 100.0
_CONFIDENCE = {
    "DTPHYS": "ptend_t",
    "DQ1PHYS": "ptend_q0001",
    "DQNPHYS": "ptend_qn",
    "DUPHYS": "ptend_u",
}


@dataclass(frozen=True)
class PressureInterpolation:
    """Linear interpolation in log-pressure to one pressure, weights computed once.

    Beyond the highest and lowest midpoint the value there is taken, as E3SM's ``vertinterp`` does.

    Attributes:
        above: (column,) place of the level above the pressure in a flat profile.
        below: (column,) place of the level below it.
        weight: (column,) of the level below.
        beyond: (column,) logarithm of the pressure over that of the lowest midpoint; 0 above it.
    """

    above: NDArray[np.integer]
    below: NDArray[np.integer]
    weight: Array
    beyond: Array

    @classmethod
    def to(cls, pressure: float, midpoints: Array) -> PressureInterpolation:
        """Find the levels around a pressure [Pa] in (level, column) midpoint pressures [Pa]."""
        xp = namespace(midpoints)
        above = xp.astype(count(midpoints <= pressure), xp.int64) - 1
        levels, columns = midpoints.shape
        above = between(above, 0, levels - 2) * columns + numbers_like(columns, midpoints)
        below = above + columns
        upper, lower = (xp.log(_taken(midpoints, places)) for places in (above, below))
        weight = between((math.log(pressure) - upper) / (lower - upper), 0.0, 1.0)
        beyond = xp.log(at_least(pressure / midpoints[-1, :], 1.0))
        return cls(above, below, weight, beyond)

    def __call__(self, profile: Array) -> Array:
        """Interpolate (level, column) to (column,)."""
        upper, lower = _taken(profile, self.above), _taken(profile, self.below)
        return upper + self.weight * (lower - upper)

    def heights(self, heights: Array, temperature: Array, constants: PhysicalConstants) -> Array:
        """Interpolate heights; below the lowest midpoint they continue as in an isothermal layer.

        ``z = z_lowest - Rd T / g * ln(p / p_lowest)``

        Args:
            heights: (level, column) of midpoints [m].
            temperature: (level, column) [K].
            constants: of the model that the columns are of.

        Returns:
            (column,) [m].
        """
        scale_height = constants.dry_air_gas_constant * temperature[-1, :] / constants.gravity
        return self(heights) - scale_height * self.beyond


def _taken(profile: Array, places: NDArray[np.integer]) -> Array:
    """Values (column,) of a profile (level, column) at places in the flat one."""
    xp = namespace(profile)
    taken: Array = xp.take(xp.reshape(profile, (-1,)), places)
    return taken


def history_fields(result: StepResult, air: Air, losses: Fields | None = None) -> Fields:
    """Compute the history fields of one step.

    Args:
        result: what the step saw and did.
        air: of the state that it saw.
        losses: confidence and loss fields by history name, if there are any.

    Returns:
        Every field that can be had, by E3SM's name, (level, column) or (column,).
    """
    inputs = result.inputs
    fields = {name: inputs[source] for name, source in _STATE.items()}
    fields |= {name: result.tendencies[source] for name, source in _TENDENCIES.items()}
    fields |= {name: result.surface[source] for name, source in _FLUXES.items()}
    fields |= {name: air.columns.integral(inputs[x]) for name, x in _PATHS.items()}
    fields |= {n: x for n, x in result.diagnostics.items() if n in HISTORY_FIELDS}
    fields |= _on_pressure(inputs, _heights(result, air), air.constants)
    return fields | (losses or {})


def confidence_fields(by_target: Fields, suffix: str) -> Fields:
    """Rename losses by target to history fields: ``CONF`` predicted, ``LOSS`` true."""
    return {f"{name}{suffix}": by_target[target] for name, target in _CONFIDENCE.items()}


def _heights(result: StepResult, air: Air) -> Array | None:
    """Height of midpoints above sea level [m]: the host's own, or from its orography."""
    if "Z3" in result.diagnostics:
        return result.diagnostics["Z3"]
    if "PHIS" not in result.diagnostics:
        return None
    return air.heights + result.diagnostics["PHIS"] / air.constants.gravity


def _on_pressure(inputs: Fields, heights: Array | None, constants: PhysicalConstants) -> Fields:
    """Winds, temperature and height on pressure surfaces."""
    temperature, midpoints = inputs["state_t"], inputs["state_pmid"]
    profiles = {"T": temperature, "U": inputs["state_u"], "V": inputs["state_v"]}
    result: Fields = {}
    for level in _PRESSURE_LEVELS:
        pressure = level * _PA_PER_HPA
        interpolate = PressureInterpolation.to(pressure, midpoints)
        result |= {f"{name}{level}": interpolate(x) for name, x in profiles.items()}
        if heights is not None:
            result[f"Z{level}"] = interpolate.heights(heights, temperature, constants)
    return result
