"""Stages of the package: metrics of predictions and of coupled runs."""

from __future__ import annotations

from climsim.stage import Stage

EVALUATE_OFFLINE = Stage(
    name="evaluate_offline",
    command="evaluate offline",
    config="climsim.evaluation.offline_config:OfflineConfig",
    run="climsim.evaluation.offline:evaluate_offline",
    summary="Score an exported model on the test split.",
    example="model=runs/unet.pt store=runs/store.zarr out=runs/offline.nc",
    needs=("model", "store", "members", "confidences", "loss_of"),
    makes="out",
    scores="climsim.evaluation.summary:offline_lines",
)

EVALUATE_ONLINE = Stage(
    name="evaluate_online",
    command="evaluate online",
    config="climsim.evaluation.online:OnlineConfig",
    run="climsim.evaluation.online:evaluate_online",
    summary="Measure online runs against a reference run.",
    example="runs=runs/hybrid reference=runs/reference out=runs/online.nc",
    needs=("runs", "reference", "second_reference"),
    makes="out",
    scores="climsim.evaluation.summary:online_lines",
)
