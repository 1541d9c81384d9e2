"""Names of the array types that every layer shares, and arrays of other libraries than NumPy.

What a coupled run computes at every step follows the array API standard
(https://data-apis.org/array-api), so that the same lines run on NumPy's arrays and on those of
other libraries, wherever they lie. Arrays of two libraries do not mix.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, TypeVar

import array_api_compat
import array_api_compat.numpy
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]
"""Floating-point numbers of any shape and precision."""
Double = NDArray[np.float64]
"""Numbers of double precision, of any shape."""
Fields = dict[str, Array]
"""Arrays by variable name: profiles (level, column), scalars (column,); level 0 at the top."""
_Number = TypeVar("_Number", bound=np.number[Any])
_OF_NUMPY = (np.ndarray, np.generic)


def namespace(*arrays: NDArray[Any]) -> ModuleType:
    """The functions of the library that made the arrays, by the names of the array API standard.

    Raises:
        TypeError: if they are of several libraries, or of none.
    """
    for array in arrays:
        if not isinstance(array, np.ndarray):
            break
    else:
        return array_api_compat.numpy  # at once: it is asked for hundreds of times a step
    functions: ModuleType = array_api_compat.array_namespace(*arrays)
    return functions


def as_array(values: ArrayLike) -> Array:
    """Arrays of any library as they are, all else as NumPy's."""
    known = array_api_compat.is_array_api_obj(values)
    return values if known else np.asarray(values)  # type: ignore[return-value]


def is_numpy(values: NDArray[Any]) -> bool:
    """Whether an array is NumPy's: then nothing that is computed waits for another device."""
    return isinstance(values, _OF_NUMPY)


def double(values: ArrayLike) -> Double:
    """The values in double precision, in the library and on the device where they are."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    array = as_array(values)
    xp = namespace(array)
    result: Double = xp.astype(array, xp.float64, copy=False)
    return result


def at_least(values: Array, low: float) -> Array:
    """The larger of each value and a number; NaN where the value is NaN."""
    # NumPy's own maximum takes a third of the time of the standard's clip.
    result: Array = (
        np.maximum(values, low) if is_numpy(values) else namespace(values).clip(values, low)
    )
    return result


def between(values: NDArray[_Number], low: float, high: float) -> NDArray[_Number]:
    """Each value, or the nearer of two numbers where it lies beyond them; NaN where it is NaN."""
    # As above: of NumPy's arrays the standard's clip makes several copies.
    if is_numpy(values):
        return np.minimum(np.maximum(values, low), high)
    result: NDArray[_Number] = namespace(values).clip(values, low, high)
    return result


def anywhere(condition: NDArray[np.bool_]) -> bool:
    """Whether a condition may hold somewhere; of another device, which is not waited for, True."""
    return not is_numpy(condition) or bool(condition.any())


def count(condition: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Where a condition holds in each column, (column,), of (level, column) or (column,)."""
    xp = namespace(condition)
    # The smallest type that holds them: the sum takes a third of the time of a longer one.
    numbers: NDArray[np.integer] = (
        xp.astype(condition, xp.int16)
        if condition.ndim == 1
        else xp.sum(condition, axis=0, dtype=xp.int16)
    )
    return numbers


def sum_onwards(values: Array) -> Array:
    """Sums of the values from each place of the first axis to its end, that place included."""
    if not is_numpy(values):
        xp = namespace(values)
        sums: Array = xp.flip(xp.cumulative_sum(xp.flip(values, axis=0), axis=0), axis=0)
        return sums
    # NumPy's own sum takes one column after another, five times as long.
    sums = np.array(values)
    for place in range(sums.shape[0] - 2, -1, -1):
        sums[place] += sums[place + 1]
    return sums


def like(values: ArrayLike, other: Array) -> Array:
    """Values as an array of the library and on the device of another array.

    Args:
        values: an array of that library already, or of NumPy.
        other: says where to.
    """
    if is_numpy(other):
        return np.asarray(values)
    device = array_api_compat.device(other)
    result: Array = namespace(other).asarray(values, device=device)
    return result


def numbers_like(count: int, other: Array, first: int = 0) -> NDArray[np.integer]:
    """Whole numbers from the first one on, in the library and on the device of another array."""
    if is_numpy(other):
        return np.arange(first, first + count)
    device = array_api_compat.device(other)
    result: NDArray[np.integer] = namespace(other).arange(first, first + count, device=device)
    return result


class Constant:
    """Numbers that never change, copied once to each device that computes with them.

    Args:
        values: an array of NumPy.
    """

    def __init__(self, values: ArrayLike) -> None:
        self.values: Array = np.asarray(values)
        self._copies: dict[tuple[str, str], Array] = {}

    def like(self, other: Array) -> Array:
        """The numbers in the library and on the device of another array."""
        if is_numpy(other):
            return self.values
        library_and_device = namespace(other).__name__, str(array_api_compat.device(other))
        if library_and_device not in self._copies:
            self._copies[library_and_device] = like(self.values, other)
        return self._copies[library_and_device]


def to_numpy(values: Array) -> Array:
    """The values as an array of NumPy, copied from the device that holds them."""
    if isinstance(values, np.ndarray):
        return values
    return np.asarray(array_api_compat.to_device(values, "cpu"))
