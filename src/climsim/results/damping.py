"""Damping rates of members as `climsim evaluate damping` saved them."""

from __future__ import annotations

from pathlib import Path

from climsim.errors import ClimSimError
from climsim.evaluation.saved import open_metrics


def read_damping(path: Path | None) -> dict[str, float] | None:
    """Damping of T by the name of the model's file, [1/day]; None without a file.

    Raises:
        ClimSimError: if it is another file.
    """
    if path is None:
        return None
    with open_metrics(path) as rates:
        if "smoothing_t" not in rates:
            raise ClimSimError(
                f"{path}: expected a file of `climsim evaluate damping`, found none of its rates: "
                "give that file as damping"
            )
        names = [str(name) for name in rates["model"].values]
        return dict(zip(names, map(float, rates["smoothing_t"].values), strict=True))
