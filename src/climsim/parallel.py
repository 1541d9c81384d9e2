"""Tasks spread over processes or threads of this machine, over a Dask cluster, or in one thread."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from climsim.allocation import keep_freed_memory
from climsim.cluster import SlurmConfig, open_client
from climsim.errors import ClimSimError
from climsim.log import LogChoice, follow_log, log_choice

THREADS = "threads"
"""Word that asks for threads of this process in place of processes."""
Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int = 0,
    dask: str = "",
    slurm: SlurmConfig | None = None,
) -> Iterator[Result]:
    """Apply a function to tasks in parallel; yields results as they are done, in any order.

    Args:
        function: importable function of one task.
        tasks: picklable tasks.
        workers: processes or threads; 0 for one per core, 1 for this process.
        dask: where to work: empty for processes of this machine, ``threads`` for threads of this
            process, ``slurm`` for SLURM jobs, or a Dask scheduler's address or file.
        slurm: the jobs for ``slurm``.

    Raises:
        ClimSimError: if a worker dies or no scheduler answers; errors of the function as they are.
    """
    count = min(workers or os.cpu_count() or 1, max(1, len(tasks)))
    if dask not in ("", THREADS):
        with open_client(dask, slurm or SlurmConfig()) as client:
            yield from _on_dask(client, function, tasks)
    elif count == 1:
        yield from map(function, tasks)
    elif dask == THREADS:
        yield from _on_pool(concurrent.futures.ThreadPoolExecutor(count), function, tasks)
    else:
        # A fresh interpreter per worker: forking a process with threads can lock up.
        context = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(
            count, context, _begin_worker, (log_choice(),)
        )
        yield from _on_pool(pool, function, tasks)


def _on_pool(
    pool: concurrent.futures.Executor, function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[Result]:
    with pool:
        try:
            # The futures have no other holder: a result is freed when the next one is asked for.
            for future in concurrent.futures.as_completed(
                [pool.submit(function, t) for t in tasks]
            ):
                yield future.result()
        except concurrent.futures.BrokenExecutor as error:
            raise ClimSimError(
                "a worker process died: out of memory (run again to continue, with fewer workers), "
                "or a script that lacks `if __name__ == '__main__':` around its work"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(log: LogChoice | None) -> None:
    follow_log(log)
    keep_freed_memory()
    _follow_parent()


def _follow_parent() -> None:
    """Make a worker leave interrupts to its parent, and end when the parent is killed."""
    # SIGTERM stays: with it the pool ends its workers.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()


def _on_dask(
    client: Any, function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[Result]:
    from distributed import KilledWorker, as_completed

    try:
        for future in as_completed(client.map(function, tasks, pure=False)):
            yield future.result()
    except KilledWorker as error:
        workers = error.allowed_failures + 1
        raise ClimSimError(
            f"dask: one piece of the work ended {workers} worker{'s' * (workers > 1)}: out of "
            "memory? Give the workers more (slurm.memory, or fewer slurm.cores) and run again to "
            "continue"
        ) from error


class Background:
    """Calls that one thread makes in their order, a few behind the caller.

    An error of a call is raised by the next `submit` or `settle`.

    Args:
        name: of the thread.
        most_waiting: calls that are not done before `submit` waits for the oldest.
    """

    def __init__(self, name: str, most_waiting: int) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=name)
        self._most_waiting = most_waiting
        self._waiting: deque[concurrent.futures.Future[None]] = deque()
        self._held: Callable[[], None] | None = None

    def submit(self, call: Callable[[], None]) -> None:
        """Let the thread make a call after those before it."""
        while len(self._waiting) >= self._most_waiting:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(call))

    def hold(self, call: Callable[[], None]) -> None:
        """Take a call that waits for `begin`, or for the next one held."""
        self.begin()
        self._held = call

    def begin(self) -> None:
        """Submit the call that is held, if there is one."""
        held, self._held = self._held, None
        if held is not None:
            self.submit(held)

    def settle(self) -> None:
        """Wait until every call is done, the one held included."""
        self.begin()
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """Wait for all calls and end the thread; errors that no one asked for are dropped."""
        try:
            with suppress(Exception):
                self.settle()
        finally:
            self._pool.shutdown(wait=True)
            self._waiting.clear()
