"""Stages of the package: runs of the climate model."""

from __future__ import annotations

from climsim.devices import FORMER_DEVICES
from climsim.stage import Stage
from climsim.training.stages import TRAIN

GENERATE = Stage(
    name="generate",
    command="data generate",
    config="climsim.online.pairs_config:GenerateConfig",
    run="climsim.online.generate:generate",
    summary="Run the embedded model with full physics and write raw step pairs.",
    example="raw=runs/raw days=30",
    needs=("start", "starts"),
    makes="raw",
    may_change=("days",),
    choices={"host": "gcm"},
)

ONLINE_RUN = Stage(
    name="online_run",
    command="online run",
    config="climsim.runs.config:RunConfig",
    run="climsim.online.run:run_online",
    summary="Run a climate model coupled to an exported model, or with its own physics.",
    example="case=hybrid folder=runs/hybrid model=runs/unet.pt days=10",
    needs=("model", "start", "coupler.mixing_statistics"),
    makes="folder",
    may_change=("days", "restart_days", "kept_restart_days"),
    renamed={"device": FORMER_DEVICES},
    choices={"host": "gcm"},
)

ONLINE_ENSEMBLE = Stage(
    name="online_ensemble",
    command="online ensemble",
    config="climsim.online.config:EnsembleConfig",
    run="climsim.online.ensemble:run_ensemble",
    summary="Run every model from every start, several members side by side.",
    example="case=unet folder=runs/unets models=runs/unet.pt seeds=1,2,3 days=10",
    needs=("models", "model", "start", "starts"),
    makes="folder",
    choices={"host": "gcm"},
)

FINETUNE = Stage(
    name="online_finetune",
    command="online finetune",
    config="climsim.online.finetune_config:FinetuneConfig",
    run="climsim.online.finetune:finetune",
    summary="Train a network further, on a store and at the states that it reaches coupled.",
    example=(
        "network=unet recipe=standard data.store=runs/store.zarr "
        "trainer.warm_start=runs/unet/best.ckpt out=runs/finetuned"
    ),
    needs=(*TRAIN.needs, "rollouts.starts", "coupler.mixing_statistics"),
    makes="out",
    may_change=TRAIN.may_change,
    renamed=TRAIN.renamed,
    choices={**TRAIN.choices, "host": "gcm"},
)

COLLECT = Stage(
    name="online_collect",
    command="online collect",
    config="climsim.online.pairs_config:CollectConfig",
    run="climsim.online.collect:collect",
    summary="Write step pairs at the states that a model visits, labelled by the host's physics.",
    example="raw=runs/visited segments=4 days=5 model=runs/unet.pt",
    needs=("model", "starts", "coupler.mixing_statistics"),
    makes="raw",
    may_change=("segments",),
    renamed={"device": FORMER_DEVICES},
    choices={"host": "gcm"},
)
