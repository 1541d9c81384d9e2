"""What the commands show on a terminal: progress, tables, one-line errors."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import rich.progress
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from climsim.errors import ClimSimError
from climsim.files import write_json
from climsim.log import err
from climsim.stage import Progress

PROGRESS_VARIABLE = "CLIMSIM_PROGRESS"
"""Environment variable that names a file to keep progress in; experiments read it."""
ERROR_PREFIX = "climsim: error: "
"""What an error begins with; experiments look for it in the logs of their jobs."""
_BETWEEN_WRITES = 2.0
"""Least time between two writes of that file [s]."""
_UNFOLDED = 10_000
"""Width of a file or pipe, where lines are as long as they are."""
# Without a height, a terminal that is called dumb counts as 80 columns whatever is given.
out = Console() if sys.stdout.isatty() else Console(width=_UNFOLDED, height=25)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="dim")


class ProgressNote(TypedDict):
    """How far a command is, as the file that `PROGRESS_VARIABLE` names says it.

    Attributes:
        done: of the total.
        total: of everything.
        first: what was done when the command began.
        seconds: since then.
    """

    done: int
    total: int
    first: int
    seconds: float


class _ProgressFile:
    """Progress in a JSON file: done, total, where it began, and the seconds since then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began: tuple[int, float] | None = None
        self._written = -_BETWEEN_WRITES

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = (done, now)
        if now - self._written < _BETWEEN_WRITES and done != total:
            return
        self._written = now
        first, since = self._began
        values = ProgressNote(done=done, total=total, first=first, seconds=now - since)
        # Progress is no product: a disk that is full must not stop the work.
        with contextlib.suppress(OSError, ClimSimError):
            write_json(self._path, values)


@contextlib.contextmanager
def progress_bar(title: str, shown: bool = True) -> Iterator[Progress]:
    """Show a bar with rate and time left on a terminal, keep a file where asked to, or neither."""
    if path := os.environ.get(PROGRESS_VARIABLE):
        yield _ProgressFile(Path(path))
        return
    if not (shown and err.is_terminal):
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
    with rich.progress.Progress(*columns, console=err) as progress:
        task = progress.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield update


def fail(message: str) -> None:
    """Print an error to standard error: one line, and below it, indented, what a compiler marked.

    What it quotes from a file may hold control characters, which would steer the terminal.
    """
    lines = (
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        for line in message.split("\n")
    )
    sys.stderr.write(ERROR_PREFIX + "\n  ".join(lines) + "\n")


def peak_memory() -> int:
    """The most memory this process or one of its finished children held [bytes]."""
    unit = 1 if sys.platform == "darwin" else 1024
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * unit


def terminal_table(rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """Lay rows of short texts out as a table; the first row is its header."""
    table = Table(*map(whole_column, rows[0]), title=title, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows[1:]:
        table.add_row(*map(Text, row))  # Text: brackets in it are no markup.
    return table


def whole_column(header: str) -> Column:
    """A column of a table whose texts are never cut, however narrow the terminal is."""
    return Column(header, no_wrap=True, overflow="ignore")
