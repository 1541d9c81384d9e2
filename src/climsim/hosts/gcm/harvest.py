"""Columns that the fast radiation is fitted to and tested on: states of a run and around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, TypeVar

import jax
import numpy as np

from climsim.hosts.gcm.columns import RadiationColumns, RadiationFluxes

_CORRELATED_LEVELS: Final = 6.0
"""Levels over which a perturbation is alike."""
_SMALLEST_HUMIDITY: Final = 1.0e-7
Batch = TypeVar("Batch", RadiationColumns, RadiationFluxes)


def _smooth(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Noise of unit variance that is alike over neighbouring levels, (level, column)."""
    levels = np.arange(shape[0])
    kernel = np.exp(-0.5 * ((levels[:, None] - levels[None]) / _CORRELATED_LEVELS) ** 2)
    kernel /= np.sqrt((kernel**2).sum(axis=1, keepdims=True))
    return np.asarray(kernel @ draw.standard_normal(shape))


def perturbed(columns: RadiationColumns, seed: int) -> RadiationColumns:
    """States around those of a run: what a start, a drift or a poor emulator may bring.

    Temperature changes by smooth profiles of 5 K and an offset of 4 K, humidity by smooth factors
    (above 200 hPa up to a hundred), clouds are taken from other columns, scaled and removed;
    ozone, aerosol, the surface and the sun's height vary independently.
    """
    draw = np.random.default_rng(seed)
    now = columns.arrays()
    shape = now["temperature"].shape
    count = shape[1]
    other = draw.permutation(count)
    temperature = (
        now["temperature"] + 5.0 * _smooth(draw, shape) + 4.0 * draw.standard_normal(count)
    )
    aloft = np.clip((30000.0 - now["pressure"]) / 10000.0, 0.0, 1.0)
    factor = np.exp(0.4 * _smooth(draw, shape) + aloft * draw.uniform(-1.5, 4.6, count))
    humidity = np.clip(now["humidity"] * factor, _SMALLEST_HUMIDITY, 0.035)
    clear = draw.random(count) < 0.2
    thicker = np.exp(0.7 * draw.standard_normal(count) + 0.4 * _smooth(draw, shape))
    cover = np.where(
        clear, 0.0, np.clip(now["cover"][:, other] * draw.uniform(0.5, 2.0, count), 0, 1)
    )
    inside = np.where(cover > 0.0, thicker, 0.0)
    sun = draw.uniform(-0.2, 1.0, count)
    surface = now["surface_temperature"] + (temperature - now["temperature"])[-1]
    changes = {
        "temperature": np.clip(temperature, 150.0, 335.0),
        "humidity": humidity,
        "ozone": now["ozone"] * np.exp(0.3 * _smooth(draw, shape)),
        "cover": cover,
        "liquid_path": now["liquid_path"][:, other] * inside,
        "ice_path": now["ice_path"][:, other] * inside,
        "liquid_radius": now["liquid_radius"][:, other],
        "ice_radius": now["ice_radius"][:, other],
        "aerosol_depth": now["aerosol_depth"] * draw.uniform(0.0, 2.0, count),
        "surface_temperature": np.clip(surface + 5.0 * draw.standard_normal(count), 180.0, 345.0),
        "albedo_visible": np.where(
            draw.random(count) < 0.5, now["albedo_visible"], draw.uniform(0.03, 0.9, count)
        ),
        "albedo_near_infrared": np.where(
            draw.random(count) < 0.5, now["albedo_near_infrared"], draw.uniform(0.03, 0.8, count)
        ),
        "cos_zenith": np.where(draw.random(count) < 0.3, now["cos_zenith"], sun),
    }
    changes = {name: np.asarray(value, np.float32) for name, value in changes.items()}
    return dataclasses.replace(columns, **changes)


def joined(parts: Sequence[Batch]) -> Batch:
    """Columns or fluxes of several solves as one, on the host side."""
    whole: Batch = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=-1), *parts)
    return whole
