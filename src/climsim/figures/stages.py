"""Stages of the package: pictures of metrics, of stores, and of the embedded model's climate."""

from __future__ import annotations

from climsim.stage import Stage

CLIMATE = Stage(
    name="climate",
    command="host climate",
    config="climsim.figures.config:ClimateConfig",
    run="climsim.figures.climate:run_climate",
    summary="Measure the climate of the embedded model's own physics beside published statistics.",
    example="out=runs/climate days=365 reference=statistics.csv",
    needs=("reference",),
    makes="out",
    choices={"host": "gcm"},
)

DAMPING = Stage(
    name="evaluate_damping",
    command="evaluate damping",
    config="climsim.online.damping:DampingConfig",
    run="climsim.figures.damping:evaluate_damping",
    summary="Measure how fast models, and full physics, damp noise on their inputs.",
    example="models=runs/unet.pt out=runs/damping.nc",
    needs=("models", "starts"),
    makes="out",
    choices={"host": "gcm"},
    scores="climsim.figures.damping:damping_lines",
)

FIGURES = Stage(
    name="figures",
    command="figures",
    config="climsim.figures.config:FiguresConfig",
    run="climsim.figures.draw:draw_figures",
    summary="Draw every figure that the saved metrics allow.",
    example="offline=runs/offline.nc online=runs/online.nc out=runs/figures",
    needs=("offline", "online", "hindcasts", "external_r2"),
    makes="out",
)

SHOW = Stage(
    name="online_show",
    command="online show",
    config="climsim.figures.config:ShowConfig",
    run="climsim.figures.show:show_run",
    summary="Draw a run beside its reference: bias by day and height, a moving section or map.",
    example="run=runs/hybrid reference=runs/reference latitudes=-30,30 out=runs/tropics.png",
    needs=("run", "reference"),
    makes="out",
)

DESCRIBE = Stage(
    name="describe",
    command="data describe",
    config="climsim.figures.config:DescribeConfig",
    run="climsim.figures.store:describe_store",
    summary="Print a table of a store and draw its level profiles and maps.",
    example="store=runs/store.zarr out=runs/store-plots",
    needs=("store", "statistics", "reference"),
    makes="out",
)
