"""The fast radiation: two recurrent networks that run down and up the column, trained on RRTMGP.

One network gives the longwave, one the shortwave, per layer what it absorbs and at the surface
what arrives there. What leaves at the top is what remains, so the energy of a column closes
exactly. The shortwave network runs on the sunlit half of the columns alone.

Source: recurrent networks for radiative transfer, Ukkonen 2022, J. Adv. Model. Earth Syst. 14.
"""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import jcm.constants as jcm_constants
import numpy as np

from climsim.constants import SECONDS_PER_DAY
from climsim.online.hosts.gcm.columns import RadiationColumns, RadiationFluxes

Weights = dict[str, Any]
LONGWAVE, SHORTWAVE = "longwave", "shortwave"
HIDDEN: Final = 48
_HEAD: Final = 32
_LEVEL_FEATURES, _SURFACE_FEATURES = 14, 6
_STREAMS: Final = 4
_VISIBLE_BAND: Final = 9
"""Shortwave band of RRTMGP whose aerosol is shown to the network: 0.44 to 0.63 um."""
_SUNLIT_SHARE: Final = 0.5625
"""Room for sunlit columns; at most half of a globe and its rim are sunlit."""
_LARGEST_FEATURE: Final = 6.0
_SMALL_MASS: Final = 1.0e-3
"""Cloud path that counts as thin [kg/m2]."""
_KELVIN_PER_DAY: Final = SECONDS_PER_DAY * 9.80665 / 1004.64


def level_features(columns: RadiationColumns) -> Any:
    """What a level shows to the networks, (level, column, feature) [1], of order one."""
    thickness = jnp.diff(columns.interfaces, axis=0)
    aerosol = columns.aerosol_depth[_VISIBLE_BAND]
    absorbing = aerosol * (1.0 - columns.aerosol_albedo[_VISIBLE_BAND])
    vapour = columns.humidity * thickness / jcm_constants.grav
    features = (
        (columns.temperature - 250.0) / 30.0,
        (jnp.log(columns.humidity + 1.0e-8) + 9.0) / 3.0,
        (jnp.log(vapour + 1.0e-6) + 3.0) / 3.0,
        (jnp.log(columns.pressure) - 10.0) / 2.0,
        jnp.log(thickness) - 7.0,
        jnp.sqrt(jnp.maximum(columns.ozone, 0.0) * 1.0e6) / 1.5,
        columns.cover,
        jnp.log1p(columns.liquid_path / _SMALL_MASS) / 3.0,
        jnp.log1p(columns.ice_path / _SMALL_MASS) / 3.0,
        jnp.where(columns.liquid_path > 0.0, columns.liquid_radius / 10.0, 0.0),
        jnp.where(columns.ice_path > 0.0, columns.ice_radius / 50.0, 0.0),
        jnp.sqrt(aerosol) * 10.0,
        jnp.sqrt(jnp.maximum(absorbing, 0.0)) * 30.0,
        jnp.broadcast_to(jnp.maximum(columns.cos_zenith, 0.0), columns.temperature.shape),
    )
    return jnp.clip(jnp.stack(features, axis=-1), -_LARGEST_FEATURE, _LARGEST_FEATURE)


def surface_features(columns: RadiationColumns) -> Any:
    """What the surface and the sun show to the networks, (column, feature) [1]."""
    sun = jnp.maximum(columns.cos_zenith, 0.0)
    features = (
        (columns.surface_temperature - 280.0) / 30.0,
        (columns.emissivity - 0.98) * 20.0,
        sun,
        1.0 / (sun + 0.1) / 5.0,
        columns.albedo_visible,
        columns.albedo_near_infrared,
    )
    return jnp.clip(jnp.stack(features, axis=-1), -_LARGEST_FEATURE, _LARGEST_FEATURE)


