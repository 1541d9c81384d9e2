"""A real SLURM of one node, where it is installed: how jobs end on it, and what follows."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from climsim.cluster import SlurmConfig
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.errors import ClimSimError
from climsim.parallel import run_tasks
from climsim.workflow import run
from climsim.workflow.slurm import keeps_accounts
from tests import ROOT
from tests.data.synthetic import split_config, write_record

_SPEC = importlib.util.spec_from_file_location("slurm_node", ROOT / "scripts" / "slurm_node.py")
slurm_node = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(slurm_node)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(slurm_node.missing()), reason=f"no SLURM: {slurm_node.missing()}"),
]
STUDY = (
    *("members.networks=[unet]", "members.recipes=[standard]", "members.seeds=[1,2,3,4]"),
    *("slurm.partition=cpu", "slurm.gpu_partition=gpu", "slurm.gres=null"),
    *("slurm.check_seconds=1", "slurm.settle_seconds=5"),
    *("slurm.rules.train.mem_mb=700", "slurm.rules.train.threads=1"),
)
MEMBERS = tuple(f"unet-standard-{seed}" for seed in (1, 2, 3, 4))


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Variables with which SLURM's commands find the cluster."""
    with slurm_node.one_node(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


@pytest.fixture
def node(started, monkeypatch):
    """The cluster is the one of this test and of the processes it starts."""
    for name, value in started.items():
        monkeypatch.setenv(name, value)


def asked(*words):
    """What a command of SLURM prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def state_of_job(tmp_path, *options, program):
    """Run a program as a job; the state that it ends with, and what it printed."""
    script = tmp_path / "job"
    script.write_text(f"#!/bin/sh\n{sys.executable} -c '{program}'\n")
    said = tmp_path / "said"
    words = ["sbatch", "--wait", "--parsable", f"--output={said}", *options, str(script)]
    number = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    state = asked("squeue", "--noheader", "--states=all", f"--jobs={number}", "--format=%T")
    return state, said.read_text()


def until_found(look, seconds=120):
    """What a look finds, as soon as that is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.5)
    raise TimeoutError("nothing was found")


def running_job(word):
    """Number of the running job whose comment ends with a word."""
    lines = asked("squeue", "--noheader", "--states=running", "--format=%i %k").splitlines()
    return next((line.split()[0] for line in lines if line.endswith(word)), None)


def test_job_runs_with_what_it_asks_for(node, tmp_path):
    program = 'import os; print(os.environ["SLURM_CPUS_PER_TASK"])'
    found = state_of_job(tmp_path, "--cpus-per-task=16", program=program)
    assert found == ("COMPLETED", "16\n")


def test_job_that_outgrows_its_memory_fails(node, tmp_path):
    program = 'import time; kept = b"x" * (300 << 20); time.sleep(60)'
    state, said = state_of_job(tmp_path, "--mem=50", program=program)
    assert state == "FAILED"
    assert "exceeded memory limit" in said


def test_cluster_without_accounts_is_noticed(node):
    assert not keeps_accounts()


@pytest.fixture
def study(folder, node):
    """Runs a study up to a stage, on the cluster or here."""
    folder.mkdir()

    def start(until, *overrides, slurm=True):
        settings = [f"folder={folder}", *STUDY, *overrides]
        return run.run_experiment("demo", settings, slurm=slurm, until=until)

    return start


def test_jobs_that_slurm_ends_are_named_with_their_remedy_and_made_by_the_next_call(folder, study):
    study("statistics", slurm=False)
    flags = [
        folder.parent / f"{what}-train-{member}"
        for what, member in zip(("wait", "wait", "eat", "kill"), MEMBERS, strict=True)
    ]
    for flag in flags:
        flag.touch()

    def cancel_first():
        until_found((folder / f"logs/train-{MEMBERS[0]}.json").exists)
        asked("scancel", running_job(MEMBERS[0]))

    cancelling = threading.Thread(target=cancel_first)
    cancelling.start()
    with pytest.raises(ClimSimError, match=r"train of unet-standard-1 .* and 3 more"):
        study("train", "slurm.rules.train.runtime=1")
    cancelling.join()
    failed = json.loads((folder / "failures.json").read_text())
    assert [(one["member"], one["stage"]) for one in failed] == [(m, "train") for m in MEMBERS]
    for one, end in zip(
        failed,
        (
            "as CANCELLED: it was cancelled: run the same command again",
            "as TIMEOUT: it ran out of time: raise slurm.rules.train.runtime, in minutes",
            "as OUT_OF_MEMORY: it outgrew its memory: raise slurm.rules.train.mem_mb",
            "task 0: Killed",
        ),
        strict=True,
    ):
        assert one["message"].endswith(end)
        assert (folder / one["log"]).exists()

    for flag in flags:
        flag.unlink()
    study("train")
    assert not (folder / "failures.json").exists()
    assert all((folder / f"flags/train-{member}.done").exists() for member in MEMBERS)


