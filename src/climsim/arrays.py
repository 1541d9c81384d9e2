"""Names of the array types that every layer shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
"""Floating-point numbers of any shape and precision."""
Double = NDArray[np.float64]
"""Numbers of double precision, of any shape."""
Fields = dict[str, Array]
"""Arrays by variable name: profiles (level, column), scalars (column,); level 0 at the top."""
