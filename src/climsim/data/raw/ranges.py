"""Physical ranges: a value outside is a damaged file, not weather."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from climsim.constants import FILL_THRESHOLD

RANGES: dict[str, tuple[float, float]] = {
    "state_t": (120.0, 360.0),
    # The state after physics lacks what the surface delivers outside the emulated tendency: over
    # strong evaporation the lowest level dips below zero.
    "state_q0001": (-1e-4, 0.1),
    "state_q0002": (-1e-6, 0.05),
    "state_q0003": (-1e-6, 0.05),
    "state_u": (-300.0, 300.0),
    "state_v": (-300.0, 300.0),
    "state_pmid": (1.0, 1.15e5),
    "state_ps": (4.0e4, 1.15e5),
    "pbuf_ozone": (0.0, 1e-4),
    "pbuf_CH4": (0.0, 1e-5),
    "pbuf_N2O": (0.0, 1e-5),
    "pbuf_SOLIN": (-1e-6, 1500.0),
    "pbuf_LHFLX": (-2000.0, 4000.0),
    "pbuf_SHFLX": (-2500.0, 4000.0),
    "pbuf_TAUX": (-50.0, 50.0),
    "pbuf_TAUY": (-50.0, 50.0),
    "pbuf_COSZRS": (-1.0001, 1.0001),
    "cam_in_LWUP": (20.0, 1500.0),
    "cam_in_SNOWHICE": (0.0, 100.0),
    "cam_in_SNOWHLAND": (0.0, 100.0),
    "cam_out_PRECSC": (-1e-12, 1e-4),
    "cam_out_PRECC": (-1e-12, 1e-3),
    **{f"cam_in_{n}": (-1e-3, 1.001) for n in ("ALDIF", "ALDIR", "ASDIF", "ASDIR")},
    **{f"cam_in_{n}": (-1e-6, 1.0001) for n in ("ICEFRAC", "LANDFRAC", "OCNFRAC")},
    **{
        f"cam_out_{n}": (-1e-3, 1500.0)
        for n in ("NETSW", "FLWDS", "SOLS", "SOLL", "SOLSD", "SOLLD")
    },
}
"""Widest plausible values of the variables of the raw files, in their units.

They hold the extremes of ten years of E3SM-MMF in high resolution with room to spare.
"""


def implausible(name: str, value: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Flag the values outside the physical range of a variable.

    NaN and fill values are no such: reading the file tells them.
    """
    low, high = RANGES[name]
    bad = (value < low) | (value > high)
    # The second look is rare, so the usual file pays for two comparisons alone.
    return bad & (np.abs(value) <= FILL_THRESHOLD) if bad.any() else bad


def outside_range(fields: Mapping[str, NDArray[np.floating]]) -> dict[str, int]:
    """Count the values outside their physical range.

    Args:
        fields: arrays by variable name, any shape.

    Returns:
        For each variable with such values, how many.
    """
    counts = {name: int(implausible(name, value).sum()) for name, value in fields.items()}
    return {name: count for name, count in counts.items() if count}
