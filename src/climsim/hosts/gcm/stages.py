"""Stages of the package: the embedded model with its own physics."""

from __future__ import annotations

from climsim.stage import Stage

SPINUP = Stage(
    name="spinup",
    command="host spinup",
    config="climsim.hosts.gcm.config:SpinupConfig",
    run="climsim.hosts.gcm.spinup:spin_up",
    summary="Run the embedded model with full physics and store a restart file to start from.",
    example="out=runs/start_T21.npz days=60 host_options.resolution=T21 host_options.start=shipped",
    makes="out",
    choices={"host": "gcm"},
)

FIT_RADIATION = Stage(
    name="fit_radiation",
    command="host fit-radiation",
    config="climsim.hosts.gcm.config:FitConfig",
    run="climsim.hosts.gcm.fitting:fit_radiation",
    summary="Fit the spectral points of the embedded model's fast radiation to the whole RRTMGP.",
    example="out=runs/radiation_points.npz days=30 longwave=20 shortwave=20",
    makes="out",
    choices={"host": "gcm"},
)
