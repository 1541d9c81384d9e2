"""Which members come first and last in a saved measure."""

from __future__ import annotations

import numpy as np
import xarray


def smallest_and_largest(offline: xarray.Dataset, name: str) -> list[int]:
    """Positions of the members of smallest and largest zonal-mean bias of an output.

    Args:
        offline: metrics joined along ``member``.
        name: output, such as ``ptend_q0001``.

    Returns:
        One or two positions along ``member``; members whose bias is NaN everywhere do not count.
    """
    squares = offline[f"bias_section_{name}"] ** 2
    size = squares.mean([axis for axis in squares.dims if axis != "member"]).values
    order = [int(i) for i in np.argsort(size) if np.isfinite(size[i])]
    return list(dict.fromkeys([*order[:1], *order[-1:]]))
