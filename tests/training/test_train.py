"""What a training run does, and how it ends when something is wrong."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from climsim.cli import guarded
from climsim.configuration import build_config, compose_config
from climsim.data.reading.loader import BlockLoader, read_ahead
from climsim.data.reading.reader import BlockReader
from climsim.data.store.opened import open_store
from climsim.errors import ClimSimError
from climsim.export.loading import load_emulator
from climsim.export.writing import export_model
from climsim.files import file_hash
from climsim.interfaces import ENCODINGS, V2, V6
from climsim.losses import TrainingLoss
from climsim.pruning import PruningConfig
from climsim.training.checkpoint import KEY, load_model, read_checkpoint
from climsim.training.config import ScheduleConfig, TrainConfig, TrainDataConfig, TrainerConfig
from climsim.training.held import HeldRun
from climsim.training.optimization import build_optimizer
from climsim.training.run import TrainingLoader, _chosen, _process_settings, train
from climsim.training.schedules import build_schedule


def test_training_beats_the_mean_and_lowers_its_loss(configure, store_path):
    result = train(configure(epochs=12, data={"batch_size": 32}, optimizer={"learning_rate": 1e-2}))
    model = load_model(result.best_checkpoint)
    inputs, targets = next(iter(BlockReader(store_path, split="test", batch_size=128)))
    encode = model.transforms.targets.encode
    predicted, true = encode(model.predict(inputs)), encode(targets)
    # Heating follows temperature in these data: the network finds that out.
    heating = slice(0, model.transforms.targets.n_levels)
    error = (predicted - true)[:, heating].square().mean()
    assert error < 0.7 * (true[:, heating] - true[:, heating].mean(0)).square().mean()


def test_checkpoint_holds_configuration_statistics_and_origin(configure, store_path):
    config = configure(epochs=1)
    result = train(config)
    about = read_checkpoint(result.best_checkpoint)["climsim"]
    in_force = replace(config.trainer, precision="float32", compile=False)
    assert about["config"] == replace(config, trainer=in_force).resolved()
    assert about["config"]["network"]["name"] == "unet"
    assert json.loads(about["provenance"]["input_hashes"])["store"] == (
        open_store(store_path).fingerprint
    )
    row = about["statistics_fields"].index("mean")
    store = open_store(store_path)
    ps = store.array("state_ps")[:][store.steps("train")].mean()
    np.testing.assert_allclose(about["statistics"]["state_ps"][row].item(), ps, rtol=1e-5)
    assert about["validation_loss"] == pytest.approx(result.validation_loss)
    assert (about["seed"], about["recipe"]) == (7, "standard")
    assert about["emulated_processes"] == ["convection", "radiation"]


def test_validation_loss_is_the_plain_loss_over_the_whole_split(configure, store_path):
    recipe = {"confidence": True, "difference": True, "loss": "mse"}
    result = train(configure(epochs=1, recipe=recipe))
    model = load_model(result.best_checkpoint)
    reader = BlockReader(store_path, split="validation", batch_size=10_000, shuffle=False)
    errors = []
    for inputs, targets in reader:
        encode = model.transforms.targets.encode
        prediction, _ = model.network(model.transforms.inputs(inputs))
        errors.append((prediction - encode(targets)).square())
    assert result.validation_loss == pytest.approx(torch.cat(errors).mean().item(), rel=1e-4)


def test_best_checkpoints_are_kept_and_the_best_is_linked(configure):
    result = train(configure(epochs=4, keep_best=2))
    kept = sorted((result.last_checkpoint.parent / "checkpoints").iterdir())
    assert len(kept) == 2
    losses = [read_checkpoint(p)["climsim"]["validation_loss"] for p in kept]
    best = read_checkpoint(result.best_checkpoint)["climsim"]["validation_loss"]
    assert best == min(losses) == result.validation_loss


@pytest.mark.parametrize("recipe", ["standard", "conf_loss", "diff_loss", "multirep", "v6"])
def test_shipped_recipe_trains_and_exports(recipe, configure, tmp_path):
    settings = compose_config("train", [f"recipe={recipe}", "data.store=x", "out=y"])["recipe"]
    result = train(configure(epochs=1, recipe=settings))
    emulator = load_emulator(export_model(result.best_checkpoint, tmp_path / "model.pt"))
    assert emulator.metadata["recipe"] == recipe
    assert emulator.metadata["validation_loss"] == result.validation_loss
    assert emulator.card.emulated_processes == {"radiation", "convection"}
    assert emulator(np.zeros((2, emulator.n_inputs), np.float32)).shape == (2, emulator.n_outputs)


@pytest.mark.parametrize("inputs", ["v2", "v2_rh", "v3", "v4", "v5", "v7"])
def test_published_set_of_inputs_trains_and_exports(inputs, configure, tmp_path):
    pruning = PruningConfig(strato_lev=2, strato_lev_out=3)
    config = replace(configure(epochs=1, recipe={"inputs": inputs}), pruning=pruning)
    result = train(config)
    emulator = load_emulator(export_model(result.best_checkpoint, tmp_path / "model.pt"))
    row = ENCODINGS[inputs]
    assert emulator.interface == row.interface
    outputs = emulator(np.ones((2, emulator.n_inputs), np.float32))
    assert outputs.shape == (2, row.interface.outputs.size(emulator.n_levels))
    model = load_model(result.best_checkpoint)
    wind = row.targets.slice("ptend_u", emulator.n_levels)
    for kept in (model.transforms.targets.kept, model.network.kept):
        assert int((kept[wind] == 0).sum()) == 3


def test_first_set_trains_but_serves_no_climate_model(configure, tmp_path):
    result = train(configure(epochs=1, recipe={"inputs": "v1", "difference": True}))
    message = r"its inputs v1 predict 128 values, expected 368: a climate model needs"
    with pytest.raises(ClimSimError, match=message):
        export_model(result.best_checkpoint, tmp_path / "model.pt")


def test_confidence_is_refused_where_liquid_and_ice_are_predicted_apart(configure):
    with pytest.raises(ClimSimError, match=r"recipe\.confidence: expected false with .*=v2_rh"):
        configure(recipe={"inputs": "v2_rh", "confidence": True})


def test_losses_and_inputs_compose(configure, tmp_path):
    overrides = ["recipe=v6", "recipe.confidence=true", "recipe.difference=true", "recipe.loss=l1"]
    settings = compose_config("train", [*overrides, "data.store=x", "out=y"])["recipe"]
    result = train(configure(epochs=1, recipe=settings))
    emulator = load_emulator(export_model(result.best_checkpoint, tmp_path / "model.pt"))
    assert (emulator.interface, emulator.confidence) == (V6, True)
    assert emulator.metadata["loss"]["name"] == "l1"


OWN_LOSS = """
def weighted(prediction, target):
    return 3.0 * (prediction - target).square()
