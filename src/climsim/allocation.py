"""How the process allocates memory: large freed blocks are kept for the next use."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of ``mallopt`` (glibc, ``malloc.h``)."""
_LARGEST = 2**31 - 1
_LARGEST_FROM_HEAP = (2**30, 2**25)
"""Blocks up to which size are kept; before version 2.35 glibc refuses more than 32 MiB."""


def keep_freed_memory() -> bool:
    """Let the C library keep freed blocks instead of handing them back to the system.

    A network step on CPU allocates and frees the same tens of MiB again and again. By default each
    such block comes as fresh pages from the system, and touching them for the first time can take
    as long as the arithmetic. Results do not change; memory at its peak hardly does. Meant for
    entry points, before the work: the setting holds for the whole process.

    Returns:
        Whether the C library took the setting (only glibc knows it).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    taken = any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST_FROM_HEAP)
    return bool(taken and mallopt(_TRIM_THRESHOLD, _LARGEST))
