"""Stages of the package: raw step files, prepared stores and their statistics."""

from __future__ import annotations

from climsim.stage import EVERYTHING, Stage

DOWNLOAD = Stage(
    name="download",
    command="data download",
    config="climsim.data.raw.config:DownloadConfig",
    run="climsim.data.raw.hub:download",
    summary="Download published step files, verified; a second call fetches what is missing.",
    example="folder=data/raw repo=LEAP/ClimSim_low-res months=0001-02,0001-03 dry_run=true",
    makes="folder",
)

CHECK = Stage(
    name="check",
    command="data check",
    config="climsim.data.raw.config:CheckConfig",
    run="climsim.data.raw.check:check",
    summary="Look for missing, duplicate, corrupt and implausible step files; exit code 1 if any.",
    example="raw=data/raw out=data/check.json",
    needs=("raw", "grid", "outputs"),
    makes="out",
)

PREPARE = Stage(
    name="prepare",
    command="data prepare",
    config="climsim.data.store.config:PrepareConfig",
    run="climsim.data.store.prepare:prepare",
    summary="Turn raw step pairs into a labelled Zarr store with derived features and splits.",
    example="raw=runs/raw store=runs/store.zarr",
    needs=("raw", "outputs", "also", "grid"),
    makes="store",
    may_change=EVERYTHING,
)

VERIFY = Stage(
    name="verify",
    command="data verify",
    config="climsim.data.store.config:VerifyConfig",
    run="climsim.data.store.verify:verify",
    summary="Compare every value of a store with its checksums; exit code 1 if any differs.",
    example="store=runs/store.zarr",
    needs=("store",),
)

STATISTICS = Stage(
    name="statistics",
    command="data statistics",
    config="climsim.data.statistics.config:StatisticsConfig",
    run="climsim.data.statistics.stage:write_statistics",
    summary="Compute the normalization statistics of the training split in one pass.",
    example="store=runs/store.zarr out=runs/statistics.nc",
    needs=("store",),
    makes="out",
)

VARIABLES = Stage(
    name="variables",
    command="data variables",
    config="climsim.variable_table:VariablesConfig",
    run="climsim.variable_table:show_variables",
    summary="List the variables of a set: place in the vector, unit, origin, normalization.",
    example="expanded",
    positional="set",
)
