"""Dask clusters to work on: any scheduler by its address, or jobs of SLURM."""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from climsim.errors import ClimSimError, missing_extra
from climsim.validation import Checks

logger = logging.getLogger(__name__)

SLURM = "slurm"
"""Word that asks for SLURM jobs in place of an address."""
POLL = 5.0
"""Time between two looks for a worker of SLURM jobs [s]."""


@dataclass(frozen=True)
class SlurmConfig:
    """Jobs that work for ``dask=slurm``; each starts one worker process per core.

    Attributes:
        jobs: number of jobs.
        cores: cores of a job.
        memory: memory of a job, such as ``32GB``.
        walltime: longest time of a job, ``HH:MM:SS``.
        queue: partition; empty for the default one.
        account: account to charge; empty for the default one.
        interface: network interface that the nodes share, such as ``ib0``; empty for the default.
        directives: further lines for ``#SBATCH``, such as ``--qos=debug``.
        prologue: shell lines before the worker starts, such as ``module load python``.
    """

    jobs: int = 4
    cores: int = 16
    memory: str = "32GB"
    walltime: str = "02:00:00"
    queue: str = ""
    account: str = ""
    interface: str = ""
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Checks(self, "slurm").whole("jobs", "cores", least=1)


def slurm_cluster(config: SlurmConfig) -> Any:
    """Make a cluster of SLURM jobs, none submitted yet.

    Args:
        config: the jobs.

    Returns:
        A `dask_jobqueue.SLURMCluster`; its ``job_script()`` is what ``sbatch`` gets.

    Raises:
        ClimSimError: if dask-jobqueue is not installed.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise missing_extra("dask=slurm", "dask-jobqueue", "cluster") from error
    return SLURMCluster(
        cores=config.cores,
        processes=config.cores,
        memory=config.memory,
        walltime=config.walltime,
        queue=config.queue or None,
        account=config.account or None,
        interface=config.interface or None,
        job_extra_directives=list(config.directives),
        job_script_prologue=list(config.prologue),
        job_name="climsim-data",
        scheduler_options={"dashboard_address": None},
    )


@contextlib.contextmanager
def open_client(dask: str, slurm: SlurmConfig) -> Iterator[Any]:
    """Connect to a cluster, and end what was started for it.

    Args:
        dask: ``slurm``, the address of a scheduler, or its scheduler file (``.json``).
        slurm: the jobs of ``slurm``.

    Yields:
        A `distributed.Client`.

    Raises:
        ClimSimError: if no scheduler answers, no job can be submitted, or all of them end before
            the work is done.
    """
    from distributed import Client

    if dask == SLURM:
        with slurm_cluster(slurm) as cluster:
            _check_job(cluster.job_script())
            cluster.scale(jobs=slurm.jobs)
            logger.info("%d jobs of %d cores are handed to SLURM", slurm.jobs, slurm.cores)
            with Client(cluster) as client:
                _await_worker(client, cluster)
                with _watching_jobs(client, cluster):
                    yield client
        return
    where = {"scheduler_file": dask} if dask.endswith(".json") else {"address": dask}
    try:
        client = Client(timeout="30s", **where)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClimSimError(
            f"dask={dask}: no scheduler answers there ({error}): expected threads, slurm, an "
            "address such as tcp://host:8786, or a scheduler file (.json)"
        ) from error
    with client:
        yield client


def _await_worker(client: Any, cluster: Any) -> None:
    """Wait for the first worker, as long as any job is in the queue.

    Raises:
        ClimSimError: if all jobs left it and no worker came.
    """
    gone = 0
    while not client.scheduler_info()["workers"]:
        time.sleep(POLL)
        jobs = _submitted(cluster)
        gone = gone + 1 if jobs and not _in_queue(jobs) else 0
        # A job may start, connect and be asked for in that order within one look.
        if gone >= 2 and not client.scheduler_info()["workers"]:
            raise ClimSimError(
                "dask=slurm: the jobs left the queue and no worker came: see why in "
                f"{_outputs(jobs)}, and look at slurm.prologue, slurm.interface and slurm.walltime"
            )


@contextlib.contextmanager
def _watching_jobs(client: Any, cluster: Any) -> Iterator[None]:
    """Give the work up once all jobs have left the queue: it would wait for them forever.

    Raises:
        ClimSimError: if they did before the context ended.
    """
    from distributed import CancelledError, Future

    jobs, done, lost = set(_submitted(cluster)), threading.Event(), threading.Event()

    def watch() -> None:
        gone = 0
        while gone < 2:
            if done.wait(POLL):
                return
            jobs.update(_submitted(cluster))
            working = client.scheduler_info()["workers"] or _in_queue(sorted(jobs))
            gone = 0 if working else gone + 1
        lost.set()
        client.cancel([Future(key, client) for key in list(client.futures)])

    watcher = threading.Thread(target=watch, name="watch-jobs", daemon=True)
    watcher.start()
    try:
        yield
    except CancelledError as error:
        if not lost.is_set():
            raise
        raise ClimSimError(
            "dask=slurm: all jobs ended before the work was done: see why in "
            f"{_outputs(sorted(jobs))}, look at slurm.walltime and slurm.memory, and run the same "
            "command again"
        ) from error
    finally:
        done.set()
        watcher.join()


def _submitted(cluster: Any) -> list[str]:
    """Numbers of the jobs that were submitted."""
    return [job.job_id for job in cluster.workers.values() if job.job_id]


def _outputs(jobs: list[str]) -> str:
    """Files that hold what jobs printed."""
    return ", ".join(f"slurm-{job}.out" for job in jobs)


def _in_queue(jobs: list[str]) -> bool:
    """Whether SLURM holds any of these jobs; also where it cannot be asked."""
    command = ["squeue", "--noheader", "--format=%i", "--jobs=" + ",".join(jobs)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return True
    # It refuses jobs that it has forgotten; other failures tell nothing about them.
    return bool(answer.stdout.strip()) or (
        answer.returncode != 0 and "Invalid job id" not in answer.stderr
    )


def _check_job(script: str) -> None:
    """Ask SLURM whether it would take a job: one that it refuses later is waited for in vain."""
    if shutil.which("sbatch") is None:
        raise ClimSimError("dask=slurm: no sbatch on this machine: run it where jobs are submitted")
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        command = ["sbatch", "--test-only", file.name]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        text = " ".join(answer.stderr.split())
        raise ClimSimError(f"dask=slurm: sbatch refuses the job ({text}): look at the keys slurm.*")
