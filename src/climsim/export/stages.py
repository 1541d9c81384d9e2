"""Stages of the package: files of networks."""

from __future__ import annotations

from climsim.stage import Stage

EXPORT = Stage(
    name="export",
    command="export",
    config="climsim.export.config:ExportConfig",
    run="climsim.export.writing:run_export",
    summary="Export a checkpoint to one file that takes and returns physical values.",
    example="checkpoint=runs/unet/best.ckpt out=runs/unet.pt",
    needs=("checkpoint", "members"),
    makes="out",
)

CHECKPOINT_IMPORT = Stage(
    name="checkpoint_import",
    command="checkpoint import",
    config="climsim.export.config:ImportConfig",
    run="climsim.export_published:import_checkpoint",
    summary="Turn a published checkpoint and its statistics into one that can be exported.",
    example="file=published.mdlus network=unet recipe=multirep statistics=normalization",
    needs=("file", "statistics"),
    makes="out",
    choices={"network": "unet", "recipe": "standard"},
)
