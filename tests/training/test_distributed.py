"""Two processes train one model, and a killed pair resumes exactly."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import torch

from climsim.data.reading.reader import BlockReader
from climsim.training.checkpoint import read_checkpoint

_SCRIPT = """
import json, os, signal, sys
from climsim.configuration import build_config
from climsim.training.run import TrainConfig, train

def report(done, total):
    if done == int(sys.argv[2]):
        os.killpg(0, signal.SIGKILL)

train(build_config(TrainConfig, json.loads(sys.argv[1])), report)
"""


def train_in_two_processes(config, folder, kill_at=-1):
    """Run to the end, or until both processes are killed at a step; returns the exit code."""
    script = folder / "train.py"
    script.write_text(_SCRIPT)
    command = [sys.executable, str(script), json.dumps(config.resolved()), str(kill_at)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600,
        start_new_session=True,
    )  # fmt: skip
    assert result.returncode in (0, -signal.SIGKILL), result.stderr
    return result.returncode


def test_two_processes_train_one_model_and_resume_exactly(configure, tmp_path):
    config = configure("whole", devices=2, save_every_steps=2, data={"batch_size": 16})
    assert train_in_two_processes(config, tmp_path) == 0
    whole = read_checkpoint(config.out / "last.ckpt")
    steps = whole["climsim"]["step"]
    alone = len(BlockReader(config.data.store, batch_size=16, drop_last=True))
    # Each process sees about half of the batches of an epoch.
    assert abs(steps / 2 - alone / 2) <= 2
    assert np.isfinite(whole["climsim"]["validation_loss"])
    assert whole["climsim"]["training_device"].startswith("2 x 1 thread of")

    killed = replace(config, out=tmp_path / "killed")
    assert train_in_two_processes(killed, tmp_path, steps // 2 + 3) == -signal.SIGKILL
    at = read_checkpoint(killed.out / "last.ckpt")["climsim"]
    assert 0 < at["step"] < steps
    assert at["epoch"] == 1
    assert train_in_two_processes(killed, tmp_path) == 0
    resumed = read_checkpoint(killed.out / "last.ckpt")
    assert resumed["climsim"]["step"] == steps
    assert resumed["climsim"]["validation_loss"] == whole["climsim"]["validation_loss"]
    for name, value in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], value), name
