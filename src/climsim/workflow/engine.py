"""Snakemake as the process of an experiment, which stops when the experiment asks it to."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from climsim.interrupts import interrupted, on_interrupt

STOP = signal.SIGUSR1
"""Asks it to stop: for Snakemake SIGTERM is the wish to start no further jobs, and what a script
starts in the background ignores SIGINT."""


def main(arguments: Sequence[str]) -> None:
    """Run Snakemake with these arguments; its exit code ends the process."""
    from snakemake.cli import main as snakemake

    with on_interrupt(interrupted, also=(STOP,)):
        snakemake(list(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
