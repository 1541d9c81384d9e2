"""Experiments on SLURM, with stand-ins for its commands that really run the job scripts."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from climsim.errors import ClimSimError
from climsim.workflow import run
from climsim.workflow.config import Slurm
from climsim.workflow.slurm import profile, write_profile
from climsim.workflow.status import experiment_status

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "srun", "sacctmgr")
STUDY = ("members.networks=[unet]", "members.recipes=[standard]", "slurm.account=lab")
FAST = ("slurm.check_seconds=1", "slurm.settle_seconds=5")
NODES = ("slurm.partition=cpu", "slurm.gpu_partition=gpu")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Folder of the stub's jobs; its commands come first on the path."""
    commands, jobs = tmp_path / "bin", tmp_path / "jobs"
    commands.mkdir()
    jobs.mkdir()
    source = (Path(__file__).parent / "slurm_stub.py").read_text()
    for name in COMMANDS:
        (commands / name).write_text(f"#!{sys.executable}\n{source}")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("FAKE_CLUSTER", str(jobs))
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    return jobs


def start(folder, *overrides):
    settings = [f"folder={folder}", *STUDY, *FAST, *NODES, *overrides]
    return run.run_experiment("demo", settings, slurm=True)


def submitted(slurm):
    """For each job of SLURM, its words by the job's rule."""
    jobs = [json.loads(path.read_text()) for path in slurm.glob("job-*.json")]
    comments = [(job["words"][job["words"].index("--comment") + 1], job["words"]) for job in jobs]
    return {comment.split("_wildcards")[0].removeprefix("rule_"): w for comment, w in comments}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_whole_study_runs_on_slurm_around_a_failed_and_a_killed_job(folder, slurm):
    folder.mkdir()
    (folder.parent / "fail-train-unet-standard-43").touch()
    (folder.parent / "kill-train-unet-standard-1024").touch()
    seeds = "members.seeds=[7,43,1024]"
    with pytest.raises(ClimSimError, match=r"train of unet-standard-43 \(asked to fail\) and 1"):
        start(folder, seeds)
    assert (folder / "report.html").exists()
    failures = json.loads((folder / "failures.json").read_text())
    assert [(f["member"], f["stage"]) for f in failures] == [
        ("unet-standard-43", "train"),
        ("unet-standard-1024", "train"),
    ]
    assert failures[0]["message"] == "asked to fail"
    assert "OUT_OF_MEMORY" in failures[1]["message"]
    words = submitted(slurm)
    assert words["train"][words["train"].index("-p") :][:2] == ["-p", "gpu"]
    assert words["prepare"][words["prepare"].index("-p") :][:2] == ["-p", "cpu"]
    assert words["train"][words["train"].index("-A") :][:2] == ["-A", "lab"]
    assert "--gres=gpu:1" in words["train"]
    assert "--cpus-per-task=16" in words["train"]
    assert not any(word.startswith("--gres") for word in words["prepare"])
    status = {job.name: job.status for job in experiment_status(folder).jobs}
    assert status["train-unet-standard-43"] == "failed"
    assert status["train-unet-standard-1024"] in ("failed", "stopped")
    assert status["train-unet-standard-7"] == "done"

    before = len(list(slurm.glob("job-*.json")))
    for path in folder.parent.glob("*-train-*"):
        path.unlink()
    assert start(folder, seeds) == folder / "report.html"
    # Two members with four jobs each, and the four joint jobs: nothing else runs again.
    assert len(list(slurm.glob("job-*.json"))) - before == 2 * 4 + 4


def test_profile_sends_networks_to_gpu_nodes_and_data_to_cpu_nodes():
    given = run.experiment_config("demo", [*STUDY, *NODES, "slurm.rules.train.gres=gpu:a100:4"])
    options = profile(given.slurm)
    assert options["executor"] == "slurm"
    assert options["default-resources"]["slurm_partition"] == "'cpu'"
    assert options["default-resources"]["slurm_account"] == "'lab'"
    train = options["set-resources"]["train"]
    assert (train["slurm_partition"], train["gres"]) == ("'gpu'", "'gpu:a100:4'")
    assert "gres" not in options["set-resources"]["prepare"]
    assert options["set-threads"]["train"] == 16
    assert yaml.safe_load(yaml.safe_dump(options)) == options


def test_account_is_left_to_slurm_where_none_is_given():
    options = profile(Slurm(default={"slurm_partition": None, "runtime": 5}))
    assert options["slurm-no-account"] is True
    assert options["default-resources"] == {"runtime": 5}


def test_ends_of_jobs_are_read_from_the_queue_where_slurm_keeps_no_accounts():
    assert profile(Slurm(), accounting=True)["slurm-status-command"] == "sacct"
    assert profile(Slurm(), accounting=False)["slurm-status-command"] == "squeue"


def test_cluster_that_could_not_tell_how_jobs_ended_is_refused(slurm, tmp_path):
    (tmp_path / "bin" / "sacct").write_text("#!/bin/sh\nexit 1\n")
    write_profile(tmp_path, Slurm(check_seconds=99))
    message = r"forgets jobs after 300 s \(MinJobAge\): expected more than 300 s, .*check_seconds"
    with pytest.raises(ClimSimError, match=message):
        write_profile(tmp_path, Slurm(check_seconds=100))


def test_memory_and_time_of_every_rule_are_keys_that_can_be_set():
    rules = run.experiment_config("demo", [*STUDY, *NODES]).slurm.rules
    assert all({"runtime", "mem_mb", "threads"} <= set(values) for values in rules.values())


def test_numbers_are_given_as_numbers():
    rules = {"train": {"mem_mb": 1e5, "runtime": 90, "slurm_partition": "gpu"}}
    expected = {"mem_mb": 100000.0, "runtime": 90, "slurm_partition": "'gpu'"}
    assert profile(Slurm(rules=rules))["set-resources"]["train"] == expected


def test_rule_that_does_not_exist_is_refused():
    with pytest.raises(ClimSimError, match=r"unknown slurm\.rules 'trian'"):
        Slurm(rules={"trian": {"runtime": 3}})


def test_cores_of_a_rule_that_are_no_number_are_refused():
    message = r"^slurm\.rules\.train\.threads: expected a whole number >= 0, found 'many'$"
    with pytest.raises(ClimSimError, match=message):
        Slurm(rules={"train": {"threads": "many"}})
    assert "set-threads" not in profile(Slurm(rules={"train": {"threads": 0}}))


def test_missing_slurm_is_said_before_anything_runs(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClimSimError, match="expected SLURM's commands on the PATH"):
        start(folder)
    assert not (folder / "calls.txt").exists()
