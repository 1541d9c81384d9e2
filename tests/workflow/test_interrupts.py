"""Stopping an experiment at any time and resuming it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from climsim.locks import hold
from climsim.workflow import job, run
from climsim.workflow.jobs import Job
from climsim.workflow.status import experiment_status

OVERRIDES = ["members.networks=[unet]", "members.recipes=[standard]", "cores=2"]
PROGRAM = """
import sys
from climsim.workflow import run
run.stage_interpreter = lambda: sys.argv[1]
from climsim.cli import main
main(["experiment", "demo", *sys.argv[2:]])
"""


@pytest.fixture
def waiting(folder):
    """An experiment whose training waits, in a process group of its own."""
    folder.mkdir()
    (folder.parent / "wait-train").touch()
    words = [run.stage_interpreter(), f"folder={folder}", *OVERRIDES]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    log = folder / "logs" / "train-unet-standard-7.log"
    for _ in range(1200):
        if log.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(1)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    ("number", "send"),
    [
        (signal.SIGINT, os.killpg),
        (signal.SIGKILL, os.killpg),
        (signal.SIGTERM, os.kill),
        pytest.param(signal.SIGTERM, os.killpg, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, os.kill, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, os.kill, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "name", None) or value.__name__,
)
def test_experiment_continues_where_it_was_stopped_and_leaves_no_stage_running(
    folder, waiting, number, send
):
    shown = {job.name: job.status for job in experiment_status(folder).jobs}
    assert shown["train-unet-standard-7"] == "running"
    send(waiting.pid, number)
    output, _ = waiting.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert waiting.returncode == 130
        assert output.count("climsim: error: stopped") == 1
    # The last of the processes, of the experiment or of its jobs, may take a moment to end.
    for _ in range(300):
        status = experiment_status(folder)
        if not status.running and not status.count("running"):
            break
        time.sleep(0.1)
    assert not status.running
    assert {j.name: j.status for j in status.jobs}["train-unet-standard-7"] == "stopped"
    (folder.parent / "wait-train").unlink()
    before = (folder / "calls.txt").read_text().splitlines()
    report = run.run_experiment("demo", [f"folder={folder}", *OVERRIDES])
    assert report is not None
    again = (folder / "calls.txt").read_text().splitlines()[len(before) :]
    # A reference run that was cut off with the training may run again.
    words = [c.split()[0] for c in again if "case=reference" not in c]
    assert words[:2] == ["train", "export"]
    assert words[-2:] == ["figures", "report"]
    assert len(words) == 7
    assert not any(c.startswith("data") for c in again)
    assert not (folder / "replaced").exists()


def test_request_to_stop_that_comes_while_a_stage_is_started_reaches_it(tmp_path, monkeypatch):
    start = subprocess.Popen
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\nexec sleep 20\n")
    stand_in.chmod(0o755)
    (tmp_path / "logs").mkdir()

    def start_and_ask(*arguments, **named):
        process = start(*arguments, **named)
        os.kill(os.getpid(), signal.SIGTERM)
        return process

    monkeypatch.setattr(subprocess, "Popen", start_and_ask)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with hold(tmp_path / "lock") as lock:
            code = job._call(tmp_path, Job("train", "train", ""), str(stand_in), lock)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 128 + signal.SIGTERM
