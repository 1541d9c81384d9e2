"""A run killed at any moment ends with the weights of an uninterrupted one."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from climsim.data.store.address import StoreUrl
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.errors import ClimSimError
from climsim.export.loading import load_emulator
from climsim.export.writing import export_model
from climsim.files import read_json, write_json
from climsim.interrupts import interrupted, on_interrupt
from climsim.training.checkpoint import read_checkpoint
from climsim.training.held import HeldRun
from climsim.training.run import _chosen, train
from tests.data.synthetic import split_config, write_record
from tests.grids import make_grid


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


def test_data_kept_on_the_device_train_the_same_weights_over_a_kill(configure, monkeypatch):
    brought = train(configure("brought", epochs=2))
    monkeypatch.setattr("climsim.training.run.device_memory", lambda _: 2**40)
    kept = configure("kept", epochs=2, save_every_steps=1)
    with pytest.raises(Killed):
        train(kept, kill_at(brought.steps // 2 + 1))
    resumed = train(kept)
    assert equal(weights(resumed.last_checkpoint), weights(brought.last_checkpoint))
    assert resumed.validation_loss == brought.validation_loss


_SCRIPT = """
import os, signal, sys
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
    script = _SCRIPT.format(config=json.dumps(config.resolved()),
                            step=whole.steps // 2 + 2)  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert read_checkpoint(config.out / "last.ckpt")["climsim"]["step"] > 0
    resumed = train(config)
    assert equal(weights(resumed.last_checkpoint), weights(whole.last_checkpoint))


def press_ctrl_c():
    raise KeyboardInterrupt


def be_terminated():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("interrupt", "as_command"),
    [(press_ctrl_c, False), (be_terminated, False), (be_terminated, True)],
)
def test_interrupt_stays_one_and_the_next_run_continues(configure, interrupt, as_command):
    config = configure(save_every_steps=2)

    def report(done, total):
        if done == 4:
            interrupt()

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    handled = on_interrupt(interrupted) if as_command else contextlib.nullcontext()
    with pytest.raises(KeyboardInterrupt), handled:
        train(config, report)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    steps = []
    result = train(config, lambda done, total: steps.append(done))
    assert steps[0] in (3, 5)
    assert steps[-1] == result.steps


def test_finished_run_is_not_repeated(configure):
    config = configure(epochs=1)
    first = train(config)
    before = first.last_checkpoint.stat().st_mtime_ns
    steps = []
    assert train(config, lambda done, total: steps.append(done)) == first
    assert steps == []
    assert first.last_checkpoint.stat().st_mtime_ns == before


def test_best_checkpoint_of_a_finished_run_is_linked_again_where_it_is_gone(configure):
    config = configure(epochs=2)
    first = train(config)
    before = weights(first.best_checkpoint)
    first.best_checkpoint.unlink()
    assert train(config) == first
    assert equal(weights(first.best_checkpoint), before)


def test_finished_run_without_its_best_checkpoint_is_named(configure):
    config = configure(epochs=1)
    first = train(config)
    (linked,) = (config.out / "checkpoints").iterdir()
    first.best_checkpoint.unlink()
    linked.unlink()
    message = rf"best\.ckpt: expected .* neither it nor .*{linked.name}.*: .* another `out`"
    with pytest.raises(ClimSimError, match=message):
        train(config)


def test_finished_run_is_found_again_after_its_folder_moved(configure):
    config = configure(epochs=1)
    train(config)
    moved = replace(config, out=config.out.with_name("moved"))
    config.out.rename(moved.out)
    result = train(moved)
    assert result.best_checkpoint == moved.out / "best.ckpt"
    assert result.best_checkpoint.exists()


def soaring(folder):
    """A schedule whose second epoch throws away what the first one learned."""
    path = folder / "soaring.py"
    path.write_text(
        "from climsim.training.schedules import Schedule\n"
        "class Soaring(Schedule):\n"
        "    def factor(self, epoch, epochs):\n"
        "        return 1.0 if epoch < 1 else 300.0\n"
    )
    return f"{path}:Soaring"


def test_best_of_a_run_stays_the_best_after_its_folder_moved(configure, tmp_path):
    settings = {"schedule": {"name": soaring(tmp_path)}, "keep_best": 1}
    first = train(configure("here", epochs=1, **settings))
    kept = [path.name for path in (tmp_path / "here/checkpoints").iterdir()]
    (tmp_path / "here").rename(tmp_path / "there")
    grown = train(configure("there", epochs=2, **settings))
    assert grown.steps == 2 * first.steps
    assert grown.validation_loss == first.validation_loss
    assert [path.name for path in (tmp_path / "there/checkpoints").iterdir()] == kept


