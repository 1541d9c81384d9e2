"""A real SLURM of one node, where it is installed: it runs jobs and ends those that outgrow it."""

import importlib.util
import os
import subprocess
import sys

import pytest

from climsim.workflow.slurm import keeps_accounts
from tests import ROOT

_SPEC = importlib.util.spec_from_file_location("slurm_node", ROOT / "scripts" / "slurm_node.py")
slurm_node = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(slurm_node)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_node.missing()), reason=f"no SLURM: {slurm_node.missing()}"),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Environment in which SLURM's commands find the cluster."""
    with slurm_node.one_node(tmp_path_factory.mktemp("slurm")) as found:
        yield {**os.environ, **found}


def state_of_job(node, tmp_path, *options, program):
    """Run a program as a job; the state that it ends with, and what it printed."""
    script = tmp_path / "job"
    script.write_text(f"#!/bin/sh\n{sys.executable} -c '{program}'\n")
    said = tmp_path / "said"
    asked = ["sbatch", "--wait", "--parsable", f"--output={said}", *options, str(script)]
    number = subprocess.run(asked, capture_output=True, text=True, env=node).stdout.strip()
    asked = ["squeue", "--noheader", "--states=all", f"--jobs={number}", "--format=%T"]
    done = subprocess.run(asked, capture_output=True, text=True, env=node, check=True)
    return done.stdout.strip(), said.read_text()


def test_job_runs_with_what_it_asks_for(node, tmp_path):
    program = 'import os; print(os.environ["SLURM_CPUS_PER_TASK"])'
    found = state_of_job(node, tmp_path, "--cpus-per-task=16", program=program)
    assert found == ("COMPLETED", "16\n")


def test_job_that_outgrows_its_memory_fails(node, tmp_path):
    program = 'import time; kept = b"x" * (300 << 20); time.sleep(60)'
    state, said = state_of_job(node, tmp_path, "--mem=50", program=program)
    assert state == "FAILED"
    assert "exceeded memory limit" in said


def test_cluster_without_accounts_is_noticed(node, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", node["SLURM_CONF"])
    assert not keeps_accounts()
