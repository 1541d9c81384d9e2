"""The table of stages: which command runs which library function with which configuration."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One arrow of the chain as a command.

    Attributes:
        path: words of the command, such as ``("data", "prepare")``.
        config: name of its configuration in ``climsim.conf``.
        config_class: ``module:name`` of the configuration dataclass.
        function: ``module:name`` of the library function, called with (config, progress).
        summary: what the command does, in one sentence.
        example: overrides of a typical call.
        positional: key that a first bare word sets; empty where every key is named.
        scores: ``module:name`` of a function that reads lines to print from the result.
    """

    path: tuple[str, ...]
    config: str
    config_class: str
    function: str
    summary: str
    example: str
    positional: str = ""
    scores: str = ""

    def overrides(self, words: Sequence[str]) -> list[str]:
        """The words of a call as ``key=value``, the bare first one included."""
        first = words[0] if words else "="
        second = words[1] if len(words) > 1 else ""
        named = "=" in first or first.startswith("~") or second.startswith("=")
        if not self.positional or named:
            return list(words)
        return [f"{self.positional}={first}", *words[1:]]


STAGES = (
    Stage(
        ("data", "generate"),
        "generate",
        "climsim.online.generate:GenerateConfig",
        "climsim.online.generate:generate",
        "Run the embedded model with full physics and write raw step pairs.",
        "raw=runs/raw days=30",
    ),
    Stage(
        ("data", "download"),
        "download",
        "climsim.data.raw.hub:DownloadConfig",
        "climsim.data.raw.hub:download",
        "Download published step files, verified; a second call fetches what is missing.",
        "folder=data/raw repo=LEAP/ClimSim_low-res months=0001-02,0001-03 dry_run=true",
    ),
    Stage(
        ("data", "check"),
        "check",
        "climsim.data.raw.check:CheckConfig",
        "climsim.data.raw.check:check",
        "Look for missing, double, damaged and implausible step files; exit code 1 if any.",
        "raw=data/raw out=data/check.json",
    ),
    Stage(
        ("data", "prepare"),
        "prepare",
        "climsim.data.store.prepare:PrepareConfig",
        "climsim.data.store.prepare:prepare",
        "Turn raw step pairs into a labelled Zarr store with derived features and splits.",
        "raw=runs/raw store=runs/store.zarr",
    ),
    Stage(
        ("data", "verify"),
        "verify",
        "climsim.data.store.verify:VerifyConfig",
        "climsim.data.store.verify:verify",
        "Compare every value of a store with its checksums; exit code 1 if any differs.",
        "store=runs/store.zarr",
    ),
    Stage(
        ("data", "statistics"),
        "statistics",
        "climsim.data.statistics.stage:StatisticsConfig",
        "climsim.data.statistics.stage:write_statistics",
        "Compute the normalization statistics of the training split in one pass.",
        "store=runs/store.zarr out=runs/statistics.nc",
    ),
    Stage(
        ("data", "describe"),
        "describe",
        "climsim.data.statistics.describe:DescribeConfig",
        "climsim.data.statistics.describe:describe",
        "Print a table of a store and draw its level profiles and maps.",
        "store=runs/store.zarr out=runs/store-plots",
    ),
    Stage(
        ("data", "variables"),
        "variables",
        "climsim.variable_table:VariablesConfig",
        "climsim.variable_table:show_variables",
        "List the variables of a set: place in the vector, unit, origin, normalization.",
        "expanded",
        positional="set",
    ),
    Stage(
        ("train",),
        "train",
        "climsim.training.run:TrainConfig",
        "climsim.training.run:train",
        "Train one network under one recipe; a second call resumes or does nothing.",
        "network=unet recipe=standard seed=7 data.store=runs/store.zarr out=runs/unet",
    ),
    Stage(
        ("export",),
        "export",
        "climsim.export:ExportConfig",
        "climsim.export:run_export",
        "Write a checkpoint as one TorchScript file with raw physical inputs and outputs.",
        "checkpoint=runs/unet/best.ckpt out=runs/unet.pt",
    ),
    Stage(
        ("checkpoint", "import"),
        "checkpoint_import",
        "climsim.export_published:ImportConfig",
        "climsim.export_published:import_checkpoint",
        "Turn a published checkpoint and its statistics into one that can be exported.",
        "file=published.mdlus network=unet recipe=multirep statistics=normalization",
    ),
    Stage(
        ("evaluate", "offline"),
        "evaluate_offline",
        "climsim.evaluation.offline:OfflineConfig",
        "climsim.evaluation.offline:evaluate_offline",
        "Score an exported model on the test split.",
        "model=runs/unet.pt store=runs/store.zarr out=runs/offline.nc",
        scores="climsim.evaluation.summary:offline_lines",
    ),
    Stage(
        ("online", "run"),
        "online_run",
        "climsim.online.run:RunConfig",
        "climsim.online.run:run_online",
        "Run a climate model coupled to an exported model, or with its own physics.",
        "case=hybrid folder=runs/hybrid model=runs/unet.pt days=10",
    ),
    Stage(
        ("online", "ensemble"),
        "online_ensemble",
        "climsim.online.ensemble:EnsembleConfig",
        "climsim.online.ensemble:run_ensemble",
        "Run every model from every perturbed start, several members side by side.",
        "case=unet folder=runs/unets models=runs/unet.pt seeds=1,2,3 days=10",
    ),
    Stage(
        ("host", "spinup"),
        "spinup",
        "climsim.hosts.gcm.spinup:SpinupConfig",
        "climsim.hosts.gcm.spinup:spin_up",
        "Run the embedded model with full physics and store a restart file to start from.",
        "out=runs/start_T21.npz days=60 host_options.resolution=T21 host_options.start=shipped",
    ),
    Stage(
        ("host", "fit-radiation"),
        "fit_radiation",
        "climsim.hosts.gcm.fitting:FitConfig",
        "climsim.hosts.gcm.fitting:fit_radiation",
        "Fit the spectral points of the embedded model's fast radiation to the whole RRTMGP.",
        "out=runs/radiation_points.npz days=30 longwave=20 shortwave=20",
    ),
    Stage(
        ("host", "climate"),
        "climate",
        "climsim.figures.climate:ClimateConfig",
        "climsim.figures.climate:run_climate",
        "Measure the climate of the embedded model's own physics beside published statistics.",
        "out=runs/climate days=365 reference=statistics.csv",
    ),
    Stage(
        ("evaluate", "online"),
        "evaluate_online",
        "climsim.evaluation.online:OnlineConfig",
        "climsim.evaluation.online:evaluate_online",
        "Measure online runs against a reference run.",
        "runs=runs/hybrid reference=runs/mmf1 out=runs/online.nc",
        scores="climsim.evaluation.summary:online_lines",
    ),
    Stage(
        ("figures",),
        "figures",
        "climsim.figures.draw:FiguresConfig",
        "climsim.figures.draw:draw_figures",
        "Draw every figure that the saved metrics allow.",
        "offline=runs/offline.nc online=runs/online.nc out=runs/figures",
    ),
    Stage(
        ("report",),
        "report",
        "climsim.report.page:ReportConfig",
        "climsim.report.page:write_report",
        "Write the self-contained HTML page.",
        "offline=runs/offline.nc online=runs/online.nc out=runs/report.html",
    ),
    Stage(
        ("explore",),
        "explore",
        "climsim.explore.serve:ExploreConfig",
        "climsim.explore.serve:explore",
        "Serve a local page on which members, variables and levels are picked and seen.",
        "offline=runs/offline.nc online=runs/online.nc",
    ),
)

GROUPS = {
    "checkpoint": "Checkpoints made elsewhere.",
    "data": "Raw step files, prepared stores and statistics.",
    "evaluate": "Metrics of predictions and of coupled runs.",
    "host": "The climate model without a network.",
    "online": "Coupled runs.",
}


def command_of(config: str) -> str:
    """The words of the command that has a configuration of this name."""
    return next((" ".join(s.path) for s in STAGES if s.config == config), "experiment")


def load(reference: str) -> Any:
    """Import what ``module:name`` names."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
