"""Derived features of a step: humidity, condensate, tendencies, and the memory of two steps.

All functions are pure; profiles are (level, column) with level 0 at the model top.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climsim.arrays import Fields
from climsim.constants import FILL_THRESHOLD
from climsim.data.raw.step_file import FILLED_VARIABLES
from climsim.data.raw.steps import RawStep
from climsim.errors import ClimSimError
from climsim.interfaces import ENCODINGS, INTERFACES, encoding
from climsim.physics.condensate import quantity
from climsim.physics.derived import derived_inputs
from climsim.physics.previous_steps import (
    EARLIER,
    earlier_scalars,
    large_scale_forcing,
    large_scale_state,
    one_step_earlier,
    physics_features,
)
from climsim.variables import (
    EARLIER_SCALARS,
    OUTPUTS,
    PROGNOSTIC,
    SCALARS_OUT,
    TARGETS,
    V4,
    VARIABLES,
)

MEMORY = 2
"""Previous steps that the expanded set looks back."""

_PHYSICS = ("t", "q0001", "q0002", "q0003", "qn", "u")


def _stored() -> tuple[str, ...]:
    seen = (row.variables for row in ENCODINGS.values())
    given = (row.variables for row in INTERFACES.values())
    wanted = {"state_q0001"}.union(*(s.names for s in (*seen, *given, TARGETS, OUTPUTS)))
    return tuple(name for name in VARIABLES if name in wanted)


STORED = _stored()
"""Variables of a prepared store, in the order of the variable table."""


def memory_needed(name: str) -> int:
    """Number of gapless previous steps that a variable is made of (0, 1 or 2)."""
    if name in EARLIER_SCALARS:
        return 1
    if not name.endswith(("_dyn", "_prvphy")):
        return 0
    return 2 if name.startswith("tm_") else 1


def require_features(holder: str, names: Collection[str], inputs: str) -> None:
    """Refuse a store without the previous-step features that a kind of inputs needs.

    Args:
        holder: the store, or the stage that prepares it, for the message.
        names: variables of the store.
        inputs: name of an encoding.

    Raises:
        ClimSimError: if it lacks one.
    """
    missing = [name for name in encoding(inputs).variables.names if name not in names]
    if any(memory_needed(name) for name in missing):
        raise ClimSimError(
            f"{holder}: the store holds no previous-step features, which {inputs} inputs need: "
            "prepare it again with memory=true, or choose a recipe of the standard set"
        )


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
    tendencies["qn"] = quantity(tendencies, "qn")
    return StepTerms(step.before, step.after, tendencies, time_step)


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
    fields.update(derived_inputs(fields, latitude))
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
    if previous is not None:
        result |= _features_of(now, previous)
        result |= earlier_scalars(without_fill(previous.before))
    if previous is not None and earlier is not None:
        result |= one_step_earlier(_features_of(previous, earlier))
    return result


def _features_of(step: StepTerms, previous: StepTerms) -> Fields:
    """Forcing and physics tendencies of the step before, `state_*_dyn` and `state_*_prvphy`."""
    before, after = large_scale_state(step.before), large_scale_state(previous.after)
    return {
        **large_scale_forcing(before, after, step.time_step),
        **physics_features(previous.tendencies, _PHYSICS),
    }


EXPANDED_FILE = tuple(
    n for n in V4.names if n.endswith(("_dyn", "_prvphy")) or n in EARLIER_SCALARS
)
"""Previous-step features that an expanded input file holds."""


def expanded_file_features(fields: Mapping[str, NDArray]) -> Fields:
    """Complete the previous-step features of an expanded input file by those of condensate.

    Args:
        fields: `EXPANDED_FILE`, profiles (level, column).

    Returns:
        The same, with ``state_qn_prvphy`` and ``tm_state_qn_prvphy``.
    """
    condensate = ("state_qn_prvphy", EARLIER + "state_qn_prvphy")
    return {**fields, **{name: quantity(fields, name) for name in condensate}}
