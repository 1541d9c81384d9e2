"""The coupler: between the output of an exported model and the state of a climate model.

One algorithm of arrays, `couple`, used by every host and testable without one. It follows E3SM's
neural-network emulator (Hu et al. 2025), and runs on arrays of NumPy or of torch, wherever those
lie (`climsim.arrays`). Fields are (level, column) or (column,), level 0 at the
model top; vectors that a model takes and gives are (column, feature).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from climsim.arrays import (
    Array,
    Fields,
    as_array,
    at_least,
    between,
    count,
    double,
    namespace,
    numbers_like,
)
from climsim.constants import TIME_STEP
from climsim.errors import ClimSimError
from climsim.physics.air import Air
from climsim.physics.columns import Columns
from climsim.physics.previous_steps import WATER
from climsim.physics.thermodynamics import tropopause_level
from climsim.runs.coupling import CONFIDENCE, LINEAR, NO_MIXING, NOVELTY, CouplerOptions
from climsim.variables import NIGHT_ZERO, OUTPUTS, TARGETS

UNCOUPLED_AT_TOP = ("ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_u", "ptend_v")
"""Tendencies that the top levels do not receive."""
Counts = dict[str, NDArray[np.integer]]
"""Numbers of values by name, (column,)."""
_ROUNDING = 1.0e-6
"""Share of a content that a deficit must exceed to count as a correction."""


@dataclass(frozen=True)
class ModelOutput:
    """An exported model's output, taken apart.

    Attributes:
        tendencies: ``ptend_*`` (level, column) of the model's outputs.
        surface: ``cam_out_*`` (column,).
        confidence: expected loss by target (``ptend_*`` (level, column), ``cam_out_*`` (column,)),
            in units of the training loss; empty without a confidence head.
    """

    tendencies: Fields
    surface: Fields
    confidence: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Corrections:
    """What the rules changed in one step.

    Attributes:
        counts: by rule and variable, number of values changed, (column,).
        added: by variable, mass [kg m-2 s-1] or energy [W m-2] that positivity added, (column,).
    """

    counts: Counts = field(default_factory=dict)
    added: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Coupled:
    """What the host is handed for one step.

    Attributes:
        tendencies: ``ptend_*`` of t, q0001, q0002, q0003, u, v, (level, column).
        surface: the eight ``cam_out_*`` scalars, (column,).
        corrections: what the rules changed.
        share: the share r of the network in this step, (column,).
    """

    tendencies: Fields
    surface: Fields
    corrections: Corrections
    share: Array


@dataclass(frozen=True)
class _Content:
    """What a step may take from the layers.

    Attributes:
        amount: (level, column) before the step.
        dt: time step [s].
    """

    amount: Array
    dt: float

    @cached_property
    def emptying(self) -> Array:
        """Tendency that leaves nothing, (level, column)."""
        emptying = -self.amount
        emptying /= self.dt
        return emptying


_MISSING = {
    CONFIDENCE: "a model with a confidence head, found one without: train with recipe=conf_loss, "
    f"or set coupler.mixing={NOVELTY}",
    NOVELTY: "the novelty of the inputs, found none: give the statistics of the training data",
}
"""What the share of the network follows by its rule, and what to do where it is not there."""


def network_share(options: CouplerOptions, step: int) -> float:
    """Share r of the network, by the schedule of the options.

    Args:
        options: of the coupler.
        step: steps since the end of the spin-up, 0 for the first coupled step.

    Returns:
        ``factor`` (constant); ``factor min(1, step / N)`` (linear); ``factor`` for the first n1 of
        every n1 + n0 steps, else 0 (step).
    """
    if options.ramp == LINEAR:
        return options.ramp_factor * min(1.0, step / options.ramp_linear_steps)
    if options.ramp == "step":
        period = options.ramp_step_1steps + options.ramp_step_0steps
        return options.ramp_factor if step % period < options.ramp_step_1steps else 0.0
    return options.ramp_factor


def column_share(
    options: CouplerOptions, network: ModelOutput, novelty: Array | None = None
) -> Array:
    """Share of the network in each column, (column,), 1 where the options mix nothing.

    The idea to let the physics take over where the expected error is large: Heuer et al. 2025
    (arXiv 2510.08107); where the inputs are novel: Sanford et al. 2023.

    Args:
        options: of the coupler.
        network: the model's output, with its confidence.
        novelty: (column,) of the inputs.

    Raises:
        ClimSimError: if the share follows what is not there.
    """
    flux = double(next(iter(network.surface.values())))
    xp = namespace(flux)
    ones: Array = xp.ones_like(flux)
    if options.mixing == NO_MIXING:
        return ones
    score = novelty
    if options.mixing == CONFIDENCE:
        rows = [loss if loss.ndim == 2 else loss[None, :] for loss in network.confidence.values()]
        score = xp.mean(xp.concat(rows), axis=0) if rows else None
    if score is None:
        raise ClimSimError(f"coupler.mixing={options.mixing}: expected {_MISSING[options.mixing]}")
    low, high = options.mixing_low, options.mixing_high
    if low == high:
        return xp.where(score <= low, ones, 0.0 * ones)
    return between((high - score) / (high - low), 0.0, 1.0)


def split_output(output: Array, levels: int) -> ModelOutput:
    """Take an exported model's output apart.

    Args:
        output: (column, feature): tendencies and fluxes, followed by the confidences of the
            targets if the model has them.
        levels: number of levels.

    Returns:
        Fields in float64, (level, column) or (column,).

    Raises:
        ClimSimError: if the number of features fits neither form.
    """
    size = OUTPUTS.size(levels)
    confidences = output.shape[1] - size
    if confidences not in (0, TARGETS.size(levels)):
        raise ClimSimError(
            f"model output: expected {size} or {size + TARGETS.size(levels)} values a column "
            f"at {levels} levels, found {output.shape[1]}: export the model for this host"
        )
    fields = _fields(output[:, :size], OUTPUTS.slices(levels))
    tendencies = {n: fields[n] for n in OUTPUTS.profiles}
    surface = {n: fields[n] for n in OUTPUTS.scalars}
    if not confidences:
        return ModelOutput(tendencies, surface)
    return ModelOutput(tendencies, surface, _fields(output[:, size:], TARGETS.slices(levels)))


def _fields(vector: Array, slices: Mapping[str, slice]) -> Fields:
    xp = namespace(vector)
    # By feature, which every rule then runs through, in one copy.
    rows: Array = xp.empty(vector.shape[::-1], dtype=xp.float64, device=device(vector))
    rows[:, :] = vector.T
    return {
        name: rows[where.start] if where.stop - where.start == 1 else rows[where]
        for name, where in slices.items()
    }


def couple(
    network: ModelOutput,
    inputs: Fields,
    air: Air,
    options: CouplerOptions,
    step: int,
    physics: ModelOutput | None = None,
    dt: float = TIME_STEP,
    novelty: Array | None = None,
) -> Coupled:
    """Turn a model's output into what the host is handed.

    In order: the eight scalars are floored at 0, and the shortwave ones are 0 where COSZRS <= 0;
    stratospheric water; positivity; no water and wind tendency in the top levels; then the
    physics takes its share (partial coupling, ocean-only surface, ramp). Both partners of that
    mean keep the state non-negative, so their mean does too.

    Args:
        network: the model's output.
        inputs: state before physics and boundary inputs, as in a raw input file.
        air: of that state, with the constants of the host.
        options: which rules act.
        step: steps since the end of the spin-up.
        physics: the host's own tendencies and scalars; needed where `options.blends`.
        dt: time step [s].
        novelty: (column,) of the inputs; needed where the share follows it.

    Returns:
        Tendencies, surface scalars and the corrections made.

    Raises:
        ClimSimError: if the options need the physics and it is not given.
    """
    corrections = Corrections()
    counts = corrections.counts
    tendencies = dict(network.tendencies)
    surface = _limit_surface(network.surface, inputs["pbuf_COSZRS"], counts)
    temperature = double(inputs["state_t"])
    content = {f"ptend_{n}": _Content(double(inputs[f"state_{n}"]), dt) for n in WATER}
    if options.strato_water:
        above = _stratosphere(temperature, inputs["state_pmid"], air)
        tendencies = _dry(tendencies, content, above, counts)
    if options.positivity:
        content["ptend_t"] = _Content(_dry_static_energy(temperature, air), dt)
        tendencies = _keep_positive(tendencies, content, air.columns, corrections)
    _uncouple_top(tendencies, network.tendencies, options.top_levels)
    share = network_share(options, step) * column_share(options, network, novelty)
    if options.blends:
        own = _required(physics)
        tendencies = _mix(tendencies, own.tendencies, options, share)
        surface = _surface_share(surface, own.surface, inputs, options, share)
    return Coupled(tendencies, surface, corrections, share)


def _limit_surface(surface: Fields, cosine: Array, counts: Counts) -> Fields:
    """Floor the scalars at 0; no shortwave where the sun is at or below the horizon."""
    night = as_array(cosine) <= 0.0
    xp = namespace(night)
    result = {}
    for name, value in surface.items():
        counts[f"floor:{name}"] = count(value < 0)
        limited = at_least(value, 0.0)
        if name in NIGHT_ZERO:
            counts[f"night:{name}"] = count(night & (limited > 0))
            limited = xp.where(night, 0.0, limited)
        result[name] = limited
    return result


def _stratosphere(temperature: Array, pressure: Array, air: Air) -> NDArray[np.bool_]:
    """Which values (level, column) lie at or above the tropopause."""
    tropopause = tropopause_level(temperature, air.heights, pressure, air.constants)
    levels = numbers_like(temperature.shape[0], air.heights)[:, None]
    above: NDArray[np.bool_] = levels <= tropopause
    return above


def _dry(
    tendencies: Fields, water: Mapping[str, _Content], above: NDArray[np.bool_], counts: Counts
) -> Fields:
    """At and above the tropopause: no vapour tendency, all cloud removed."""
    xp = namespace(above)
    removal: dict[str, Array | float] = {
        "ptend_q0001": 0.0,
        "ptend_q0002": water["ptend_q0002"].emptying,
        "ptend_q0003": water["ptend_q0003"].emptying,
    }
    result = dict(tendencies)
    for name, value in removal.items():
        changed = above & (tendencies[name] != value)
        counts[f"strato_water:{name}"] = count(changed)
        result[name] = xp.where(above, value, tendencies[name])
    return result


def _dry_static_energy(temperature: Array, air: Air) -> Array:
    """Over the heat capacity, so in K."""
    energy = air.constants.gravity / air.constants.dry_air_heat_capacity * air.heights
    energy += temperature
    return energy


def _keep_positive(
    tendencies: Fields,
    content: Mapping[str, _Content],
    columns: Columns,
    corrections: Corrections,
) -> Fields:
    """Raise tendencies that would make water or dry static energy (in K) negative."""
    result, counts, added = dict(tendencies), corrections.counts, corrections.added
    for name, held in content.items():
        xp = namespace(held.emptying)
        raised = xp.maximum(tendencies[name], held.emptying)
        deficit = raised - tendencies[name]
        result[name] = raised
        if name == "ptend_t":
            counts[f"positivity:{name}"] = count(deficit > 0.0)
            deficit *= columns.constants.dry_air_heat_capacity
        else:
            # A tendency in single precision that empties a layer misses zero by rounding.
            counts[f"positivity:{name}"] = count(deficit > _ROUNDING * xp.abs(held.emptying))
        added[name] = columns.integral(deficit)
    return result


def _uncouple_top(tendencies: Fields, network: Fields, levels: int) -> None:
    """Take the top levels out of tendencies, those of the network's own output out of copies."""
    for name in UNCOUPLED_AT_TOP:
        if tendencies[name] is network[name]:
            tendencies[name] = namespace(network[name]).asarray(network[name], copy=True)
        tendencies[name][:levels, :] = 0.0


