"""Where preparation and statistics run: threads, any Dask scheduler, SLURM jobs."""

from __future__ import annotations

import textwrap

import pytest

from climsim.cluster import SlurmConfig, _in_queue, slurm_cluster
from climsim.data.statistics.statistics import compute_statistics
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.errors import ClimSimError
from climsim.parallel import run_tasks
from tests.data.synthetic import split_config


def config(record, path, **changes):
    return PrepareConfig(record[0], path, split=split_config(), block_steps=4, **changes)


def test_threads_give_the_same_store(record, store, tmp_path):
    other = open_store(prepare(config(record, tmp_path / "s", dask="threads", workers=3)))
    assert other.fingerprint == store.fingerprint


def test_threads_stay_in_this_process():
    import os

    assert set(run_tasks(lambda _: os.getpid(), [1, 2, 3], 2, "threads")) == {os.getpid()}


def test_a_scheduler_file_leads_to_its_cluster(record, store, tmp_path):
    import json

    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": cluster.scheduler_address}))
        other = open_store(prepare(config(record, tmp_path / "s", dask=str(file))))
        statistics = compute_statistics(store, dask=cluster.scheduler_address)
    assert other.fingerprint == store.fingerprint
    assert statistics.fingerprint == compute_statistics(store).fingerprint


def test_work_that_ends_its_workers_is_named_with_the_remedy():
    import os

    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        pytest.raises(ClimSimError, match=r"ended 1 worker: out of memory\? .*slurm\.memory"),
    ):
        list(run_tasks(os._exit, [1], dask=cluster.scheduler_address))


def test_job_script_holds_what_the_configuration_says():
    settings = SlurmConfig(
        cores=6,
        memory="20GB",
        walltime="00:30:00",
        queue="short",
        account="m1234",
        directives=("--qos=debug",),
        prologue=("module load python",),
    )
    with slurm_cluster(settings) as cluster:
        script = cluster.job_script()
    for line in (
        "#SBATCH -p short",
        "#SBATCH -A m1234",
        "#SBATCH --cpus-per-task=6",
        "#SBATCH --mem=19G",
        "#SBATCH -t 00:30:00",
        "#SBATCH --qos=debug",
        "module load python",
    ):
        assert line in script.splitlines()
    assert "--nthreads 1 --memory-limit 3.10GiB --nworkers 6" in script
    with slurm_cluster(SlurmConfig()) as cluster:
        assert "#SBATCH -A" not in cluster.job_script()


def tool(place, name, script):
    """Put a shell script among the stand-ins."""
    path = place / "bin" / name
    path.write_text("#!/bin/bash\n" + textwrap.dedent(script).lstrip())
    path.chmod(0o755)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Stand-ins for ``sbatch`` and ``scancel`` that run the job on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "sbatch": f"""
            [ "$1" = --test-only ] && exit 0
            cp "${{@: -1}}" {tmp_path}/job.sh
            set -m  # a process group of its own, which scancel stops
            bash {tmp_path}/job.sh > {tmp_path}/job.log 2>&1 &
            echo $! > {tmp_path}/pid
            echo Submitted batch job 77
            """,
        "scancel": f"""
            echo "$@" >> {tmp_path}/cancelled
            kill -- -$(cat {tmp_path}/pid)
            """,
    }
    for name, text in scripts.items():
        tool(tmp_path, name, text)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return tmp_path


def test_slurm_jobs_do_the_work_and_are_cancelled(record, store, slurm):
    jobs = SlurmConfig(jobs=1, cores=1, memory="2GB")
    other = open_store(prepare(config(record, slurm / "s", dask="slurm", slurm=jobs)))
    assert other.fingerprint == store.fingerprint
    assert "climsim-data" in (slurm / "job.sh").read_text()
    assert (slurm / "cancelled").read_text().split() == ["77"]


def test_a_refused_job_is_told(slurm, record):
    tool(slurm, "sbatch", "echo invalid partition >&2; exit 1")
    with pytest.raises(ClimSimError, match=r"sbatch refuses the job .*invalid partition.*slurm\."):
        prepare(config(record, slurm / "s", dask="slurm"))


def test_jobs_that_end_without_a_worker_are_told(slurm, record, monkeypatch):
    monkeypatch.setattr("climsim.cluster.POLL", 0.2)
    tool(slurm, "squeue", "exit 0")
    prologue = SlurmConfig(jobs=1, cores=1, memory="2GB", prologue=("exit 3",))
    with pytest.raises(ClimSimError, match=r"no worker came: see why in slurm-77\.out"):
        prepare(config(record, slurm / "s", dask="slurm", slurm=prologue))


@pytest.mark.parametrize(
    ("squeue", "there"),
    [
        ("echo 77", True),
        ("exit 0", False),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", False),
        ("echo Unable to contact slurm controller >&2; exit 1", True),
    ],
)
def test_only_a_clear_answer_says_that_jobs_are_gone(slurm, squeue, there):
    tool(slurm, "squeue", squeue)
    assert _in_queue(["77"]) is there


def test_a_machine_without_slurm_is_told(record, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ClimSimError, match="no sbatch on this machine"):
        prepare(config(record, tmp_path / "s", dask="slurm"))


@pytest.mark.parametrize("changes", [{"jobs": 0}, {"cores": -2}])
def test_bad_numbers_are_named(changes):
    (key,) = changes
    with pytest.raises(ClimSimError, match=rf"slurm\.{key}: expected a whole number >= 1, found"):
        SlurmConfig(**changes)
