"""Fine-tuning in rollouts: what a rollout gives, what it changes, kills, refusals."""

import logging
import multiprocessing
import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from climsim.data.reading.reader import BlockReader
from climsim.data.statistics.statistics import compute_statistics
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.data.store.splits import SplitConfig
from climsim.errors import ClimSimError
from climsim.interfaces import encoding
from climsim.online.finetune import Rollouts, Trajectories, finetune
from climsim.online.finetune_config import FinetuneConfig, RolloutConfig
from climsim.online.generate import generate
from climsim.online.pairs_config import GenerateConfig
from climsim.provenance import UNCHANGED, trace
from climsim.runs.coupling import CouplerOptions
from climsim.training.build import build_module
from climsim.training.checkpoint import read_checkpoint
from climsim.training.config import (
    NetworkConfig,
    OptimizerConfig,
    RecipeConfig,
    ScheduleConfig,
    TrainConfig,
    TrainDataConfig,
    TrainerConfig,
)
from climsim.training.module import EmulatorModule
from climsim.training.run import train
from climsim.variables import OUTPUTS
from tests.online.toy_host import COLUMNS, LEVELS, ToyHost

STEPS, STRIDE = 108, 3
OPEN = CouplerOptions(spinup_steps=2, strato_water=False, positivity=False, top_levels=0)
TINY = {"model_channels": 8, "channel_mult": (1, 1), "num_blocks": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A store of the toy's weather, its statistics, and a network trained on it a little."""
    folder = tmp_path_factory.mktemp("finetune")
    generate(GenerateConfig(raw=folder / "raw", days=STEPS / 72, host="toy"), host=ToyHost())
    split = SplitConfig(train=0.7, validation=0.2, test=0.1, gap_days=0.0)
    path = folder / "store.zarr"
    prepare(PrepareConfig(folder / "raw", path, split=split, check_ranges=False, workers=1))
    compute_statistics(open_store(path)).save(folder / "statistics.nc")
    settings = shared(folder)
    settings["trainer"] = replace(settings["trainer"], warm_start=None)
    train(TrainConfig(out=folder / "first", **settings))
    return folder


def shared(folder, recipe="standard"):
    """What a training and its fine-tuning have in common."""
    data = TrainDataConfig(folder / "store.zarr", folder / "statistics.nc", batch_size=64)
    trainer = TrainerConfig(
        epochs=2,
        accelerator="cpu",
        threads=1,
        logger="none",
        save_every_steps=3,
        warm_start=folder / "first" / "best.ckpt",
    )
    return {
        "data": data,
        "preset": "small",
        "network": NetworkConfig("unet", TINY),
        "recipe": RecipeConfig(inputs=recipe),
        "optimizer": OptimizerConfig(learning_rate=1e-3),
        "schedule": ScheduleConfig("constant"),
        "trainer": trainer,
    }


def configuration(data, out, recipe="standard", coupler=OPEN, **rollouts):
    chosen = {"steps": 3, "every": 2, "stride": STRIDE, "start_amplitude": 0.0, **rollouts}
    return FinetuneConfig(
        out=out,
        rollouts=RolloutConfig(**chosen),
        host="toy",
        coupler=coupler,
        **shared(data, recipe),
    )


@pytest.fixture
def configure(data, tmp_path):
    return lambda out="out", *given, **keys: configuration(data, tmp_path / out, *given, **keys)


@pytest.fixture(scope="module")
def finished(data):
    """A training that is done, and what it returned."""
    config = configuration(data, data / "finished")
    return config, finetune(config, host=ToyHost())


def rollouts_of(config, folder, host=None):
    folder.mkdir()
    warm, store = replace(config.trainer, warm_start=None), open_store(config.data.store)
    trajectories = Trajectories(config, host or ToyHost(), store, folder)
    module, about = build_module(replace(config, trainer=warm), store)
    return Rollouts(config, trajectories, module, about.card), module


def weights(folder, name="last.ckpt"):
    return read_checkpoint(folder / name)["state_dict"]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, values in first.items():
        torch.testing.assert_close(values, second[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    "recipe", ["standard", "multirep", "expanded", "v2", "v3", "v4", "v5", "v7"]
)
def test_a_rollout_gives_what_a_store_holds_of_the_same_state(configure, data, recipe, tmp_path):
    # With no share of the network in the tendencies it reaches a state of the weather.
    config = configure(recipe=recipe, coupler=replace(OPEN, ramp_factor=0.0), steps=1, every=1)
    rollouts, _ = rollouts_of(config, tmp_path / "scratch")
    store = open_store(config.data.store)
    reader = BlockReader(store, inputs=recipe, split="train", batch_size=COLUMNS, shuffle=False)
    held = list(reader)
    steps = store.steps("train", encoding(recipe).interface.steps_of_memory).tolist()
    for number in range(4):
        expected = held[steps.index(STRIDE * (number + 1) + 1)]
        for found, known in zip(rollouts(number), expected, strict=True):
            # Each variable by its own size: tendencies of cloud are far smaller than of heat.
            size = known.abs().amax(dim=0).clamp(min=1e-30)
            assert float((found / size - known / size).abs().max()) < 2e-3
            assert float(found.abs().sum(dim=0).count_nonzero()) > found.shape[1] / 3


def test_a_linear_ramp_is_over_before_a_rollout_begins(configure, tmp_path):
    reached = []
    for number, ramp in enumerate(("constant", "linear")):
        config = configure(coupler=replace(OPEN, ramp=ramp), every=1)
        reached.append(rollouts_of(config, tmp_path / f"scratch{number}")[0](0))
    torch.testing.assert_close(reached[0], reached[1], rtol=0, atol=0)


def test_rollouts_leave_trajectories_of_physics_in_turn_and_the_network_moves_none(
    configure, tmp_path
):
    starts = tuple(tmp_path / f"start{number}" for number in range(2))
    for number, start in enumerate(starts):
        host = ToyHost()
        for _ in range(20 * number):
            host.step_physics()
        host.save(start)
    config, host = configure(starts=starts, every=1), ToyHost()
    rollouts, _ = rollouts_of(config, tmp_path / "scratch", host)
    for number in range(6):
        assert rollouts(number) is not None
    for number, start in enumerate(starts):
        expected = ToyHost()
        expected.restore(start)
        for _ in range(3 * STRIDE):
            expected.step_physics()
        host.restore(tmp_path / "scratch" / f"trajectory-{number}")
        assert host.step_number == expected.step_number
        for name, values in expected.state.items():
            np.testing.assert_array_equal(host.state[name], values)


def test_a_rollout_is_due_at_every_nth_step_and_no_longer_than_asked(configure, tmp_path):
    host = ToyHost()
    rollouts, _ = rollouts_of(configure(every=4, steps=5), tmp_path / "scratch", host)
    lengths, before = [], 0
    for step in range(80):
        assert (rollouts(step) is not None) == (step % 4 == 0)
        if made := host.calls["step_emulated"] - before:
            lengths.append(made)
        before = host.calls["step_emulated"]
    assert set(lengths) == {1, 2, 3, 4, 5}


def test_rollouts_are_of_the_network_as_it_now_is(configure, tmp_path):
    config = configure(every=1)
    reached = []
    for number, change in enumerate((0.0, 0.5)):
        rollouts, module = rollouts_of(config, tmp_path / f"scratch{number}")
        with torch.no_grad():
            for parameter in module.network.parameters():
                parameter.add_(change)
        reached.append(rollouts(0)[0])
        assert module.network.training
    assert not torch.allclose(*reached)


def test_without_weight_the_training_is_the_plain_one(configure, finished, data, tmp_path):
    config = configure(weight=0.0)
    plain = TrainConfig(out=tmp_path / "plain", **shared(data))
    first, second = finetune(config, host=ToyHost()), train(plain)
    assert first.steps == second.steps
    assert_same(weights(config.out), weights(plain.out))
    other, name = finished[0], next(n for n in weights(plain.out) if n.startswith("network."))
    assert not torch.equal(weights(other.out)[name], weights(plain.out)[name])


def test_the_loss_at_visited_states_falls(configure, monkeypatch):
    losses, usual = [], EmulatorModule.log

    def log(self, name, value, *arguments, **options):
        if name == "visited_loss":
            losses.append(float(value))
        usual(self, name, value, *arguments, **options)

    monkeypatch.setattr(EmulatorModule, "log", log)
    config = configure(every=1, weight=1.0)
    trainer, optimizer = replace(config.trainer, epochs=6), OptimizerConfig(learning_rate=2e-2)
    finetune(replace(config, trainer=trainer, optimizer=optimizer), host=ToyHost())
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_only_the_checkpoint_to_resume_from_holds_trajectories(finished):
    config, _ = finished
    assert read_checkpoint(config.out / "last.ckpt")["visited"]["counts"][0] > 0
    assert "visited" not in read_checkpoint(config.out / "best.ckpt")


def die_in_training(config, number):
    usual, made = EmulatorModule.training_step, []

    def step(self, *arguments):
        made.append(None)
        if len(made) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(self, *arguments)

    EmulatorModule.training_step = step
    finetune(config, host=ToyHost())


def test_a_killed_training_resumes_exactly(configure, finished):
    (whole, _), killed = finished, configure("killed")
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=die_in_training, args=(killed, 9))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert 0 < read_checkpoint(killed.out / "last.ckpt")["visited"]["counts"][0] < 5
    finetune(killed, host=ToyHost())
    assert_same(weights(killed.out), weights(whole.out))
    first, second = (read_checkpoint(c.out / "last.ckpt")["visited"] for c in (killed, whole))
    assert first["counts"] == second["counts"]
    for one, other in zip(first["trajectories"], second["trajectories"], strict=True):
        assert torch.equal(one, other)


def test_a_finished_training_builds_no_host(finished, monkeypatch):
    config, result = finished
    monkeypatch.setattr("climsim.online.finetune.build_host", None)
    assert finetune(config) == result


def test_a_state_out_of_bounds_is_left_out_and_said(configure, tmp_path, caplog):
    host = ToyHost(bad_at_step=STRIDE)
    rollouts, _ = rollouts_of(configure(every=1), tmp_path / "scratch", host)
    with caplog.at_level(logging.WARNING):
        assert rollouts(0) is None
    assert "1 of 1 rollouts left out, the last one because T is 511.5" in caplog.text
    host.bad_at_step = None
    assert rollouts(1) is not None
    assert rollouts.state()["counts"] == [2, 1, 0]


def test_values_that_are_no_numbers_are_left_out(configure, tmp_path, caplog):
    host = ToyHost()
    rollouts, _ = rollouts_of(configure(every=1), tmp_path / "scratch", host)
    usual = host.physics

    def physics():
        result = usual()
        result.tendencies["ptend_q0002"] = result.tendencies["ptend_q0002"] * np.nan
        return result

    host.physics = physics
    with caplog.at_level(logging.WARNING):
        assert rollouts(0) is None
    assert "because host toy gives values there that are no numbers" in caplog.text


def test_a_network_that_always_leaves_the_bounds_ends_the_training(configure, monkeypatch):
    def bad(self, vector):
        return np.full((COLUMNS, OUTPUTS.size(LEVELS)), np.nan, np.float32)

    monkeypatch.setattr("climsim.online.finetune.NetworkInTraining.__call__", bad)
    config = configure(every=1)
    with pytest.raises(ClimSimError, match=r"rollouts: 20 of them in a row left no state"):
        finetune(replace(config, trainer=replace(config.trainer, epochs=4)), host=ToyHost())


def test_a_host_unstable_under_its_own_physics_ends_the_training(configure):
    with pytest.raises(ClimSimError, match=r"unstable under its own physics .*rollouts.starts"):
        finetune(configure(), host=ToyHost(bad_at_step=1))


def test_what_cannot_be_fine_tuned_is_refused_in_one_line(configure, data, tmp_path):
    config = configure()
    without = replace(config, trainer=replace(config.trainer, warm_start=None))
    with pytest.raises(ClimSimError, match=r"trainer.warm_start: expected the checkpoint"):
        finetune(without, host=ToyHost())
    with pytest.raises(ClimSimError, match=r"rollouts.stride: expected 5 or more.*found 3"):
        replace(config, coupler=replace(OPEN, spinup_steps=5))
    with pytest.raises(ClimSimError, match=r"trainer.devices: expected one process.*found 2"):
        replace(config, trainer=replace(config.trainer, devices=2))
    with pytest.raises(ClimSimError, match=r"rollouts.weight"):
        configure(weight=1.5)
    with pytest.raises(ClimSimError, match=r"coupler.mixing: expected another one"):
        configure(coupler=replace(OPEN, mixing="confidence", mixing_high=1.0))
    gone = configure(starts=(tmp_path / "gone.npz",))
    with pytest.raises(ClimSimError, match=r"rollouts.starts\[0\].*gone.npz"):
        finetune(gone, host=ToyHost())
    with pytest.raises(ClimSimError, match=r"recipe.inputs: its inputs v1 predict"):
        configure(recipe="v1")


def test_a_folder_of_another_training_is_refused(finished, data):
    (config, _), host = finished, ToyHost()
    with pytest.raises(ClimSimError, match=r"holds a run with other settings.*rollouts.steps=2"):
        finetune(replace(config, rollouts=replace(config.rollouts, steps=2)), host=host)
    with pytest.raises(ClimSimError, match=r"holds a run with other settings.*rollouts=None"):
        train(TrainConfig(out=config.out, **shared(data)))
    with pytest.raises(ClimSimError, match=r"holds a run with other settings.*rollouts="):
        finetune(replace(config, out=data / "first"), host=host)


def test_other_starts_are_refused_and_moved_ones_are_not(configure, tmp_path):
    start, host = tmp_path / "start", ToyHost()
    host.save(start)
    config = configure(starts=(start,))
    result = finetune(config, host=host)
    states = {link.name: link.state for link in trace(config.out).links()}
    assert states["rollouts.starts[0]"] == UNCHANGED
    moved = start.rename(tmp_path / "moved")
    there = replace(config, rollouts=replace(config.rollouts, starts=(moved,)))
    assert finetune(there, host=host) == result
    host.step_physics()
    host.save(moved)
    with pytest.raises(ClimSimError, match=r"other data \(rollouts.starts\[0\]=.*moved is"):
        finetune(there, host=host)


def test_a_host_that_does_not_fit_is_refused_before_anything_is_computed(
    configure, data, tmp_path, monkeypatch
):
    monkeypatch.setattr("climsim.training.run.build_module", None)
    few = ToyHost()
    coefficients = {name: getattr(few.grid, name)[1:] for name in ("hyam", "hybm", "hyai", "hybi")}
    few.grid = replace(few.grid, **coefficients)
    with pytest.raises(ClimSimError, match=r"store.zarr: expected 4 levels.*found 5"):
        finetune(configure(), host=few)
    bare = SimpleNamespace(name="bare", grid=few.grid, dt=few.dt)
    with pytest.raises(ClimSimError, match=r"host bare: expected the methods physics, perturb"):
        finetune(configure(), host=bare)
    short = configure(recipe="expanded", coupler=replace(OPEN, spinup_steps=1))
    with pytest.raises(ClimSimError, match=r"spinup_steps: expected 2 or more"):
        finetune(short, host=ToyHost())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_confidence_head_is_trained_and_may_mix(configure, data, precision):
    config = configure(every=1)
    recipe = RecipeConfig(confidence=True, difference=True)
    trainer = replace(config.trainer, warm_start=data / "confident" / "best.ckpt")
    first = replace(trainer, warm_start=None, epochs=1)
    settings = {**shared(data), "recipe": recipe}
    train(TrainConfig(out=data / "confident", **{**settings, "trainer": first}))
    trainer = replace(trainer, precision=precision, epochs=1)
    mixing = replace(OPEN, mixing="confidence", mixing_high=1e3)
    changed = replace(config, recipe=recipe, trainer=trainer, coupler=mixing)
    assert finetune(changed, host=ToyHost()).validation_loss < 100
    before, after = weights(data / "confident"), weights(changed.out)
    changed_parts = {n.split(".")[0] for n, x in after.items() if not torch.equal(x, before[n])}
    assert changed_parts == {"network"}