def test_best_of_a_run_stays_though_its_checkpoints_are_gone(configure, tmp_path):
    settings = {"schedule": {"name": soaring(tmp_path)}, "keep_best": 1}
    first = train(configure(epochs=1, **settings))
    shutil.rmtree(tmp_path / "run/checkpoints")
    assert train(configure(epochs=2, **settings)).validation_loss == first.validation_loss


def kept(folder):
    """Validation losses of the best checkpoints of a run, the least first, by their names."""
    losses = {
        path.name: read_checkpoint(path)["climsim"]["validation_loss"]
        for path in (folder / "checkpoints").iterdir()
    }
    return dict(sorted(losses.items(), key=lambda named: named[1]))


def test_continued_training_keeps_the_best_of_fewer_checkpoints_than_before(configure, tmp_path):
    settings = {"schedule": {"name": soaring(tmp_path)}}
    train(configure("whole", epochs=5, keep_best=5, **settings))
    train(configure("grown", epochs=3, keep_best=3, **settings))
    grown = train(configure("grown", epochs=5, keep_best=2, **settings))
    expected = kept(tmp_path / "whole")
    assert list(kept(tmp_path / "grown").items()) == list(expected.items())[:2]
    assert grown.validation_loss == min(expected.values())


def test_continued_training_keeps_more_checkpoints_than_before(configure, tmp_path):
    first = train(configure(epochs=2, keep_best=1))
    grown = train(configure(epochs=5, keep_best=3))
    losses = kept(tmp_path / "run").values()
    assert len(losses) == 3
    assert min(losses) == grown.validation_loss <= first.validation_loss


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


def other_store(path):
    """A store with the same axes and other values."""
    raw = path.parent / "other-raw"
    write_record(raw, 60, make_grid(11, 16), seed=9)
    return prepare(PrepareConfig(raw, path, split=split_config(), block_steps=4, workers=1))


def test_training_on_other_data_at_the_same_path_is_refused(configure, store_path, tmp_path):
    path = tmp_path / "store.zarr"
    shutil.copytree(store_path, path)
    config = configure(save_every_steps=2, epochs=1, data={"statistics": None})
    config = replace(config, data=replace(config.data, store=path))
    with pytest.raises(Killed):
        train(config, kill_at(5))
    before = (config.out / "last.ckpt").read_bytes()
    shutil.rmtree(path)
    other = other_store(tmp_path / "other.zarr")
    shutil.copytree(other, path)
    message = r"run: was trained on other data \(data\.store=.*store\.zarr is \w{12} instead of"
    with pytest.raises(ClimSimError, match=message):
        train(config)
    assert (config.out / "last.ckpt").read_bytes() == before
    shutil.rmtree(path)
    shutil.copytree(store_path, path)
    train(config)
    shutil.rmtree(path)
    shutil.copytree(other, path)
    with pytest.raises(ClimSimError, match=message):
        train(config)


def test_training_continues_on_the_same_data_at_another_path(configure, store_path, tmp_path):
    config = configure(save_every_steps=2, epochs=1)
    with pytest.raises(Killed):
        train(config, kill_at(5))
    moved = replace(
        config.data,
        store=shutil.copytree(store_path, tmp_path / "moved.zarr"),
        statistics=Path(shutil.copy(config.data.statistics, tmp_path / "moved.nc")),
    )
    seen = []
    done = train(replace(config, data=moved), lambda step, _: seen.append(step))
    assert seen[0] > 1
    assert train(config) == done


def test_checkpoints_of_a_store_behind_a_url_can_be_read(configure, store_path):
    config = configure(epochs=1)
    store = StoreUrl(f"file://{store_path}")
    behind_url = replace(config, data=replace(config.data, store=store))
    train(behind_url)
    assert read_checkpoint(config.out / "best.ckpt")["climsim"]["config"]["data"]["store"] == store
    assert train(behind_url) == train(config)


