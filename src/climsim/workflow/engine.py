"""Snakemake as the process of an experiment, which stops when the experiment asks it to."""

from __future__ import annotations

import logging
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

    if "--profile" in arguments:
        _read_cancelled()
    with on_interrupt(interrupted, also=(STOP,)):
        snakemake(list(arguments))


def _read_cancelled() -> None:
    """Let the plugin know jobs that were cancelled: ``sacct`` calls them ``CANCELLED by UID``.

    Version 2.8 compares whole words with ``CANCELLED`` and waits for such a job forever.
    """
    import snakemake_executor_plugin_slurm as plugin

    query = plugin.query_job_status

    async def first_words(
        command: str, logger: logging.Logger
    ) -> tuple[dict[str, str] | None, float | None]:
        states, seconds = await query(command, logger)
        return states and {job: s.partition(" ")[0] for job, s in states.items()}, seconds

    plugin.query_job_status = first_words


if __name__ == "__main__":
    main(sys.argv[1:])
