"""The stage of the package: the interactive page."""

from __future__ import annotations

from climsim.stage import Stage

EXPLORE = Stage(
    name="explore",
    command="explore",
    config="climsim.explore.config:ExploreConfig",
    run="climsim.explore.serve:explore",
    summary="Serve a local page on which members, variables and levels are picked and seen.",
    example="offline=runs/offline.nc online=runs/online.nc",
    needs=("offline", "online"),
)