def test_training_grows_to_more_epochs_as_if_it_had_not_stopped(configure):
    whole = train(configure("whole", epochs=2))
    train(configure("grown", epochs=1))
    grown = train(configure("grown", epochs=2))
    assert grown.steps == whole.steps
    assert equal(weights(grown.last_checkpoint), weights(whole.last_checkpoint))
    assert grown.validation_loss == whole.validation_loss
    with pytest.raises(ClimSimError, match=r"trainer.epochs=1, but 2 epochs are trained already"):
        train(configure("grown", epochs=1))


def test_growth_is_refused_where_rates_followed_from_the_last_epoch(configure):
    schedule = {"name": "cosine"}
    train(configure(epochs=1, schedule=schedule))
    with pytest.raises(ClimSimError, match=r"schedule\.name=cosine.*trainer\.warm_start=.*best"):
        train(configure(epochs=2, schedule=schedule))


def test_run_of_a_version_without_a_setting_is_continued_with_its_default(configure):
    config = configure(epochs=1)
    train(config)
    held = HeldRun.read(config.out)
    before = {key: dict(value) for key, value in held.config.items() if isinstance(value, dict)}
    del before["schedule"]["threshold"]
    old = replace(held, config={**held.config, **before})
    store = open_store(config.data.store)
    config = _chosen(config, old)
    old.check(config, store)
    with pytest.raises(ClimSimError, match=r"schedule\.threshold=0\.1 instead of 0\.0001"):
        old.check(replace(config, schedule=replace(config.schedule, threshold=0.1)), store)


def test_run_noted_in_former_words_is_continued(configure):
    config = configure(epochs=1)
    train(config)
    held = HeldRun.read(config.out)
    noted = {**held.config, "trainer": {**held.config["trainer"], "precision": "32"}}
    old, store = replace(held, config=noted), open_store(config.data.store)
    config = _chosen(config, old)
    old.check(config, store)
    reduced = replace(config, trainer=replace(config.trainer, precision="bfloat16"))
    with pytest.raises(ClimSimError, match=r"trainer\.precision=bfloat16 instead of 32"):
        old.check(reduced, store)


def test_run_that_stopped_early_is_not_resumed_for_more_epochs(configure):
    settings = {"early_stop_patience": 1, "optimizer": {"learning_rate": 1e-12}}
    first = train(configure(epochs=4, **settings))
    assert first.epochs < 4
    assert train(configure(epochs=9, **settings)) == first


@pytest.mark.parametrize("epochs", [2, 9])
def test_run_killed_before_its_early_stop_was_noted_stays_where_it_stopped(configure, epochs):
    settings = {"early_stop_patience": 1, "optimizer": {"learning_rate": 1e-12}}
    config = configure(epochs=epochs, **settings)
    first = train(config)
    assert first.epochs == 2
    trained = weights(first.last_checkpoint)
    write_json(config.out / "training.json", {"status": "running", "config": config.resolved()})
    again = train(configure(epochs=12, **settings))
    assert (again.epochs, again.steps) == (first.epochs, first.steps)
    assert again.validation_loss == first.validation_loss
    assert equal(weights(again.last_checkpoint), trained)
    assert train(configure(epochs=12, **settings)) == again


def test_warm_start_and_own_code_are_compared_by_content(configure, tmp_path):
    first = train(configure("first", epochs=1))
    start = Path(shutil.copy(first.best_checkpoint, tmp_path / "start.ckpt"))
    train(configure("second", epochs=1, warm_start=start))
    moved = Path(shutil.copy(start, tmp_path / "moved.ckpt"))
    train(configure("second", epochs=1, warm_start=moved))
    other = train(configure("other", epochs=1, seed=8)).best_checkpoint
    with pytest.raises(ClimSimError, match=r"other data \(trainer\.warm_start=.*instead of"):
        train(configure("second", epochs=1, warm_start=other))
    loss = tmp_path / "own.py"
    loss.write_text("def own(prediction, target):\n    return (prediction - target) ** 2\n")
    train(configure("own", epochs=1, recipe={"loss": f"{loss}:own"}))
    loss.write_text("def own(prediction, target):\n    return (prediction - target).abs()\n")
    with pytest.raises(ClimSimError, match=r"other data \(recipe\.loss=.*own\.py:own is"):
        train(configure("own", epochs=1, recipe={"loss": f"{loss}:own"}))


def test_folder_where_nothing_is_trained_yet_takes_other_settings(configure):
    config = configure(epochs=1)
    write_json(config.out / "training.json", {"status": "running", "config": config.resolved()})
    assert train(configure(epochs=1, seed=8)).steps > 0
