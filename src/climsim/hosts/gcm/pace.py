"""How radiation runs through columns, levels and spectral points on a CPU and on a GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from climsim.hosts.gcm.columns import RadiationColumns

_SUNLIT_SHARE = 0.5625
"""Room for sunlit columns on a globe: half of them and the rim."""


@dataclasses.dataclass(frozen=True)
class Pace:
    """How the library runs through columns, levels and spectral points.

    Attributes:
        block: columns solved together.
        scan: loop over levels instead of unrolling them.
        chunk: spectral points solved together.
    """

    block: int
    scan: bool
    chunk: int


_ON_CPU = Pace(block=16, scan=True, chunk=1)
"""The optics of few columns stay in the cache of a core, and compile in half the time."""
_ON_GPU = Pace(block=8192, scan=True, chunk=64)
"""Few launches of large kernels."""


def pace() -> Pace:
    """That of the device that JAX computes on."""
    return _ON_CPU if jax.default_backend() == "cpu" else _ON_GPU


def sunlit_columns(cos_zenith: jax.Array, block: int) -> jax.Array:
    """Indices of the columns nearest to the sun, enough for half a globe.

    Args:
        cos_zenith: (column,) [1].
        block: of whose multiples there shall be.
    """
    count = cos_zenith.shape[-1]
    room = min(count, -(-int(np.ceil(_SUNLIT_SHARE * count)) // block) * block)
    return jnp.argsort(-cos_zenith)[:room]


def in_blocks(
    solver: Callable[[RadiationColumns], dict[str, jax.Array]], columns: RadiationColumns
) -> dict[str, jax.Array]:
    """A solver on all columns, in blocks that bound the memory."""
    count, block = columns.temperature.shape[-1], pace().block
    if count <= block or count % block:
        return solver(columns)

    def split(values: jax.Array) -> jax.Array:
        parts = values.reshape(*values.shape[:-1], count // block, block)
        return jnp.moveaxis(parts, -2, 0)

    def join(values: jax.Array) -> jax.Array:
        whole = jnp.moveaxis(values, 0, -2)
        return whole.reshape(*whole.shape[:-2], count)

    solved = jax.lax.map(solver, jax.tree.map(split, columns))
    fields: dict[str, jax.Array] = jax.tree.map(join, solved)
    return fields