def _required(physics: ModelOutput | None) -> ModelOutput:
    if physics is None:
        raise ClimSimError(
            "coupler: partial coupling, ocean_only and ramps need the host's physics as well"
        )
    return physics


def _surface_share(
    network: Fields, physics: Fields, inputs: Fields, options: CouplerOptions, share: Array
) -> Fields:
    """Mix the scalars as the tendencies; where asked for, off open ocean from physics alone."""
    surface = _mix(network, physics, options, share)
    if not options.ocean_only:
        return surface
    ocean = inputs["cam_in_OCNFRAC"] >= 1.0
    xp = namespace(ocean)
    return {n: xp.where(ocean, x, physics[n]) for n, x in surface.items()}


def _mix(network: Fields, physics: Fields, options: CouplerOptions, share: Array) -> Fields:
    """Take the chosen variables by share from the network, the others from the physics."""
    chosen = options.partial_variables or OUTPUTS.names
    result = {}
    for name, value in network.items():
        by_physics = double(physics[name])
        xp = namespace(by_physics)
        # share * a + (1 - share) * b would not return `a` exactly at share 1 for infinite b
        with np.errstate(invalid="ignore"):
            mixed = xp.where(share == 1.0, value, share * value + (1.0 - share) * by_physics)
        result[name] = mixed if name in chosen else by_physics
    return result
