"""What the commands show on a terminal: progress, tables, one-line errors."""

from __future__ import annotations

import contextlib
import logging
import resource
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

ProgressCallback = Callable[[int, int], None]
"""Called with (done, total) as work advances."""

err = Console(stderr=True)
out = Console()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="dim")


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[ProgressCallback]:
    """Show a bar with rate and time left on a terminal; nothing elsewhere."""
    if not err.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield update


def configure_logging(debug: bool) -> None:
    """Send the library's log to standard error, warnings only unless debugging."""
    handler = RichHandler(console=err, show_path=debug, show_time=False, markup=False)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING, handlers=[handler], format="%(message)s"
    )
    logging.getLogger("climsim").setLevel(logging.DEBUG if debug else logging.INFO)
    if debug:
        for noisy in ("jax", "matplotlib", "numba", "h5py", "asyncio", "fsspec"):
            logging.getLogger(noisy).setLevel(logging.INFO)


def fail(message: str) -> None:
    """Print a one-line error to standard error."""
    sys.stderr.write(f"climsim: error: {message}\n")


def peak_memory() -> int:
    """The most memory this process or one of its finished children held [bytes]."""
    unit = 1 if sys.platform == "darwin" else 1024
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * unit


def text_table(rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """Lay rows of text out as a table; the first row is its header."""
    table = Table(*rows[0], title=title)
    for row in rows[1:]:
        table.add_row(*row)
    return table