"""


def test_loss_of_a_file_is_what_training_minimizes(configure, tmp_path):
    path = tmp_path / "own_loss.py"
    path.write_text(OWN_LOSS)
    own = train(configure("own", epochs=1, recipe={"loss": f"{path}:weighted"}))
    plain = train(configure("plain", epochs=1, recipe={"loss": "mse"}))
    # Three times the loss moves AdamW's weights the same way.
    assert own.validation_loss == pytest.approx(3 * plain.validation_loss, rel=1e-3)
    hashes = json.loads(
        read_checkpoint(own.best_checkpoint)["climsim"]["provenance"]["input_hashes"]
    )
    assert hashes["loss"] == file_hash(path)
    path.unlink()
    emulator = load_emulator(export_model(own.best_checkpoint, tmp_path / "own.pt"))
    assert "loss" not in emulator.metadata
    assert TrainingLoss.of(emulator) is None
    shipped = load_emulator(export_model(plain.best_checkpoint, tmp_path / "plain.pt"))
    assert TrainingLoss.of(shipped) is not None


FAULTS = """
import sys

def leaving(prediction, target):
    if len(prediction) > 2:
        sys.exit(3)
    return (prediction - target).square()

def failing(prediction, target):
    if len(prediction) > 2:
        raise KeyError("weights")
    return (prediction - target).square()
