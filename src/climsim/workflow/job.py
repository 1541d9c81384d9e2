"""Running one job of the graph: its log, its state, and a product that belongs to its settings."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict

from climsim.console import ERROR_PREFIX, PROGRESS_VARIABLE, ProgressNote, fail
from climsim.errors import ClimSimError
from climsim.files import read_json, remove, write_json, write_text
from climsim.interrupts import on_interrupt
from climsim.locks import LockedError, held, hold
from climsim.plugins import clear_error
from climsim.workflow.jobs import CALL, Job, read_jobs
from climsim.workflow.made_from import made_from, put_aside_if_other

_PATIENCE = 3.0
"""Time that a stage of a killed call has to go [s]."""
_BETWEEN_REQUESTS = 1.0
"""Time between two requests to stop [s]."""


class JobState(TypedDict, total=False):
    """How a job began and ended, as the file at `state_path` says it.

    Attributes:
        started: seconds since 1970.
        host: machine it runs on.
        pid: of its process.
        finished: seconds since 1970.
        code: exit code.
    """

    started: float
    host: str
    pid: int
    finished: float
    code: int


def run_job(folder: Path, name: str, python: str) -> int:
    """Run a job of the plan in a folder.

    A resumable product that other settings, inputs or code made is put aside first, so that the
    stage starts over; one of the same settings is continued.

    Args:
        folder: of the experiment.
        name: of the job.
        python: interpreter that runs the stage.

    Returns:
        Exit code of the stage.

    Raises:
        ClimSimError: if a process of an earlier call still runs it.
    """
    jobs = {job.name: job for job in read_jobs(folder)}
    products = {job.product or job.output for job in jobs.values()}
    try:
        # The stage inherits the lock, so that one that outlives this process is not run twice.
        with hold(lock_path(folder, name), _PATIENCE) as lock:
            return _run(folder, jobs[name], products, python, lock)
    except LockedError as error:
        raise ClimSimError(
            f"{name}: a process of an earlier call still runs it: wait for it or stop it"
        ) from error


def _run(folder: Path, job: Job, products: Collection[str], python: str, lock: int) -> int:
    if job.product:
        now = made_from(folder, job, products)
        put_aside_if_other(folder, job, now, _share_made(folder, job.name))
    state: JobState = {"started": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
    write_json(state_path(folder, job.name), state)
    code = _call(folder, job, python, lock)
    if code == 0 and job.product:
        write_text(folder / job.output, job.product)
    write_json(state_path(folder, job.name), {**state, "finished": time.time(), "code": code})
    return code


def _share_made(folder: Path, name: str) -> float:
    """How much of what was asked for last time a job has made, from 0 to 1."""
    state, progress = state_path(folder, name), progress_path(folder, name)
    if state.exists() and read_json(state).get("code") == 0:
        return 1.0
    if not progress.exists():
        return 0.0
    note: ProgressNote = read_json(progress)
    return note["done"] / note["total"] if note["total"] else 0.0


@contextmanager
def stopping(folder: Path) -> Iterator[None]:
    """Ask the jobs that run on this machine to stop, until the context ends.

    Again and again, as a job may be starting at the first time.

    Args:
        folder: of the experiment.
    """
    ended = threading.Event()

    def ask() -> None:
        while True:
            for process in _processes(folder):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
            if ended.wait(_BETWEEN_REQUESTS):
                return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join()


def _processes(folder: Path) -> Iterator[int]:
    """Processes of this machine that run a job."""
    for job in read_jobs(folder):
        path = state_path(folder, job.name)
        if path.exists() and held(lock_path(folder, job.name)):
            state: JobState = read_json(path)
            if state["host"] == socket.gethostname() and "finished" not in state:
                yield state["pid"]


def lock_path(folder: Path, name: str) -> Path:
    """File that is locked while a job runs."""
    return folder / "logs" / f"{name}.lock"


def state_path(folder: Path, name: str) -> Path:
    """File that says when a job started and how it ended."""
    return folder / "logs" / f"{name}.json"


def progress_path(folder: Path, name: str) -> Path:
    """File that says how far a job is."""
    return folder / "logs" / f"{name}.progress"


def _call(folder: Path, job: Job, python: str, lock: int) -> int:
    """Run the command of a job; its output goes to the log."""
    command = [python, "-m", "climsim", *job.command]
    progress = progress_path(folder, job.name)
    remove(progress)
    log = folder / job.log
    # A job that was interrupted continues in the same log.
    with log.open("a") as stream:
        stream.write(f"{CALL}{shlex.join(job.command)}\n")
        stream.flush()
        environment = {**os.environ, PROGRESS_VARIABLE: str(progress)}
        process: subprocess.Popen[bytes] | None = None

        def stop(_: int) -> None:
            if process is not None:
                process.terminate()

        # The stage ends in good order, and this with it.
        with on_interrupt(stop) as asked:
            process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                pass_fds=(lock,),
            )
            # An interrupt while it was started found no process.
            if asked.is_set():
                process.terminate()
            code = process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            stream.write(f"{ERROR_PREFIX}{job.name}: killed by {name}\n")
    return code if code >= 0 else 128 - code


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m climsim.workflow.job OUTPUT --python PYTHON``."""
    parser = argparse.ArgumentParser(description="Run one job of the experiment in this folder.")
    parser.add_argument("output", help="file that marks the job complete")
    parser.add_argument("--python", required=True)
    given = parser.parse_args(arguments)
    try:
        jobs = {job.output: job.name for job in read_jobs(Path.cwd())}
        return run_job(Path.cwd(), jobs[given.output], given.python)
    except (ClimSimError, OSError) as error:
        fail(str(clear_error(error) or error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