def initial_weights(seed: int, levels: int, hidden: int = HIDDEN) -> Weights:
    """Random weights of both networks and neutral scales of their results."""
    draw = np.random.default_rng(seed)

    def dense(inputs: int, outputs: int) -> dict[str, Any]:
        values = draw.standard_normal((inputs, outputs)) / np.sqrt(inputs)
        return {"w": jnp.asarray(values, jnp.float32), "b": jnp.zeros(outputs)}

    def network(surface_outputs: int) -> Weights:
        return {
            "first": dense(_SURFACE_FEATURES, hidden),
            "down_in": dense(_LEVEL_FEATURES, 3 * hidden),
            "down": dense(hidden, 3 * hidden),
            "turn": dense(hidden + _SURFACE_FEATURES, hidden),
            "up_in": dense(_LEVEL_FEATURES + hidden, 3 * hidden),
            "up": dense(hidden, 3 * hidden),
            "layer": dense(2 * hidden, _HEAD),
            "layer_out": dense(_HEAD, 1),
            "surface": dense(hidden + _SURFACE_FEATURES, _HEAD),
            "surface_out": dense(_HEAD, surface_outputs),
            "mean": jnp.zeros(levels),
            "scale": jnp.ones(levels),
        }

    return {
        LONGWAVE: network(1),
        SHORTWAVE: network(_STREAMS),
        "emission": jnp.asarray([1.0, 0.0, 0.0]),
    }


def _dense(weights: dict[str, Any], values: Any) -> Any:
    return values @ weights["w"] + weights["b"]


def _recurrent(weights: dict[str, Any], inputs: Any, start: Any, *, reverse: bool) -> Any:
    """Gated recurrent unit through the levels, (level, column, hidden).

    Args:
        weights: of the state.
        inputs: (level, column, 3 hidden), already multiplied.
        start: (column, hidden).
        reverse: from the surface up.
    """

    def step(state: Any, seen: Any) -> tuple[Any, Any]:
        remembered = _dense(weights, state)
        seen_reset, seen_keep, seen_new = jnp.split(seen, 3, axis=-1)
        old_reset, old_keep, old_new = jnp.split(remembered, 3, axis=-1)
        keep = jax.nn.sigmoid(seen_keep + old_keep)
        new = jnp.tanh(seen_new + jax.nn.sigmoid(seen_reset + old_reset) * old_new)
        state = new + keep * (state - new)
        return state, state

    _, states = jax.lax.scan(step, start, inputs, reverse=reverse)
    return states


def run_network(weights: Weights, levels: Any, surface: Any) -> tuple[Any, Any]:
    """One network on features.

    Args:
        weights: of the longwave or the shortwave network.
        levels: (level, column, feature).
        surface: (column, feature).

    Returns:
        One number a layer, (level, column), and the numbers at the surface, (column, output),
        both before their scaling.
    """
    start = jnp.tanh(_dense(weights["first"], surface))
    down = _recurrent(weights["down"], _dense(weights["down_in"], levels), start, reverse=False)
    ground = jnp.concatenate([down[-1], surface], axis=-1)
    seen = _dense(weights["up_in"], jnp.concatenate([levels, down], axis=-1))
    turned = jnp.tanh(_dense(weights["turn"], ground))
    up = _recurrent(weights["up"], seen, turned, reverse=True)
    both = jnp.concatenate([down, up], axis=-1)
    layer = _dense(weights["layer_out"], jax.nn.relu(_dense(weights["layer"], both)))[..., 0]
    hidden = jax.nn.relu(_dense(weights["surface"], ground))
    return layer, _dense(weights["surface_out"], hidden)


def _absorbed(rate: Any, interfaces: Any) -> Any:
    """What a layer absorbs at a rate of heating [K/day], (level, column) [W/m2]."""
    return rate * jnp.diff(interfaces, axis=0) / _KELVIN_PER_DAY


def longwave(weights: Weights, columns: RadiationColumns) -> dict[str, Any]:
    """Longwave fields of `RadiationFluxes`."""
    network = weights[LONGWAVE]
    layer, ground = run_network(network, level_features(columns), surface_features(columns))
    rate = network["mean"][:, None] + network["scale"][:, None] * layer
    absorbed = _absorbed(rate, columns.interfaces)
    down = jnp.maximum(300.0 + 100.0 * ground[:, 0], 0.0)
    up = surface_emission(weights["emission"], columns, down)
    return {
        "longwave_absorbed": absorbed,
        "surface_longwave_down": down,
        "surface_longwave_up": up,
        "longwave_out": up - down - jnp.sum(absorbed, axis=0),
    }


