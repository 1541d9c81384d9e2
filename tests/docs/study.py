"""A tiny study: one product of every kind, for the commands of the documentation to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from climsim.calendar import seconds_of, to_date
from climsim.data.raw.steps import write_grid_info, write_step_pair
from climsim.data.statistics.config import StatisticsConfig
from climsim.data.statistics.stage import write_statistics
from climsim.data.store.config import PrepareConfig
from climsim.data.store.prepare import prepare
from climsim.evaluation.config import OfflineConfig, OnlineConfig
from climsim.evaluation.offline import evaluate_offline
from climsim.evaluation.online import evaluate_online
from climsim.export.config import ExportConfig
from climsim.export.writing import run_export
from climsim.training.config import NetworkConfig, TrainConfig, TrainDataConfig, TrainerConfig
from climsim.training.run import train
from tests.data.synthetic import STEP, make_step, split_config
from tests.evaluation_synthetic import write_run
from tests.grids import make_grid

COLUMNS, LEVELS, STEPS = 9, 60, 60
TINY = {"model_channels": 8, "channel_mult": (1, 1), "num_blocks": 1}


def make_study(folder: Path) -> dict[str, Path]:
    """Make the products.

    Args:
        folder: empty.

    Returns:
        Path of the product of each kind.
    """
    made = {
        "raw": folder / "raw",
        "store": folder / "store.zarr",
        "statistics": folder / "stats.nc",
        "checkpoint": folder / "member" / "best.ckpt",
        "model": folder / "unet.pt",
        "offline": folder / "offline.nc",
        "run": folder / "hybrid",
        "reference": folder / "mmf1",
        "second_reference": folder / "mmf2",
        "online": folder / "online.nc",
    }
    write_raw(made["raw"])
    prepare(PrepareConfig(made["raw"], made["store"], split=split_config(), workers=1))
    write_statistics(StatisticsConfig(made["store"], made["statistics"]))
    data = TrainDataConfig(made["store"], made["statistics"], batch_size=64)
    network, trainer = NetworkConfig("unet", TINY), TrainerConfig(epochs=1, logger="none")
    train(TrainConfig(data, folder / "member", network=network, trainer=trainer))
    run_export(ExportConfig(made["checkpoint"], made["model"]))
    evaluate_offline(OfflineConfig(made["model"], made["store"], made["offline"]))
    write_run(made["reference"])
    write_run(made["second_reference"], seed=1, growing=1.0)
    write_run(made["run"], seed=2, growing=1.0, bias=1.0)
    runs, references = (made["run"],), (made["reference"], made["second_reference"])
    evaluate_online(OnlineConfig(runs, references[0], made["online"], references[1]))
    return made


def write_raw(folder: Path) -> None:
    """Twenty hours of step pairs with a few columns and E3SM's number of levels."""
    grid = make_grid(COLUMNS, LEVELS)
    for step in range(STEPS):
        before, after = make_step(grid, np.random.default_rng((3, step)))
        date = to_date(seconds_of(1, 2, 27) + step * STEP)
        write_step_pair(folder, date, before, after, grid, source="synthetic", time_step=STEP)
    write_grid_info(folder / "ClimSim_low-res_grid-info.nc", grid, "synthetic")
