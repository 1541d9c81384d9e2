"""What loggers are given: settings once, losses and learning rate as they come.

W&B and MLflow are stood in for by a logger of Lightning's interface, so that the tests need
neither; the arguments are held against the signatures of the real ones.
"""

import importlib.util
import inspect
import math

import pytest
from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

from climsim.errors import ClimSimError
from climsim.training import run
from climsim.training.run import train

REAL = {"wandb": WandbLogger, "mlflow": MLFlowLogger}


class Recorder(Logger):
    """Keeps what it is given."""

    def __init__(self, arguments):
        super().__init__()
        self.arguments = arguments
        self.settings = {}
        self.metrics = []

    name = "recorder"
    version = "0"

    def log_hyperparams(self, params):
        self.settings = params

    def log_metrics(self, metrics, step=None):
        self.metrics.append((step, metrics))


@pytest.fixture
def record(monkeypatch):
    """Lets a package look installed and records the logger that is built for it."""
    made = []

    def stand_in(name):
        def build(*args, **kwargs):
            bound = inspect.signature(REAL[name].__init__).bind(None, *args, **kwargs)
            made.append(Recorder(bound.arguments))
            return made[-1]

        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda p, *a: p == name or found(p, *a))
        monkeypatch.setattr(run, REAL[name].__name__, build)
        return made

    return stand_in


@pytest.mark.parametrize("name", REAL)
def test_logger_is_given_the_settings_and_every_loss(name, configure, record):
    made = record(name)
    exactly = {"precision": "float32", "compile": False}
    config = configure(logger=name, epochs=2, log_every_steps=2, **exactly)
    result = train(config)
    (logger,) = made
    assert logger.settings == config.resolved()
    steps = [step for step, metrics in logger.metrics if "train_loss" in metrics]
    assert steps == [s for s in range(result.steps) if s % 2 == 1]
    first = next(metrics for _, metrics in logger.metrics if "train_loss" in metrics)
    assert {"train_loss", "train_plain_loss", "learning_rate"} <= first.keys()
    assert first["learning_rate"] == pytest.approx(config.optimizer.learning_rate)
    validation = [m["validation_loss"] for _, m in logger.metrics if "validation_loss" in m]
    assert len(validation) == 2
    assert min(validation) == pytest.approx(result.validation_loss)


RATES = {
    "constant": ({}, lambda epoch: 1.0),
    "step": ({"factor": 0.1, "every_epochs": 1}, lambda epoch: 0.1 ** int(epoch)),
    "cosine": ({}, lambda epoch: 0.5 * (1 + math.cos(math.pi * epoch / 2))),
    "warmup_cosine": (
        {"warmup_epochs": 0.5},
        lambda e: e / 0.5 if e < 0.5 else 0.5 * (1 + math.cos(math.pi * (e - 0.5) / 1.5)),
    ),
}


@pytest.mark.parametrize("name", RATES)
def test_every_step_is_taken_at_the_rate_of_the_schedule(name, configure, record):
    made = record("wandb")
    settings, factor = RATES[name]
    schedule = {"name": name, **settings}
    result = train(configure(logger="wandb", epochs=2, log_every_steps=1, schedule=schedule))
    rates = [m["learning_rate"] for _, m in made[0].metrics if "learning_rate" in m]
    epochs = [2 * step / result.steps for step in range(result.steps)]
    assert rates == pytest.approx([3e-3 * factor(e) for e in epochs], rel=1e-4, abs=1e-12)


def test_wandb_writes_below_the_folder_of_the_run(configure, record):
    made = record("wandb")
    config = configure(logger="wandb", epochs=1)
    train(config)
    assert made[0].arguments["save_dir"] == config.out
    assert made[0].arguments["name"] == "unet-standard-7"


@pytest.mark.parametrize("server", [None, "http://server.example:5000"])
def test_mlflow_writes_to_its_server_or_beside_the_run(server, configure, record, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    made = record("mlflow")
    config = configure(logger="mlflow", epochs=1)
    train(config)
    assert made[0].arguments["tracking_uri"] == (server or f"sqlite:///{config.out}/mlflow.db")


@pytest.mark.parametrize("name", REAL)
def test_missing_logger_says_what_to_install(name, configure, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ClimSimError, match=f"trainer.logger={name}.*pip install {name}"):
        train(configure(epochs=1, logger=name))


def test_tensorboard_holds_losses_and_learning_rate(configure):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = configure(epochs=2, log_every_steps=2)
    train(config)
    log = EventAccumulator(str(config.out / "log"))
    log.Reload()
    found = set(log.Tags()["scalars"])
    assert {"train_loss", "train_plain_loss", "validation_loss", "learning_rate"} <= found
    assert "hp_metric" not in found
    assert len(log.Scalars("validation_loss")) == 2
    assert "model_channels: 8" in (config.out / "log" / "hparams.yaml").read_text()