"""


def test_own_loss_that_fails_in_a_step_is_named(configure, tmp_path, capsys):
    path = tmp_path / "own_loss.py"
    path.write_text(FAULTS)
    with pytest.raises(ClimSimError, match=r"own_loss\.py:leaving: its code ended the program .*3"):
        train(configure("leaving", recipe={"loss": f"{path}:leaving"}))
    failing = configure("failing", recipe={"loss": f"{path}:failing"})
    assert guarded(lambda: train(failing), debug=False) == 1
    shown = " ".join(capsys.readouterr().err.split())
    assert "own_loss.py: KeyError at line 11, in failing: 'weights': fix the code" in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there_is_refused_and_leaves_nothing(configure):
    config = configure(accelerator="gpu")
    with pytest.raises(ClimSimError, match=r"trainer\.accelerator: expected a GPU, found none"):
        train(config)
    assert not config.out.exists()


def test_shipped_configuration_builds_the_defaults():
    values = compose_config("train", ["data.store=s", "out=o"])
    defaults = TrainConfig(TrainDataConfig(Path("s")), Path("o"))
    assert build_config(TrainConfig, values).resolved() == defaults.resolved()


def test_exploding_loss_stops_the_run_and_keeps_the_last_good_checkpoint(configure):
    config = configure(epochs=40, save_every_steps=1, optimizer={"learning_rate": 1e30})
    with pytest.raises(ClimSimError, match=r"expected a finite loss, found NaN.*last good.*lower"):
        train(config)
    state = load_model(config.out / "last.ckpt").network.state_dict()
    assert all(torch.isfinite(v).all() for v in state.values())


def test_warm_start_takes_the_weights_over(configure):
    first = train(configure("first", epochs=2))
    frozen = {"learning_rate": 1e-12, "weight_decay": 0.0}
    config = configure("second", epochs=1, optimizer=frozen, warm_start=first.last_checkpoint)
    second = train(config)
    a, b = (read_checkpoint(r.last_checkpoint)["state_dict"] for r in (first, second))
    assert all(torch.allclose(a[k], b[k], atol=1e-6) for k in a)
    wider = {"model_channels": 16, "channel_mult": (1, 1), "num_blocks": 1}
    with pytest.raises(ClimSimError, match=r"last\.ckpt: the weights do not fit.*of shape"):
        train(replace(config, out=config.out / "x", network=replace(
            config.network, hyperparameters=wider)))  # fmt: skip


def test_early_stop_ends_a_run_that_no_longer_improves(configure):
    still = {"learning_rate": 1e-30, "weight_decay": 0.0}
    result = train(configure(epochs=9, early_stop_patience=2, optimizer=still))
    assert result.epochs == 3


def test_mixed_precision_and_clipping_train_and_save_float32(configure):
    result = train(configure(epochs=1, precision="bfloat16", gradient_clip=0.1))
    assert np.isfinite(result.validation_loss)
    state = read_checkpoint(result.last_checkpoint)["state_dict"]
    assert all(v.dtype != torch.bfloat16 for v in state.values())
    assert {k.split(".")[0] for k in state} == {"network", "inputs", "targets"}


@pytest.mark.slow
@pytest.mark.long
def test_compiled_network_trains_to_the_same_loss(configure, caplog):
    with caplog.at_level(logging.WARNING, "climsim"):
        compiled = train(configure("compiled", epochs=1, compile=True))
    assert "torch.compile failed" not in caplog.text
    plain = train(configure("plain", epochs=1))
    assert compiled.validation_loss == pytest.approx(plain.validation_loss, rel=1e-3)
    state = read_checkpoint(compiled.last_checkpoint)["state_dict"]
    assert state.keys() == read_checkpoint(plain.last_checkpoint)["state_dict"].keys()


def in_force(config):
    """Precision and compilation with which a training begins or continues."""
    chosen = _chosen(config, HeldRun.read(config.out)).trainer
    return chosen.precision, chosen.compile


@pytest.mark.parametrize(
    ("network", "given", "expected"),
    [
        ("convnext", {}, ("bfloat16", True)),
        ("squeezeformer", {}, ("bfloat16", False)),
        ("unet", {}, ("float32", False)),
        ("convnext", {"precision": "float32"}, ("float32", True)),
        ("convnext", {"compile": False}, ("bfloat16", False)),
        ("unet", {"precision": "bfloat16", "compile": True}, ("bfloat16", True)),
    ],
)
def test_gpu_trains_in_the_precision_measured_for_the_network(
    configure, monkeypatch, network, given, expected
):
    config = configure(network=network, **given)
    explicit = (given.get("precision", "float32"), given.get("compile", False))
    assert in_force(config) == explicit  # On a CPU.
    monkeypatch.setattr("climsim.training.run.torch_device", lambda key, wanted: "cuda")
    assert in_force(config) == expected


def test_continued_training_keeps_the_precision_it_began_in(configure):
    begun = train(configure(epochs=1, precision="bfloat16"))
    assert in_force(configure(epochs=2)) == ("bfloat16", False)
    continued = train(configure(epochs=2))
    assert continued.epochs == 2
    assert (
        read_checkpoint(continued.last_checkpoint)["climsim"]["config"]["trainer"]["precision"]
        == "bfloat16"
    )
    with pytest.raises(ClimSimError, match=r"trainer\.precision=float32 instead of bfloat16"):
        train(configure(epochs=3, precision="float32"))
    assert begun.epochs == 1


def test_failing_compilation_falls_back_with_a_warning(configure, monkeypatch, caplog):
    def broken(network, **options):
        def call(x):
            raise RuntimeError("no compiler")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with caplog.at_level(logging.WARNING, "climsim"):
        fallen = train(configure("fallen", epochs=1, compile=True))
    assert "torch.compile failed (no compiler)" in caplog.text
    plain = train(configure("plain", epochs=1))
    assert fallen.validation_loss == plain.validation_loss


def test_progress_reaches_its_total(configure):
    seen = []
    result = train(configure(epochs=2), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (result.steps, result.steps)
    assert [done for done, _ in seen] == list(range(1, result.steps + 1))


def test_learning_rate_follows_its_schedule():
    step = ScheduleConfig("step", factor=0.05, every_epochs=3)
    found = [build_schedule(step).factor(e, 12) for e in (0, 2.99, 3, 6)]
    np.testing.assert_allclose(found, [1, 1, 0.05, 0.0025])
    cosine = ScheduleConfig("cosine", floor=0.2)
    found = [build_schedule(cosine).factor(e, 8) for e in (0, 4, 8)]
    np.testing.assert_allclose(found, [1, 0.6, 0.2])
    warm = ScheduleConfig("warmup_cosine", warmup_epochs=2)
    found = [build_schedule(warm).factor(e, 6) for e in (0, 1, 2, 4, 6)]
    np.testing.assert_allclose(found, [0, 0.5, 1, 0.5, 0], atol=1e-12)


def torch_rates(make, epochs, losses=None):
    """Learning rates of a scheduler of torch from 1e-4 on, epoch by epoch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    scheduler, rates = make(optimizer), []
    for epoch in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*(() if losses is None else (losses[epoch],)))
    return rates


