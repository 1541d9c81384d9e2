"""E3SM-MMF as a host: cases are prepared, submitted and collected, not stepped from here."""

from __future__ import annotations

from typing import Final

from climsim.hosts.batch import BatchRunner
from climsim.hosts.e3sm.batch import E3smRunner

HOST: Final[BatchRunner] = E3smRunner()
