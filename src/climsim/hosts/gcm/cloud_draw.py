"""Which spectral points see cloud: the same stratified numbers at every step and column.

Source: overlap maximum-random (Geleyn and Hollingsworth 1979) sampled as in jcm's `mcica`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

_STRATUM = 8
"""Spectral points drawn together: every band of RRTMGP's small tables has at least eight."""
_SEED = 2024


def stratified_numbers(points: int, levels: int, seed: int = _SEED) -> np.ndarray:
    """Fixed numbers in (0, 1), (level, point): each level has every stratum once.

    Within each eight neighbouring points (a band) each eighth occurs once, so that a cloud covers
    the same share of every band. Other numbers of points are one stratum.
    """
    stratum = points if points % _STRATUM else _STRATUM
    blocks = points // stratum
    draw = np.random.default_rng(seed)
    numbers = np.empty((levels, blocks, stratum))
    for level in range(levels):
        within_band = draw.permuted(np.tile(np.arange(stratum), (blocks, 1)), axis=1)
        order = draw.permuted(np.tile(np.arange(blocks), (stratum, 1)), axis=1)
        within = order[within_band, np.arange(blocks)[:, None]]
        numbers[level] = (within_band + (within + 0.5) / blocks) / stratum
    return numbers.reshape(levels, points).astype(np.float32)


def cloudy_points(cover: jax.Array, numbers: np.ndarray) -> jax.Array:
    """Whether each spectral point sees cloud, (level, point, column).

    Maximum overlap of neighbouring cloudy layers, random overlap across a clear one: from the
    lowest level up, a point that is cloudy keeps its rank, another draws anew in the clear part.

    Args:
        cover: (level, column) [1].
        numbers: (level, point) in (0, 1).
    """
    drawn_numbers = jnp.asarray(numbers)[:, :, None]

    def step(rank: jax.Array, level: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        drawn, below = level
        rank = jnp.where(rank < below, rank, below + drawn * (1.0 - below))
        return rank, rank

    lowest = jnp.broadcast_to(drawn_numbers[-1], (numbers.shape[1], cover.shape[1]))
    _, above = jax.lax.scan(step, lowest, (drawn_numbers[:-1], cover[1:]), reverse=True)
    return jnp.concatenate([above, lowest[None]]) < cover[:, None, :]
