"""A small store whose targets follow from its inputs, and configurations that train on it."""

import numpy as np
import pytest

from climsim.calendar import seconds_of, to_date
from climsim.data.raw.steps import write_grid_info, write_step_pair
from climsim.data.statistics.statistics import compute_statistics
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.training.config import (
    NetworkConfig,
    NoiseConfig,
    OptimizerConfig,
    RecipeConfig,
    ScheduleConfig,
    TrainConfig,
    TrainDataConfig,
    TrainerConfig,
)
from tests.data.synthetic import STEP, make_step, split_config
from tests.grids import make_grid

N_LEVELS, N_COLUMNS, N_STEPS = 16, 11, 60
EMULATED = frozenset({"radiation", "convection"})
TINY = {"model_channels": 8, "channel_mult": (1, 1), "num_blocks": 1}
"""Hyperparameters of a U-Net that trains in no time."""


def learnable_step(grid, rng):
    """A step in which heating relaxes temperature and rain follows moisture."""
    before, after = make_step(grid, rng)
    after["state_t"] = before["state_t"] + 0.05 * (250 - before["state_t"])
    after["state_q0001"] = before["state_q0001"] * 0.95
    after["state_u"], after["state_v"] = 0.9 * before["state_u"], 0.9 * before["state_v"]
    after["cam_out_PRECC"] = 1e-5 * before["state_q0001"].mean(axis=0)
    return before, after


@pytest.fixture(scope="session")
def store_path(tmp_path_factory):
    """A store of 60 steps, 11 columns and 16 levels."""
    raw = tmp_path_factory.mktemp("training") / "raw"
    grid = make_grid(N_COLUMNS, N_LEVELS)
    for step in range(N_STEPS):
        pair = learnable_step(grid, np.random.default_rng((3, step)))
        date = to_date(seconds_of(1, 2, 27) + step * STEP)
        about = {"time_step": STEP, "emulated_processes": EMULATED}
        write_step_pair(raw, date, *pair, grid, source="synthetic", **about)
    write_grid_info(raw / "ClimSim_low-res_grid-info.nc", grid, "synthetic")
    path = raw.parent / "store.zarr"
    prepare(PrepareConfig(raw, path, split=split_config(), block_steps=4, workers=1))
    compute_statistics(open_store(path)).save(raw.parent / "statistics.nc")
    return path


def _with_noise(recipe):
    """A recipe's settings with those of its noise as the dataclass that they are of."""
    noise = recipe.get("noise", NoiseConfig())
    return {**recipe, "noise": NoiseConfig(**noise) if isinstance(noise, dict) else noise}


@pytest.fixture
def configure(store_path, tmp_path):
    """Builds a configuration of a small fast run from what differs."""
    statistics = store_path.parent / "statistics.nc"

    def build(
        out="run",
        network="unet",
        hyperparameters=None,
        recipe=None,
        seed=7,
        data=None,
        optimizer=None,
        schedule=None,
        **trainer,
    ):
        if network == "unet" and hyperparameters is None:
            hyperparameters = TINY
        return TrainConfig(
            TrainDataConfig(
                store_path, **{"batch_size": 64, "statistics": statistics, **(data or {})}
            ),
            out=tmp_path / out,
            seed=seed,
            preset="small",
            network=NetworkConfig(network, hyperparameters or {}),
            recipe=RecipeConfig(**_with_noise(recipe or {})),
            optimizer=OptimizerConfig(**{"learning_rate": 3e-3, **(optimizer or {})}),
            schedule=ScheduleConfig(**{"name": "constant", **(schedule or {})}),
            trainer=TrainerConfig(**{"epochs": 2, "accelerator": "cpu", "threads": 1, **trainer}),
        )

    return build