def test_cosine_annealing_is_that_of_torch_through_several_periods():
    settings = compose_config("train", ["schedule=cosine_annealing", "data.store=x", "out=y"])
    config = build_config(TrainConfig, settings).schedule
    assert (config.t_max, config.eta_min) == (2, 1e-5)
    for t_max in (2, 5):
        schedule = build_schedule(replace(config, t_max=t_max), 1e-4)
        found = [1e-4 * schedule.factor(epoch + 0.5, 12) for epoch in range(12)]
        expected = torch_rates(
            lambda o, n=t_max: torch.optim.lr_scheduler.CosineAnnealingLR(o, n, 1e-5), 12
        )
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_plateau_is_that_of_torch_with_its_relative_threshold():
    settings = compose_config("train", ["schedule=plateau", "data.store=x", "out=y"])
    config = build_config(TrainConfig, settings).schedule
    assert (config.factor, config.patience, config.threshold) == (0.1, 2, 1e-4)
    # Slow gains of less than a ten-thousandth are none; the last steps are too small to take.
    losses = [1.0, *(1.0 - 5e-5 * n for n in range(1, 8)), 0.5, *[0.5] * 40]
    schedule, found = build_schedule(config, 1e-4), []
    for loss in losses:
        found.append(1e-4 * schedule.factor(0, 1))
        schedule.update(loss)
    expected = torch_rates(
        lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.1, patience=2),
        len(losses), losses,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found[-1] == pytest.approx(1e-8)


def test_adam_is_torch_s_without_weight_decay():
    settings = compose_config("train", ["optimizer=adam", "data.store=x", "out=y"])
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer([weight], build_config(TrainConfig, settings).optimizer)
    assert type(optimizer) is torch.optim.Adam
    weight.sum().backward()
    optimizer.step()
    # The first step of Adam is the learning rate, whatever the gradient; AdamW's adds decay.
    assert weight.item() == pytest.approx(2.0 - 1e-4, abs=2e-7)


def test_epoch_ends_after_the_batch_that_early_stop_step_names(configure):
    whole = train(configure("whole", epochs=1))
    assert whole.steps > 3
    assert train(configure("cut", epochs=2, early_stop_step=1)).steps == 4
    assert train(configure("all", epochs=1, early_stop_step=0)).steps == whole.steps


def test_plateau_waits_its_patience_and_stops_at_its_floor():
    plateau = build_schedule(ScheduleConfig("plateau", factor=0.5, patience=1, floor=0.3))
    factors = []
    for loss in (1.0, 0.9, 0.95, 0.95, 0.8, 0.8, 0.8):
        plateau.update(loss)
        factors.append(plateau.factor(0, 1))
    assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.3]


class Counting:
    """A reader whose batches say where they come from."""

    start = 0
    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return 5

    def __iter__(self):
        return iter([(self.epoch, k) for k in range(self.start, 5)])


