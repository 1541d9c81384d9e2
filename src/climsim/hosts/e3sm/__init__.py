"""E3SM-MMF as a host: cases are prepared, submitted and collected, not stepped from here."""

from __future__ import annotations

from climsim.hosts.e3sm.batch import run_batch, run_batch_members
from climsim.hosts.e3sm.keys import RUN_KEYS

__all__ = ["RUN_KEYS", "run_batch", "run_batch_members"]
