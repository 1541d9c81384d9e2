"""The log: where it goes, how much of it is shown, and the same in processes that are started."""

from __future__ import annotations

import logging
from typing import TypedDict

from rich.console import Console
from rich.logging import RichHandler

err = Console(stderr=True)
"""Standard error, which the log shares with the bar of progress."""


class LogChoice(TypedDict):
    """How much of the log is shown, as `configure_logging` takes it."""

    debug: bool
    verbose: bool
    quiet: bool


_choice: LogChoice | None = None


def log_choice() -> LogChoice | None:
    """What the log of this process was set up with; None if it was not set up here.

    A process that this one starts takes it with `follow_log`.
    """
    return _choice


def follow_log(choice: LogChoice | None) -> None:
    """Set the log of a process up as that of the process that started it."""
    if choice is not None:
        configure_logging(**choice)


def configure_logging(*, debug: bool = False, verbose: bool = False, quiet: bool = False) -> None:
    """Send the log to standard error: what the library notes, and warnings of all others.

    Args:
        debug: everything, with the place in the code.
        verbose: details of the library too.
        quiet: warnings only.
    """
    global _choice
    _choice = LogChoice(debug=debug, verbose=verbose, quiet=quiet)
    handler: logging.Handler = logging.StreamHandler()
    form = "%(levelname)-8s %(message)s"
    if err.is_terminal:
        handler = RichHandler(console=err, show_path=debug, show_time=False, markup=False)
        form = "%(message)s"
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler], format=form, force=True)
    package_level = (
        logging.WARNING if quiet else logging.DEBUG if debug or verbose else logging.INFO
    )
    logging.getLogger("climsim").setLevel(package_level)
    if debug:
        for noisy in ("jax", "matplotlib", "numba", "h5py", "asyncio", "fsspec"):
            logging.getLogger(noisy).setLevel(logging.INFO)
