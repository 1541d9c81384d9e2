"""How many cores a process takes."""

from __future__ import annotations

import os

from climsim.validation import require

THREADS = "OMP_NUM_THREADS"
"""Environment variable with the number of cores that a process may use."""


def thread_count(wanted: int = 0) -> int:
    """Number of threads of a model on CPU.

    Args:
        wanted: as configured; 0 takes `OMP_NUM_THREADS`, or every core that the process may use.

    Raises:
        ClimSimError: if `OMP_NUM_THREADS` is no positive number.
    """
    if wanted:
        return wanted
    text = os.environ.get(THREADS)
    if text is None:
        return len(os.sched_getaffinity(0))
    # OpenMP takes a list, one number for each level of nesting.
    first = text.split(",")[0].strip()
    holds = first.isdigit() and int(first) > 0
    require(THREADS, text, holds, "a positive number", "set it to a positive integer or unset it")
    return int(first)
