"""Optimizers and schedules of a user, named by their file."""

from __future__ import annotations

import pytest
import torch

from climsim.configuration import build_config, compose_config
from climsim.errors import ClimSimError
from climsim.training.config import OptimizerConfig, ScheduleConfig, TrainConfig
from climsim.training.optimization import build_optimizer
from climsim.training.schedules import build_schedule

OWN = """
import torch
from climsim.training.schedules import Schedule

def momentum(parameters, config):
    return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=0.5)

def nothing(parameters, config):
    return None

class Halving(Schedule):
    def factor(self, epoch, epochs):
        return 0.5 ** epoch
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def weights():
    return [torch.nn.Parameter(torch.zeros(2))]


def test_optimizer_of_a_file_is_built_from_its_settings(own):
    built = build_optimizer(weights(), OptimizerConfig(f"{own}:momentum", learning_rate=0.25))
    assert isinstance(built, torch.optim.SGD)
    assert built.param_groups[0]["lr"] == 0.25


def test_function_that_builds_no_optimizer_is_refused(own):
    with pytest.raises(ClimSimError, match=r"expected a torch\.optim\.Optimizer, found NoneType"):
        build_optimizer(weights(), OptimizerConfig(f"{own}:nothing"))


def test_schedule_of_a_file_gives_the_factor(own):
    schedule = build_schedule(ScheduleConfig(f"{own}:Halving"))
    assert [schedule.factor(e, 4) for e in (0, 1, 3)] == [1, 0.5, 0.125]
    with pytest.raises(ClimSimError, match=r"expected a subclass of .*Schedule, found 'momentum'"):
        build_schedule(ScheduleConfig(f"{own}:momentum"))


def test_keys_take_an_optimizer_and_a_schedule_of_a_file(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    given = ["optimizer=own.py:momentum", "schedule=own.py:Halving", "data.store=x", "out=y"]
    config = build_config(TrainConfig, compose_config("train", given))
    assert config.optimizer.name == f"{own}:momentum"
    assert config.schedule.name == f"{own}:Halving"


def test_unknown_optimizer_and_schedule_list_the_known_ones():
    with pytest.raises(
        ClimSimError, match=r"unknown optimizer 'sgd': expected one of adam, adamw, soap"
    ):
        build_optimizer(weights(), OptimizerConfig("sgd"))
    with pytest.raises(ClimSimError, match=r"schedule\.name: expected one of constant, cosine"):
        ScheduleConfig("linear")
