"""The stage of the package: a training run."""

from __future__ import annotations

from climsim.precisions import FORMER_PRECISIONS
from climsim.stage import Stage

TRAIN = Stage(
    name="train",
    command="train",
    config="climsim.training.config:TrainConfig",
    run="climsim.training.run:train",
    summary="Train one network under one recipe; a second call resumes or does nothing.",
    example="network=unet recipe=standard seed=7 data.store=runs/store.zarr out=runs/unet",
    needs=("data.store", "data.statistics", "trainer.warm_start"),
    makes="out",
    may_change=(
        "trainer.threads",
        "trainer.logger",
        "trainer.log_every_steps",
        "trainer.save_every_steps",
        "trainer.keep_best",
        "data.prefetch",
        "data.gpu_share",
    ),
    renamed={"trainer.precision": FORMER_PRECISIONS},
    choices={
        "network": "unet",
        "recipe": "standard",
        "optimizer": "adamw",
        "schedule": "step",
        "trainer": "default",
    },
)
