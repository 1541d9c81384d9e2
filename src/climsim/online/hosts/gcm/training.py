"""Train the radiation networks on labelled columns, and say how well they do."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from climsim.online.hosts.gcm import network
from climsim.online.hosts.gcm.columns import RadiationColumns, RadiationFluxes, heating

_log = logging.getLogger(__name__)
_DAY: Final = 86400.0
_FLUX_SCALE: Final = 10.0
"""Error of a flux that counts like one K/day at every level [W/m2]."""
_CALM: Final = 0.7
"""Heating beside which the variability of a level counts [K/day]."""
FLUXES: Final = (
    "longwave_out",
    "surface_longwave_down",
    "surface_longwave_up",
    "shortwave_out",
    "surface_shortwave_down",
    "surface_shortwave_up",
    "direct_visible",
    "direct_near_infrared",
    "diffuse_visible",
    "diffuse_near_infrared",
)
_LONGWAVE_FLUXES, _SHORTWAVE_FLUXES = FLUXES[:2], FLUXES[3:]


@dataclass(frozen=True)
class TrainingPlan:
    """How the networks are trained.

    Attributes:
        steps: optimizer steps.
        batch: columns in each.
        rate: largest learning rate.
        seconds: wall-clock time after which the rate has fallen to zero; 0 for no limit.
        hidden: units of each recurrent layer.
        seed: of weights and batches.
    """

    steps: int = 6000
    batch: int = 512
    rate: float = 3.0e-3
    seconds: float = 0.0
    hidden: int = network.HIDDEN
    seed: int = 0


def rates(fluxes: RadiationFluxes, columns: RadiationColumns) -> tuple[Any, Any]:
    """Longwave and shortwave heating, (level, column) [K/day]."""
    return (
        heating(fluxes.longwave_absorbed, columns.interfaces) * _DAY,
        heating(fluxes.shortwave_absorbed, columns.interfaces) * _DAY,
    )


def with_scales(
    weights: network.Weights, columns: RadiationColumns, fluxes: RadiationFluxes
) -> network.Weights:
    """Weights whose scales are those of the labels."""
    longwave, shortwave = (np.asarray(rate) for rate in rates(fluxes, columns))
    sun = np.asarray(fluxes.shortwave_in)
    lit = shortwave[:, sun > 50.0] / sun[sun > 50.0] * 1000.0
    warm = (np.asarray(columns.surface_temperature) - 280.0) / 30.0
    emissivity = np.asarray(columns.emissivity)
    black = emissivity * 5.670374e-8 * np.asarray(columns.surface_temperature, np.float64) ** 4
    emitted = np.asarray(fluxes.surface_longwave_up, np.float64) - (1 - emissivity) * np.asarray(
        fluxes.surface_longwave_down, np.float64
    )
    parabola = np.polynomial.polynomial.polyfit(warm, emitted / black, 2)
    new = {**weights, "emission": jnp.asarray(parabola, jnp.float32)}
    new["longwave"] = {
        **weights["longwave"],
        "mean": jnp.asarray(longwave.mean(axis=1), jnp.float32),
        "scale": jnp.asarray(longwave.std(axis=1) + 1.0e-3, jnp.float32),
    }
    new["shortwave"] = {
        **weights["shortwave"],
        "scale": jnp.asarray(lit.mean(axis=1) + 1.0e-4, jnp.float32),
    }
    return new


_FIXED = ("mean", "scale", "emission")


def _trainable(weights: network.Weights) -> Any:
    """True for each leaf that training changes."""
    return jax.tree_util.tree_map_with_path(
        lambda where, _: where[-1].key not in _FIXED, weights
    )


def _penalty(error: Any) -> Any:
    """Between absolute and squared error, without weight on the rare large ones."""
    return jnp.sqrt(error**2 + 1.0e-4) + 9.0 * (jnp.sqrt(1.0 + (error / 3.0) ** 2) - 1.0)


def loss(
    weights: network.Weights,
    columns: RadiationColumns,
    fluxes: RadiationFluxes,
    level_weight: tuple[Any, Any],
) -> Any:
    """Squared errors of heating (in units of a level's variability) and of fluxes."""
    made = network.longwave(weights, columns) | network.shortwave(weights, columns)
    total = 0.0
    for name, weight in zip(("longwave", "shortwave"), level_weight, strict=True):
        error = made[f"{name}_absorbed"] - getattr(fluxes, f"{name}_absorbed")
        error = heating(error, columns.interfaces) * _DAY * weight[:, None]
        total += jnp.mean(_penalty(error))
    for name in (*_LONGWAVE_FLUXES, *_SHORTWAVE_FLUXES):
        error = (made[name] - getattr(fluxes, name)) / _FLUX_SCALE
        total += 0.3 * jnp.mean(_penalty(error))
    return total


def train(
    columns: RadiationColumns,
    fluxes: RadiationFluxes,
    plan: TrainingPlan,
    start: network.Weights | None = None,
    checkpoint: Path | None = None,
) -> network.Weights:
    """Weights after training on labelled columns.

    Args:
        columns: training columns.
        fluxes: RRTMGP's fluxes of them.
        plan: how.
        start: weights to begin with; None begins anew.
        checkpoint: file that gets the weights every minute.
    """
    import optax

    levels, count = columns.temperature.shape
    weights = start
    if weights is None:
        weights = with_scales(
            network.initial_weights(plan.seed, levels, plan.hidden), columns, fluxes
        )
    variability = [np.asarray(rate).std(axis=1) for rate in rates(fluxes, columns)]
    level_weight = tuple(jnp.asarray(1.0 / (value + _CALM), jnp.float32) for value in variability)
    columns, fluxes = jax.tree.map(jnp.asarray, (columns, fluxes))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
    optimizer = optax.masked(optimizer, _trainable(weights))
    state = optimizer.init(weights)
    trained = _trainable(weights)

    @jax.jit
    def step(weights: Any, state: Any, key: Any, rate: Any) -> tuple[Any, Any, Any]:
        chosen = jax.random.randint(key, (plan.batch,), 0, count)
        taken = jax.tree.map(lambda values: jnp.take(values, chosen, axis=-1), (columns, fluxes))
        value, gradient = jax.value_and_grad(loss)(weights, *taken, level_weight)
        change, state = optimizer.update(gradient, state)
        weights = jax.tree.map(
            lambda old, new, free: old - rate * new if free else old, weights, change, trained
        )
        return weights, state, value

    key, begun, saved, mean = jax.random.PRNGKey(plan.seed), time.monotonic(), time.monotonic(), 0.0
    for index in range(plan.steps):
        part = index / plan.steps
        if plan.seconds:
            part = max(part, (time.monotonic() - begun) / plan.seconds)
        if part >= 1.0:
            break
        rate = plan.rate * min(1.0, (index + 1) / 200) * 0.5 * (1.0 + np.cos(np.pi * part))
        key, use = jax.random.split(key)
        weights, state, value = step(weights, state, use, rate)
        if index % 50 == 0:
            mean = float(value)
        if index % 500 == 0:
            _log.info("step %d: loss %.4f, %.0f s", index, mean, time.monotonic() - begun)
        if checkpoint is not None and time.monotonic() - saved > 60.0:
            network.save_weights(checkpoint, weights, json.dumps({"steps": index}))
            saved = time.monotonic()
    return weights


def errors(
    weights: network.Weights, columns: RadiationColumns, fluxes: RadiationFluxes, block: int = 512
) -> dict[str, Any]:
    """Errors of the networks against labels.

    Returns:
        `longwave` and `shortwave`: lists of the root mean square error of heating per level
        [K/day]; `heating`: that of their sum over levels weighted alike; and per flux `bias` and
        `rmse` [W/m2].
    """
    run = jax.jit(lambda part: network.longwave(weights, part) | network.shortwave(weights, part))
    count = columns.temperature.shape[-1]
    parts = []
    for first in range(0, count - block + 1, block):
        chosen = slice(first, first + block)
        part = jax.tree.map(lambda values, c=chosen: jnp.asarray(values[..., c]), columns)
        made = run(part)
        parts.append({name: np.asarray(made[name]) for name in made})
    made = {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}
    used = next(iter(made.values())).shape[-1]
    interfaces = np.asarray(columns.interfaces)[:, :used]
    result: dict[str, Any] = {"columns": used}
    both = 0.0
    for name in ("longwave", "shortwave"):
        truth = np.asarray(getattr(fluxes, f"{name}_absorbed"))[:, :used]
        error = np.asarray(heating(made[f"{name}_absorbed"] - truth, interfaces)) * _DAY
        both = both + error
        result[name] = [round(float(value), 3) for value in np.sqrt((error**2).mean(axis=1))]
    result["heating"] = round(float(np.sqrt((np.asarray(both) ** 2).mean())), 3)
    for name in FLUXES:
        error = made[name] - np.asarray(getattr(fluxes, name))[:used]
        result[name] = {
            "bias": round(float(error.mean()), 3),
            "rmse": round(float(np.sqrt((error**2).mean())), 3),
        }
    return result
