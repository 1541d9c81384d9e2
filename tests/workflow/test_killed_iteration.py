"""An iteration of training on visited states, kill -9 in each of its long stages, and resumed."""

import importlib
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch

from climsim import cli
from climsim.files import read_json
from climsim.workflow.maker import Jobs
from climsim.workflow.plan import make_plan
from climsim.workflow.run import experiment_config

HOST = f"{Path(__file__).with_name('weather_host.py')}:build_host"
GIVEN = (
    "members.networks=[unet]",
    "members.recipes=[standard]",
    "iterations=1",
    f"host={HOST}",
    "stages.generate.days=1",
    "+stages.prepare={check_ranges: false, split: {gap_days: 0.05}}",
    "+networks.unet.network.hyperparameters={model_channels: 8, channel_mult: [1, 1]}",
    "stages.train.data.batch_size=16",
    "+stages.train.trainer.save_every_steps=3",
    "stages.online_collect.days=0.3",
    "online.days=1",
)
AGAIN = "unet-standard_visited1-7"
STEP = "climsim.online.stepper:Stepper.step"
KILLS = (
    # In the second segment of the collection, whose first one is whole; in training between two
    # checkpoints; in the coupled run. What is finished is not stepped through again.
    (STEP, 30),
    ("climsim.training.module:EmulatorModule.training_step", 8),
    (STEP, 20),
)


def commands():
    """Commands of the first training, and those of the iteration."""
    config = experiment_config("aggregate", GIVEN)
    jobs = [job for job in make_plan(config, Jobs(config, None)) if job.rule != "online_reference"]
    first = [job.command for job in jobs if job.member != AGAIN and job.rule != "online_run"]
    return first, [job.command for job in jobs if job.member == AGAIN]


def run(folder, calls, kill=None):
    """Run commands in a folder, as the jobs of a study do; die at the n-th call of a method."""
    if kill is not None:
        die_at(*kill)
    os.chdir(folder)
    for call in calls:
        with pytest.raises(SystemExit, match="0"):
            cli.main(call)


def die_at(target, number):
    module, _, path = target.partition(":")
    owner = getattr(importlib.import_module(module), path.split(".")[0])
    name, made = path.split(".")[1], []
    usual = getattr(owner, name)

    def counted(*arguments, **options):
        made.append(None)
        if len(made) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(*arguments, **options)

    setattr(owner, name, counted)


def killed(folder, calls, kill):
    """Run commands in a process of its own that ends with kill -9."""
    context = multiprocessing.get_context("forkserver")
    # Loaded once: each of the processes would need seconds for it.
    context.set_forkserver_preload(["climsim.training.run", "climsim.online.run"])
    process = context.Process(target=run, args=(folder, calls, kill))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def whole_and_begun(folder, first, rest):
    """Two folders that are alike after the first commands; in one of them the rest has run too."""
    whole, begun = folder / "whole", folder / "begun"
    whole.mkdir()
    run(whole, first)
    shutil.copytree(whole, begun)
    run(whole, rest)
    return whole, begun


def numbers(folder):
    """Collected states, weights and the coupled run of an iteration."""
    found = {}
    for path in sorted((folder / "visited" / AGAIN).rglob("*.nc")):
        with netCDF4.Dataset(path) as pair:
            found[path.name] = np.array(pair["state_t"]) if "state_t" in pair.variables else None
    last = torch.load(folder / "members" / AGAIN / "last.ckpt", weights_only=True)
    found |= {name: value.numpy() for name, value in last["state_dict"].items()}
    (history,) = (folder / "online" / AGAIN).glob("*.h1.*.nc")
    with netCDF4.Dataset(history) as day:
        found["history"] = np.array(day["T"])
    return found


@pytest.mark.slow
def test_iteration_killed_in_each_stage_ends_with_the_numbers_of_an_uninterrupted_one(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    first, again = commands()
    whole, broken = whole_and_begun(tmp_path, first, again)
    for kill in KILLS:
        killed(broken, again, kill)
    assert read_json(broken / "online" / AGAIN / "record.json")["status"] != "complete"
    run(broken, again)
    expected, found = numbers(whole), numbers(broken)
    assert found.keys() == expected.keys()
    assert sum("visited" not in name and name.endswith(".nc") for name in found) > 20
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
