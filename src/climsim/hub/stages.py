"""Stages of the package: what goes to the Hugging Face Hub and comes from there."""

from __future__ import annotations

from climsim.stage import Stage

PUSH = Stage(
    name="hub_push",
    command="hub push",
    config="climsim.hub.config:PushConfig",
    run="climsim.hub.push:push",
    summary="Upload an exported model with a card of its scores, or a prepared store.",
    example="path=runs/unet.pt repo=me/unet offline=runs/offline.nc license=apache-2.0",
    needs=("path", "offline", "figures"),
)

PULL = Stage(
    name="hub_pull",
    command="hub pull",
    config="climsim.hub.config:PullConfig",
    run="climsim.hub.pull:pull",
    summary="Download a model with its card, or a store, and check that it is whole.",
    example="repo=me/unet out=runs/unet",
    makes="out",
)
