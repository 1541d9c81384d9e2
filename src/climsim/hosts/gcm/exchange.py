"""Fields between the embedded model and the coupler, without leaving the device.

On a GPU that JAX and torch both use, fields are tensors of torch that share JAX's memory (DLPack);
else they are arrays of NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from climsim.arrays import Array, Fields, at_least, namespace
from climsim.errors import ClimSimError

if TYPE_CHECKING:
    import jax


def on_gpu(tree: object) -> bool:
    """Whether arrays of JAX, in any structure, lie on a GPU that torch uses too."""
    import jax

    array = jax.tree.leaves(tree)[0]
    if not isinstance(array, jax.Array) or next(iter(array.devices())).platform != "gpu":
        return False
    import torch

    return torch.cuda.is_available()


def numpy_fields(arrays: Mapping[str, jax.Array]) -> Fields:
    """Arrays of NumPy from arrays of JAX, by name."""
    return {name: np.asarray(array) for name, array in arrays.items()}


def tensor_fields(arrays: Mapping[str, jax.Array]) -> Fields:
    """Tensors of torch in the memory of arrays of JAX, by name."""
    import torch

    return {name: cast(Array, torch.from_dlpack(array)) for name, array in arrays.items()}


def finish_reading() -> None:
    """Wait until torch has done all it was given: memory of JAX that it read is then free."""
    import torch

    torch.cuda.current_stream().synchronize()


def singles(fields: Mapping[str, Array]) -> Fields:
    """The fields in single precision, as the embedded model computes with them."""
    return {
        name: namespace(x).astype(x, namespace(x).float32, copy=False) for name, x in fields.items()
    }


def require_field(fields: Mapping[str, Array], name: str, shape: tuple[int, ...]) -> None:
    """Make sure that a field is there and has its shape.

    Raises:
        ClimSimError: if it is missing or has another shape.
    """
    if name not in fields:
        raise ClimSimError(f"host: {name} was not given; given: {', '.join(sorted(fields))}")
    found = tuple(np.shape(fields[name]))
    if found != shape:
        raise ClimSimError(f"host: {name} has shape {found}, expected {shape}")


def from_field(value: Array) -> jax.Array | Array:
    """An array that JAX takes, in single precision, from a field of the coupler."""
    if isinstance(value, np.ndarray | np.generic | list):
        return np.asarray(value, dtype=np.float32)
    import jax

    xp = namespace(value)
    there: jax.Array = jax.dlpack.from_dlpack(xp.astype(value, xp.float32).contiguous())
    return there


def surface_sun(surface: Fields, streams: tuple[str, ...], net: str) -> tuple[Array, Array]:
    """Downward and upward sunlight at the surface, from the streams and the net flux.

    Args:
        surface: fields by name, (column,) [W m-2], single precision.
        streams: names of the downward streams.
        net: name of the net downward flux, which is kept between 0 and the downward one.

    Returns:
        Downward and upward flux, (column,) [W m-2], single precision.
    """
    down = surface[streams[0]]
    for name in streams[1:]:
        down = down + surface[name]
    absorbed = namespace(down).minimum(at_least(surface[net], 0.0), down)
    return down, down - absorbed
