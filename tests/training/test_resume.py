"""A run killed at any moment ends with the weights of an uninterrupted one."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from climsim.errors import ClimSimError
from climsim.export import export_model, load_emulator
from climsim.files import read_json, write_json
from climsim.training.checkpoint import read_checkpoint
from climsim.training.run import train


class Killed(BaseException):
    """Stands for a kill in this process: nothing after it runs but the unwinding."""


def weights(path):
    return read_checkpoint(path)["state_dict"]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def kill_at(step):
    def report(done, total):
        if done == step:
            raise Killed

    return report


VARIANTS = {
    "adamw": {},
    "dropout and warm-up": {
        "network": "encdec_lstm",
        "hyperparameters": {"hidden_dim": 8, "reduction": 8},
        "schedule": {"name": "warmup_cosine"},
    },
    "soap and plateau": {
        "optimizer": {"name": "soap", "learning_rate": 1e-3, "precondition_every": 2},
        "schedule": {"name": "plateau", "patience": 0, "factor": 0.5},
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_run_ends_with_the_weights_of_an_uninterrupted_one(variant, configure):
    settings = {"epochs": 3, "save_every_steps": 3, **VARIANTS[variant]}
    whole = train(configure("whole", **settings))
    per_epoch = whole.steps // 3
    # In the middle of an epoch, on its last step (before validation), on the first of the next.
    for step in (per_epoch + 4, 2 * per_epoch, 2 * per_epoch + 1):
        with pytest.raises(Killed):
            train(configure("killed", **settings), kill_at(step))
    resumed = train(configure("killed", **settings))
    assert resumed.steps == whole.steps
    assert equal(weights(resumed.last_checkpoint), weights(whole.last_checkpoint))
    assert resumed.validation_loss == whole.validation_loss
    names = [sorted(p.name for p in (r.last_checkpoint.parent / "checkpoints").iterdir())
             for r in (whole, resumed)]  # fmt: skip
    assert names[0] == names[1]


def test_same_seed_gives_the_same_weights_and_another_does_not(configure):
    runs = [train(configure(out, seed=seed, epochs=1)) for out, seed in
            (("a", 7), ("b", 7), ("c", 43))]  # fmt: skip
    a, b, c = (weights(r.last_checkpoint) for r in runs)
    assert equal(a, b)
    assert not equal(a, c)


_SCRIPT = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from climsim.configuration import build_config
from climsim.training.run import TrainConfig, train
import json
config = build_config(TrainConfig, json.loads({config!r}))
def report(done, total):
    if done == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
print(train(config, report))
"""


def test_kill_nine_leaves_whole_checkpoints_and_resumes(configure):
    import json

    config = configure("killed", save_every_steps=2)
    whole = train(replace(config, out=config.out.parent / "whole"))
    script = _SCRIPT.format(tests=str(Path(__file__).parent), config=json.dumps(config.resolved()),
                            step=whole.steps // 2 + 2)  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert read_checkpoint(config.out / "last.ckpt")["climsim"]["step"] > 0
    resumed = train(config)
    assert equal(weights(resumed.last_checkpoint), weights(whole.last_checkpoint))


def test_interrupt_stays_one_and_the_next_run_goes_on(configure):
    config = configure(save_every_steps=2)

    def report(done, total):
        if done == 4:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(config, report)
    assert signal.getsignal(signal.SIGINT) is before
    steps = []
    result = train(config, lambda done, total: steps.append(done))
    assert steps[0] == 3
    assert steps[-1] == result.steps


def test_finished_run_is_not_repeated(configure):
    config = configure(epochs=1)
    first = train(config)
    before = first.last_checkpoint.stat().st_mtime_ns
    steps = []
    assert train(config, lambda done, total: steps.append(done)) == first
    assert steps == []
    assert first.last_checkpoint.stat().st_mtime_ns == before


def test_finished_run_is_found_again_after_its_folder_moved(configure):
    config = configure(epochs=1)
    train(config)
    moved = replace(config, out=config.out.with_name("moved"))
    config.out.rename(moved.out)
    result = train(moved)
    assert result.best_checkpoint == moved.out / "best.ckpt"
    assert result.best_checkpoint.exists()


def test_folder_of_another_run_is_refused_by_key(configure):
    train(configure(epochs=1))
    with pytest.raises(ClimSimError, match=r"seed=8 instead of 7.*choose another `out`"):
        train(configure(epochs=1, seed=8))
    with pytest.raises(ClimSimError, match=r"recipe.loss=mse instead of huber"):
        train(configure(epochs=1, recipe={"loss": "mse"}))


def test_truncated_last_checkpoint_is_named(configure):
    config = configure(epochs=2, save_every_steps=2)
    with pytest.raises(Killed):
        train(config, kill_at(5))
    last = config.out / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(ClimSimError, match=r"last\.ckpt: expected a checkpoint, found a damaged"):
        train(config)


def test_training_hours_add_up_over_the_runs_of_a_member(configure, tmp_path):
    config = configure(epochs=2, save_every_steps=2)
    with pytest.raises(Killed):
        train(config, kill_at(5))
    last = config.out / "last.ckpt"
    content = read_checkpoint(last)
    spent = content["climsim"]["training_hours"]
    assert 0 < spent < 0.1
    content["climsim"]["training_hours"] = 5.0
    torch.save(content, last)
    result = train(config)
    recorded = read_json(config.out / "training.json")["result"]
    assert recorded["training_hours"] == result.training_hours
    exported = load_emulator(export_model(result.last_checkpoint, tmp_path / "m.pt")).metadata
    for hours in (recorded["training_hours"], exported["training_hours"]):
        assert 5.0 < hours < 5.1
    for device in (recorded["training_device"], exported["training_device"]):
        assert device.startswith("1 thread of ")
    assert train(config) == result


def test_run_recorded_without_hours_is_still_finished(configure):
    config = configure(epochs=1)
    first = train(config)
    path = config.out / "training.json"
    record = read_json(path)
    del record["result"]["training_hours"], record["result"]["training_device"]
    write_json(path, record)
    again = train(config)
    assert again.steps == first.steps
    assert "unknown device" in str(again)
