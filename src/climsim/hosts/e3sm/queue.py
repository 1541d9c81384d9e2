"""What the scheduler says about a job of a case."""

from __future__ import annotations

import shutil
import subprocess

_PATIENCE = 60.0
"""Most time for an answer [s]."""
_ALIVE = {"PENDING", "RUNNING", "REQUEUED", "RESIZING", "SUSPENDED", "COMPLETING", "CONFIGURING"}
"""States of SLURM of a job that may still come to an end by itself."""
LEFT = "unknown"
"""State of a job that has left the queue where SLURM keeps no accounts."""


def how_it_ended(job: str) -> str:
    """State in which SLURM ended a job, such as ``TIMEOUT``.

    Args:
        job: its number.

    Returns:
        The state, or `LEFT`; empty while it waits or runs, and where nothing is known: without
        SLURM, without an answer, or for a job of another cluster.
    """
    queue = _ask("squeue", "--noheader", "--format=%T", f"--jobs={job}") if job else None
    if queue is None or (queue.returncode == 0 and queue.stdout.strip()):
        return ""
    accounts = _ask("sacct", "-X", "--noheader", "--parsable2", "--format=State", f"--jobs={job}")
    if accounts is not None and accounts.returncode == 0 and accounts.stdout.strip():
        # "CANCELLED by 1234"
        state = accounts.stdout.split()[0]
        return "" if state in _ALIVE else state
    # Some minutes after its end the queue knows the number no more, as one of another cluster.
    return LEFT if queue.returncode == 0 else ""


def _ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    """The answer of a command of SLURM; None where there is none."""
    if shutil.which(command[0]) is None:
        return None
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
