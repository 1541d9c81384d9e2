"""What the failures of an experiment say of jobs that SLURM refused or ended."""

import asyncio
import logging
import os

import pytest

from climsim.workflow.failures import failed_jobs, find_failures
from climsim.workflow.jobs import Job

TRAIN = Job("train-a", "train", "a", output="flags/a.done")
ENDED = """Error in rule train:
    message: SLURM-job '7' failed, SLURM status is: '{state}'. For further error details see
    output: flags/a.done
    log: {log} (check log file(s) for error details)
"""


@pytest.fixture
def failure(tmp_path):
    """The failure of the job, from SLURM's state, its log and the log of the stage."""

    def find(state, said="", stage=None):
        log = tmp_path / ".snakemake" / "7.log"
        log.parent.mkdir()
        log.write_text(said)
        if stage is not None:
            (tmp_path / "logs").mkdir()
            (tmp_path / TRAIN.log).write_text(stage)
        [found] = find_failures(tmp_path, [TRAIN], ENDED.format(state=state, log=log))
        return found

    return find


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("TIMEOUT", "it ran out of time: raise slurm.rules.train.runtime, in minutes"),
        ("OUT_OF_MEMORY", "it outgrew its memory: raise slurm.rules.train.mem_mb"),
        ("CANCELLED", "it was cancelled: run the same command again"),
        ("NODE_FAIL", "its node failed: run the same command again"),
    ],
)
def test_what_slurm_did_and_its_remedy_go_before_the_last_words_of_the_stage(
    failure, state, remedy
):
    found = failure(state, stage="climsim: error: interrupted\n")
    assert found.message == f"job 7 of SLURM ended as {state}: {remedy}"
    assert found.log == TRAIN.log


def test_job_that_slurm_killed_for_its_memory_is_distinguished_from_one_that_failed(failure):
    said = "slurmstepd-n1: error: StepId=2.0 exceeded memory limit (8 > 5), being killed\n"
    assert "raise slurm.rules.train.mem_mb" in failure("FAILED", said).message


def test_job_that_failed_by_itself_has_the_error_of_its_stage(failure):
    found = failure("FAILED", "srun: error: n1: task 0: Exited\n", "climsim: error: bad store\n")
    assert found.message == "bad store"


def test_job_that_never_began_its_stage_has_the_words_and_the_log_of_slurm(failure):
    found = failure("FAILED", "Building DAG\nsrun: fatal: no configuration source\nElapsed\n")
    expected = "job 7 of SLURM ended as FAILED: srun: fatal: no configuration source"
    assert (found.message, found.log) == (expected, ".snakemake/7.log")
    assert failed_jobs([TRAIN], [found]) == {"train-a"}


def test_error_of_an_earlier_call_is_not_taken_for_that_of_a_job_that_never_began(
    failure, tmp_path
):
    plan = tmp_path / "plan.json"
    plan.touch()
    later = plan.stat().st_mtime + 60
    os.utime(plan, (later, later))
    found = failure("FAILED", "srun: fatal: no nodes\n", "climsim: error: of yesterday\n")
    expected = "job 7 of SLURM ended as FAILED: srun: fatal: no nodes"
    assert (found.message, found.log) == (expected, ".snakemake/7.log")


def test_refused_job_has_the_reason_of_sbatch_and_the_keys_to_look_at(tmp_path):
    said = (
        "Error in rule train:\n    message: SLURM sbatch failed. The error message was 'sbatch: "
        "error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: "
        "Invalid partition name specified'.\n    sbatch call:\n        sbatch -p nope\n\n"
        "    output: flags/a.done\n"
    )
    [found] = find_failures(tmp_path, [TRAIN], said)
    assert found.message == (
        "sbatch refuses the job (invalid partition specified: nope Batch job submission failed: "
        "Invalid partition name specified): look at slurm.account, the partitions and "
        "slurm.rules.train"
    )


def test_job_that_somebody_cancelled_is_known_from_its_accounts(monkeypatch):
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm")
    from climsim.workflow.engine import _read_cancelled

    monkeypatch.setattr(plugin, "query_job_status", plugin.query_job_status)
    _read_cancelled()
    asked = "printf '7|CANCELLED by 1000\\n8|RUNNING\\n'"
    states, _ = asyncio.run(plugin.query_job_status(asked, logging.getLogger()))
    assert states == {"7": "CANCELLED", "8": "RUNNING"}
    assert asyncio.run(plugin.query_job_status("false", logging.getLogger())) == (None, None)
