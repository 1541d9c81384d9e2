"""Derived features of a step: humidity, condensate, tendencies, and the memory of two steps.

All functions are pure; profiles are (level, column) with level 0 at the model top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climsim.constants import FILL_THRESHOLD
from climsim.data.raw import RawStep
from climsim.data.step_file import FILLED_VARIABLES, Fields
from climsim.interfaces import V2, V6
from climsim.physics.thermodynamics import liquid_fraction, relative_humidity
from climsim.variables import (
    EXPANDED,
    OUTPUTS,
    PROGNOSTIC,
    SCALARS_OUT,
    STANDARD,
    TARGETS,
    VARIABLES,
)

MEMORY = 2
"""Previous steps that the expanded set looks back."""

_PHYSICS = ("t", "q0001", "q0002", "q0003", "qn", "u")
_WATER = ("state_q0001", "state_q0002", "state_q0003")


def _stored() -> tuple[str, ...]:
    sets = (STANDARD, EXPANDED, TARGETS, V2.variables, V6.variables, OUTPUTS)
    wanted = {"state_q0001"}.union(*(s.names for s in sets))
    return tuple(name for name in VARIABLES if name in wanted)


STORED = _stored()
"""Variables of a prepared store, in the order of the variable table."""


def memory_needed(name: str) -> int:
    """Number of gapless previous steps that a variable is made of (0, 1 or 2)."""
    if not name.endswith(("_dyn", "_prvphy")):
        return 0
    return 2 if name.startswith("tm_") else 1


def memory_of(seconds: NDArray[np.int64], step: int) -> NDArray[np.int8]:
    """Number of gapless previous steps of each step of a record (0, 1, at most 2).

    Args:
        seconds: (time,) time stamps of the complete steps, in any order.
        step: physics time step [s].

    Returns:
        (time,) 1 where the record also holds the step just before, 2 where it holds the one before
        that too.
    """
    previous = np.isin(seconds - step, seconds)
    earlier = np.isin(seconds - 2 * step, seconds)
    return previous.astype(np.int8) + (previous & earlier)


@dataclass(frozen=True)
class StepTerms:
    """What a step hands to the two steps after it.

    Attributes:
        before: state before physics and boundary inputs.
        after: state after physics and outputs.
        tendencies: ``t, q0001, q0002, q0003, qn, u, v`` (level, column) [unit of the state / s].
        time_step: physics time step [s].
    """

    before: Fields
    after: Fields
    tendencies: Fields
    time_step: float


def step_terms(step: RawStep, time_step: float) -> StepTerms:
    """Compute the physics tendencies of a step.

    ``ptend_X = (mlo.X - mli.X) / dt``, in float64: the difference cancels most digits.

    Args:
        step: both files of the step.
        time_step: physics time step dt [s].

    Returns:
        The step's fields and tendencies.
    """
    tendencies: Fields = {
        name.removeprefix("state_"): (step.after[name] - step.before[name]) / time_step
        for name in PROGNOSTIC
    }
    tendencies["qn"] = tendencies["q0002"] + tendencies["q0003"]
    return StepTerms(step.before, step.after, tendencies, time_step)


def large_scale_forcing(
    before: Mapping[str, NDArray], previous_after: Mapping[str, NDArray], time_step: float
) -> Fields:
    """Change between the physics of one step and the next: what dynamics did.

    ``(mli(t).X - mlo(t-1).X) / dt`` for temperature, total water and eastward wind.

    Args:
        before: state before physics at t, profiles (level, column).
        previous_after: state after physics at t-1.
        time_step: physics time step dt [s].

    Returns:
        ``t`` [K/s], ``q0`` [kg/kg/s], ``u`` [m/s2].
    """
    water = sum(before[n] - previous_after[n] for n in _WATER)
    return {
        "t": (before["state_t"] - previous_after["state_t"]) / time_step,
        "q0": np.asarray(water) / time_step,
        "u": (before["state_u"] - previous_after["state_u"]) / time_step,
    }


def without_fill(fields: Mapping[str, NDArray]) -> Fields:
    """Replace the fill values of the snow depths by 0 (no snow where they have no meaning)."""
    result = dict(fields)
    for name in FILLED_VARIABLES:
        if name in result:
            result[name] = np.where(result[name] > FILL_THRESHOLD, 0.0, result[name])
    return result


def present_features(terms: StepTerms, latitude: NDArray[np.floating]) -> Fields:
    """Compute the stored variables that need no previous step.

    Args:
        terms: the step.
        latitude: (column,) [degrees north].

    Returns:
        State, derived humidity and condensate, boundary scalars, location, targets.
    """
    fields = without_fill(terms.before)
    fields["state_rh"] = relative_humidity(
        fields["state_q0001"], fields["state_t"], fields["state_pmid"]
    )
    fields["state_qn"] = fields["state_q0002"] + fields["state_q0003"]
    fields["liq_partition"] = liquid_fraction(fields["state_t"])
    fields["clat"] = np.cos(np.deg2rad(latitude))
    fields["slat"] = np.sin(np.deg2rad(latitude))
    fields.update({f"ptend_{key}": value for key, value in terms.tendencies.items()})
    fields.update({name: terms.after[name] for name in SCALARS_OUT})
    return fields


def memory_features(
    now: StepTerms, previous: StepTerms | None, earlier: StepTerms | None
) -> Fields:
    """Compute the features of the previous steps.

    The caller passes a step only if it lies exactly one (two) time steps before.

    Args:
        now: step t.
        previous: step t-1, or None.
        earlier: step t-2, or None; ignored without ``previous``.

    Returns:
        ``state_*_dyn``, ``state_*_prvphy`` and the ``tm_`` ones, as far as the steps reach.
    """
    result: Fields = {}
    steps = (now, previous, earlier)
    for prefix, newer, older in (("", steps[0], steps[1]), ("tm_", steps[1], steps[2])):
        if newer is None or older is None:
            break
        forcing = large_scale_forcing(newer.before, older.after, newer.time_step)
        for key, value in forcing.items():
            result[f"{prefix}state_{key}_dyn"] = value
        for key in _PHYSICS:
            result[f"{prefix}state_{key}_prvphy"] = older.tendencies[key]
    return result


EXPANDED_FILE = tuple(n for n in V6.variables.names if n.endswith(("_dyn", "_prvphy")))
"""Previous-step features that an expanded input file holds."""


def expanded_file_features(fields: Mapping[str, NDArray]) -> Fields:
    """Complete the previous-step features of an expanded input file by those of condensate.

    Args:
        fields: `EXPANDED_FILE`, profiles (level, column).

    Returns:
        The same, with ``state_qn_prvphy`` and ``tm_state_qn_prvphy``.
    """
    result = dict(fields)
    for prefix in ("", "tm_"):
        result[f"{prefix}state_qn_prvphy"] = (
            fields[f"{prefix}state_q0002_prvphy"] + fields[f"{prefix}state_q0003_prvphy"]
        )
    return result
