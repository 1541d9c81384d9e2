"""What the scheduler says about a job of a case."""

from __future__ import annotations

import shutil
import subprocess

_PATIENCE = 60.0
"""Most time for an answer [s]."""


def has_left(job: str) -> bool:
    """Whether SLURM knows a job no more as waiting or running.

    Args:
        job: its number.

    Returns:
        False also where there is no SLURM, or it does not answer: nothing is known then.
    """
    if not job or shutil.which("squeue") is None:
        return False
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    if answer.returncode:
        # One that ended some minutes ago is forgotten.
        return "invalid job id" in answer.stderr.lower()
    return not answer.stdout.strip()