@pytest.mark.parametrize("prefetch", [0, 2])
def test_loader_resumes_inside_one_epoch_only(prefetch):
    loader = BlockLoader(Counting(), prefetch=prefetch)
    loader.resume_at(1, 3)
    assert list(loader) == [(1, 3), (1, 4)]
    assert list(loader) == [(1, k) for k in range(5)]
    loader.set_epoch(2)
    assert list(loader) == [(2, k) for k in range(5)]


def test_loader_of_a_training_keeps_no_position_of_its_own():
    loader = TrainingLoader(Counting())
    batches = iter(loader)
    next(batches)
    assert loader.state_dict() == {}
    loader.load_state_dict({"epoch": 1, "delivered": 2})
    assert list(loader) == [(0, k) for k in range(5)]


def test_errors_of_the_reader_reach_the_loop():
    def broken():
        yield 1
        raise ClimSimError("damaged block")

    batches = read_ahead(broken(), 3)
    assert next(batches) == 1
    with pytest.raises(ClimSimError, match="damaged block"):
        next(batches)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "trainer.epochs: expected a whole number >= 1, found 0"),
        ({"precision": "8"}, "trainer.precision: expected one of auto, float32, bfloat16, float16"),
        ({"precision": "bf16"}, "trainer.precision: 'bf16' was renamed: write bfloat16"),
        ({"precision": "32"}, "trainer.precision: '32' was renamed: write float32"),
        ({"logger": "paper"}, "trainer.logger: expected one of tensorboard"),
    ],
)
def test_bad_setting_is_named(change, message):
    with pytest.raises(ClimSimError, match=message):
        TrainerConfig(**change)


def test_batch_larger_than_the_data_is_explained(configure):
    with pytest.raises(ClimSimError, match="batch_size=100000"):
        train(configure(data={"batch_size": 100_000}))


def test_interface_of_the_trained_model_is_v2(configure, tmp_path):
    result = train(configure(epochs=1))
    emulator = load_emulator(export_model(result.best_checkpoint, tmp_path / "m.pt"))
    assert emulator.n_inputs == V2.variables.size(emulator.n_levels)


def write_text_statistics(folder, transforms):
    """The text form of published statistics, from transforms of this project."""
    folder.mkdir()
    inputs, targets = transforms.inputs, transforms.targets
    vectors = {
        "inp_sub.txt": inputs.sub,
        "inp_div.txt": inputs.div,
        "out_scale.txt": targets.scale,
        "qn_exp_lambda_large.txt": inputs.rate,
    }
    for name, values in vectors.items():
        np.savetxt(folder / name, np.nan_to_num(values.numpy(), posinf=0.0), fmt="%.9g")
    return folder


def test_statistics_in_the_published_form_train_the_same_normalization(configure, tmp_path):
    own = train(configure("own"))
    transforms = load_model(own.best_checkpoint).transforms
    folder = write_text_statistics(tmp_path / "published", transforms)
    config = configure("other")
    config = replace(config, data=replace(config.data, statistics=folder))
    result = train(config)
    assert result.validation_loss == pytest.approx(own.validation_loss, rel=1e-3)
    about = read_checkpoint(result.best_checkpoint)[KEY]
    assert about["statistics_hash"] == file_hash(folder)
    clipped = replace(config, data=replace(config.data, clip_margin=0.5), out=tmp_path / "clipped")
    with pytest.raises(ClimSimError, match=r"data\.clip_margin=0\.5: published statistics"):
        train(clipped)
    np.savetxt(folder / "inp_sub.txt", np.zeros(7))
    with pytest.raises(ClimSimError, match=r"inp_sub\.txt: expected \d+ values, found 7"):
        train(replace(config, out=tmp_path / "short"))


@pytest.mark.parametrize(
    ("there", "accelerator", "tf32", "matrices", "convolutions"),
    [
        (True, "auto", True, "high", True),
        (True, "gpu", False, "highest", False),
        (True, "cpu", False, "medium", True),
        (False, "auto", False, "medium", True),
    ],
)
def test_tf32_is_set_where_a_run_is_on_a_gpu_for_its_length(
    monkeypatch, tmp_path, there, accelerator, tf32, matrices, convolutions
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        trainer = TrainerConfig(accelerator=accelerator, tf32=tf32)
        config = TrainConfig(TrainDataConfig("store"), tmp_path, trainer=trainer)
        with _process_settings(config):
            assert torch.get_float32_matmul_precision() == matrices
            assert torch.backends.cudnn.allow_tf32 == convolutions
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)
