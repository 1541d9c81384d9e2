"""Tasks spread over processes of this machine or over a Dask cluster."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from climsim.allocation import keep_freed_memory
from climsim.errors import ClimSimError

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int = 0, dask: str = ""
) -> Iterator[Result]:
    """Apply a function to tasks in parallel; yields results as they are done, in any order.

    Args:
        function: importable function of one task.
        tasks: picklable tasks.
        workers: processes; 0 for one per core, 1 for this process.
        dask: address of a Dask scheduler to use instead; empty for this machine.

    Raises:
        ClimSimError: if a worker dies or no scheduler answers; errors of the function as they are.
    """
    count = min(workers or os.cpu_count() or 1, max(1, len(tasks)))
    if dask:
        yield from _on_dask(function, tasks, dask)
    elif count == 1:
        yield from map(function, tasks)
    else:
        yield from _on_processes(function, tasks, count)


def _on_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    # A fresh interpreter per worker: forking a process with threads can lock up.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _begin_worker) as pool:
        futures = [pool.submit(function, task) for task in tasks]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.BrokenExecutor as error:
            raise ClimSimError(
                "a worker process died: out of memory (run again to continue, with fewer workers), "
                "or a script that lacks `if __name__ == '__main__':` around its work"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    keep_freed_memory()
    _follow_parent()


def _follow_parent() -> None:
    """Make a worker leave Ctrl-C to its parent, and end when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()


def _on_dask(
    function: Callable[[Task], Result], tasks: Sequence[Task], address: str
) -> Iterator[Result]:
    from distributed import Client, as_completed

    try:
        client = Client(address, timeout="30s")
    except (OSError, TimeoutError, ValueError) as error:
        raise ClimSimError(f"dask={address}: no scheduler answers there ({error})") from error
    with client:
        for future in as_completed(client.map(function, tasks, pure=False)):
            yield future.result()