def surface_emission(coefficients: Any, columns: RadiationColumns, down: Any) -> Any:
    """Upward longwave flux at the surface in RRTMGP's bands, (column,) [W/m2].

    `e c(T) sigma T^4 + (1 - e) down`; c, a parabola close to one, is what the bands hold of a
    black body's emission.
    """
    warm = (columns.surface_temperature - 280.0) / 30.0
    held = coefficients[0] + coefficients[1] * warm + coefficients[2] * warm**2
    black = held * jcm_constants.sbc * columns.surface_temperature**4
    return columns.emissivity * black + (1.0 - columns.emissivity) * down


def shortwave(weights: Weights, columns: RadiationColumns) -> dict[str, Any]:
    """Shortwave fields of `RadiationFluxes` of columns, all taken as sunlit."""
    network = weights[SHORTWAVE]
    layer, ground = run_network(network, level_features(columns), surface_features(columns))
    sun = columns.irradiance * jnp.maximum(columns.cos_zenith, 0.0)
    # Heating a unit of sunlight; jax.nn.softplus keeps it above zero.
    rate = network["scale"][:, None] * jax.nn.softplus(layer) * sun / 1000.0
    absorbed = _absorbed(rate, columns.interfaces)
    streams = (jax.nn.sigmoid(ground) * sun[:, None]).T
    down = jnp.sum(streams, axis=0)
    up = columns.albedo_visible * (streams[0] + streams[2])
    up = up + columns.albedo_near_infrared * (streams[1] + streams[3])
    return {
        "shortwave_absorbed": absorbed,
        "shortwave_in": sun,
        "shortwave_out": sun - (down - up) - jnp.sum(absorbed, axis=0),
        "surface_shortwave_down": down,
        "surface_shortwave_up": up,
        "direct_visible": streams[0],
        "direct_near_infrared": streams[1],
        "diffuse_visible": streams[2],
        "diffuse_near_infrared": streams[3],
    }


def apply(weights: Weights, columns: RadiationColumns) -> RadiationFluxes:
    """Fluxes of all columns; the shortwave network sees the sunlit ones alone."""
    count = columns.cos_zenith.shape[-1]
    room = min(count, -(-int(_SUNLIT_SHARE * count) // 8) * 8)
    chosen = jnp.argsort(-columns.cos_zenith)[:room]
    sunlit = jax.tree.map(lambda values: jnp.take(values, chosen, axis=-1), columns)

    def spread(values: Any) -> Any:
        dark = jnp.zeros((*values.shape[:-1], count), values.dtype)
        return dark.at[..., chosen].set(values)

    light = jax.tree.map(spread, shortwave(weights, sunlit))
    return RadiationFluxes(**longwave(weights, columns), **light)


def save_weights(path: Path, weights: Weights, notes: str) -> None:
    """Write weights as one file, in half the precision of the run.

    Args:
        path: where.
        weights: of both networks.
        notes: what made them and how well they do, as JSON.
    """
    from climsim.files import atomic_path

    flat = {
        "/".join(key.key for key in where): np.asarray(value, np.float32)
        for where, value in jax.tree_util.tree_flatten_with_path(weights)[0]
    }
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, notes=np.array(notes), **flat)


def load_weights(path: Path) -> Weights:
    """Weights from a file that `save_weights` wrote."""
    weights: Weights = {}
    with np.load(path, allow_pickle=False) as stored:
        for name in stored.files:
            if name == "notes":
                continue
            *groups, last = name.split("/")
            node = weights
            for group in groups:
                node = node.setdefault(group, {})
            node[last] = stored[name]
    return weights


def shipped_path() -> Any:
    """The weights that are shipped."""
    return resources.files(__package__) / "assets" / "radiation_L60.npz"


@functools.cache
def shipped_weights() -> Weights:
    """The weights that are shipped, read once."""
    with resources.as_file(shipped_path()) as path:
        return load_weights(path)


def shipped_scheme(columns: RadiationColumns) -> RadiationFluxes:
    """Fluxes by the shipped weights."""
    return apply(shipped_weights(), columns)