def test_interrupt_cancels_the_jobs_and_the_same_command_continues(folder, study, monkeypatch):
    # As on a login node, which reaches the processes of its jobs through SLURM alone.
    monkeypatch.setattr("socket.gethostname", lambda: "login")
    flag = folder.parent / "wait-generate"
    flag.touch()

    def interrupt():
        until_found((folder / "logs/generate.json").exists)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        study("generate")
    interrupting.join()
    states = ("squeue", "--noheader", "--states=all", "--format=%T %k")
    assert until_found(lambda: "CANCELLED rule_generate" in asked(*states))
    flag.unlink()
    study("generate")
    assert (folder / "flags" / "generate.done").exists()


def workers():
    """Numbers of the running jobs of Dask."""
    words = ("squeue", "--noheader", "--states=running", "--name=climsim-data", "--format=%i")
    return asked(*words).split()


@pytest.fixture
def jobs(node, tmp_path, monkeypatch):
    """Two small jobs for Dask, which write what they print into the folder of the test."""
    monkeypatch.setattr("climsim.cluster.POLL", 1.0)
    return SlurmConfig(
        jobs=2, cores=1, memory="2GB", directives=(f"--output={tmp_path}/slurm-%j.out",)
    )


def test_store_is_the_same_when_one_of_the_jobs_that_make_it_is_killed(
    tmp_path, jobs, caplog, monkeypatch
):
    raw, made, gate = tmp_path / "raw", tmp_path / "made.zarr", tmp_path / "gate"
    holding = tmp_path / "holding"
    holding.mkdir()
    write_record(raw, 40)

    def config(path, **changes):
        return PrepareConfig(raw, path, split=split_config(), block_steps=1, **changes)

    def held(write):
        """Begin no work before the gate is open, so that the job that dies has some in hand."""

        def wait_and_write(task):
            (holding / os.environ["SLURM_JOB_ID"]).touch()
            while not gate.exists():
                time.sleep(0.05)
            return write(task)

        return wait_and_write

    def kill_one():
        job = until_found(lambda: [path.name for path in holding.iterdir()])[0]
        asked("scancel", "--full", "--signal=KILL", job)
        until_found(lambda: job not in workers())
        gate.touch()

    here = prepare(config(tmp_path / "here.zarr", workers=1))
    monkeypatch.setattr(
        "climsim.data.store.plan.run_tasks",
        lambda write, *options: run_tasks(held(write), *options),
    )
    killing = threading.Thread(target=kill_one)
    killing.start()
    prepare(config(made, dask="slurm", slurm=jobs))
    killing.join()
    assert open_store(made).fingerprint == open_store(here).fingerprint
    # The scheduler lost a worker while the preparation still asked for work.
    assert caplog.text.index("Remove worker") < caplog.text.index("Remove client")


def test_work_is_given_up_when_slurm_has_ended_all_jobs(jobs):
    results = run_tasks(time.sleep, [0.0, *[60.0] * 4], dask="slurm", slurm=jobs)
    next(results)
    asked("scancel", *workers())
    with pytest.raises(ClimSimError, match=r"all jobs ended before the work was done: .*walltime"):
        list(results)


@pytest.mark.parametrize("more", [{"memory": "99TB"}, {"cores": 999}])
def test_dask_jobs_larger_than_any_node_are_refused_at_once(jobs, more):
    message = r"^dask=slurm: sbatch refuses the job \(.*not available\): look at the keys slurm"
    with pytest.raises(ClimSimError, match=message):
        list(run_tasks(abs, [1], dask="slurm", slurm=replace(jobs, **more)))


def test_dask_work_that_outgrows_its_memory_is_given_up_with_its_remedy(jobs):
    def hold(mebibytes):
        kept = b"x" * (mebibytes << 20)
        time.sleep(5)
        return len(kept)

    with pytest.raises(ClimSimError, match=r"^dask: .*out of memory\? .*slurm\.memory"):
        list(run_tasks(hold, [1, 900], dask="slurm", slurm=replace(jobs, memory="500MB")))


def test_dask_work_that_outlasts_its_jobs_is_given_up_with_its_remedy(jobs):
    short = replace(jobs, walltime="00:01:00")
    with pytest.raises(ClimSimError, match=r"all jobs ended before the work .*slurm\.walltime"):
        list(run_tasks(time.sleep, [0.0, 300.0], dask="slurm", slurm=short))
