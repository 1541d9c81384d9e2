"""What is installed, where the caches lie, what is missing: the ``climsim doctor`` table."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from rich.table import Table

from climsim.files import git_revision

_REQUIRED = ("torch", "lightning", "hydra-core", "xarray", "zarr", "netCDF4", "jcm", "jax")
_OPTIONAL = {
    "wandb": "logs of a training at Weights & Biases",
    "mlflow": "logs of a training in MLflow",
    "snakemake-executor-plugin-slurm": "studies through SLURM (extra cluster)",
    "dask-jobqueue": "Dask workers through SLURM (extra cluster)",
    "bokeh": "the interactive page (extra explore)",
    "pyarrow": "Kaggle's tables, CSV and Parquet (extra kaggle)",
    "onnxscript": "exports with format=onnx (extra onnx)",
    "onnxruntime": "runs of exported ONNX files (extra onnx)",
}
"""What each package that the demo does without is for, and the extra that brings it."""
_NEEDED_DISK_GIB = 6.5
"""Environment and products of the demo; docs/installation.md has their sizes."""
_NEEDED_MEMORY_GIB = 6.0
"""Two jobs of the demo at a time take up to 3.0 GiB each."""
FTORCH_FOLDER = "FTorch_ROOT"
"""Environment variable in which CMake looks for FTorch: it bears the name of the package."""
_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says how much memory a container may take."""


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
        what: what was looked at.
        ok: whether it is there.
        detail: version, path or remedy.
        required: whether the demo needs it.
    """

    what: str
    ok: bool
    detail: str
    required: bool = True


def examine(folder: Path | None = None) -> list[Finding]:
    """Look at versions, devices, caches, disk and optional parts.

    Args:
        folder: where products would be written; the current folder by default.
    """
    folder = folder or Path.cwd()
    python = f"{sys.version.split()[0]} ({sys.prefix})"
    return [
        Finding("python", sys.version_info >= (3, 11), python),
        Finding("climsim", True, git_revision()),
        *(_package(name) for name in _REQUIRED),
        *(_package(name, purpose) for name, purpose in _OPTIONAL.items()),
        _program("g++", "exports with format=pt2", os.environ.get("CXX")),
        _program("sbatch", "studies and Dask workers through SLURM"),
        _torch_devices(),
        _jax_devices(),
        _cores(),
        _memory(),
        _disk(folder),
        _cache(),
        _start_state(),
        _ftorch(),
        _coastlines(),
    ]


def _package(name: str, purpose: str = "") -> Finding:
    """A distribution: required, or optional where a purpose is named."""
    reason = f", for {purpose}" if purpose else ""
    try:
        return Finding(name, True, metadata.version(name) + reason, not purpose)
    except metadata.PackageNotFoundError:
        return Finding(name, False, f"pip install {name}{reason}", not purpose)


def _program(name: str, purpose: str, chosen: str | None = None) -> Finding:
    """An optional program on the path, or the one that the environment names in its place."""
    found = shutil.which(chosen or name)
    where = found or f"{chosen or name} is not on the path"
    return Finding(name, found is not None, f"{where}, for {purpose}", required=False)


def _torch_devices() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("torch devices", False, "torch is not installed")
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding(
        "torch devices", True, ", ".join(gpus) or f"CPU, {torch.get_num_threads()} threads"
    )


def _jax_devices() -> Finding:
    if importlib.util.find_spec("jax") is None:
        return Finding("jax devices", False, "jax is not installed")
    import jax

    return Finding("jax devices", True, ", ".join(str(device) for device in jax.devices()))


def _cores() -> Finding:
    usable, installed = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    return Finding("cores", True, f"{usable} of {installed} may be used")


def _memory() -> Finding:
    page = os.sysconf("SC_PAGE_SIZE")
    there = os.sysconf("SC_PHYS_PAGES") * page
    limit = _LIMIT.read_text().strip() if _LIMIT.is_file() else ""
    total = min(there, int(limit) if limit.isdigit() else there) / 2**30
    free = os.sysconf("SC_AVPHYS_PAGES") * page / 2**30
    detail = (
        f"{total:.1f} GiB, {free:.1f} unused; the demo takes {_NEEDED_MEMORY_GIB:g} with two jobs "
        "at a time"
    )
    return Finding("memory", total > _NEEDED_MEMORY_GIB, detail)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 2**30
    detail = f"{free:.1f} GiB in {folder}; environment and demo take {_NEEDED_DISK_GIB:g} GiB"
    return Finding("free disk", free > _NEEDED_DISK_GIB, detail)


def _cache() -> Finding:
    from climsim.hosts.gcm.compilation import default_cache_folder

    folder = default_cache_folder()
    files = list(folder.glob("*")) if folder.exists() else []
    size = sum(f.stat().st_size for f in files if f.is_file()) / 2**20
    detail = f"{folder}: {len(files)} files, {size:.0f} MiB"
    return Finding("compilation cache", bool(files), detail, required=False)


def _start_state() -> Finding:
    assets = resources.files("climsim.hosts.gcm") / "assets"
    names = sorted(p.name for p in assets.iterdir()) if assets.is_dir() else []
    return Finding("embedded model data", bool(names), ", ".join(names) or "not in the package")


def _ftorch() -> Finding:
    candidates = [
        os.environ.get(FTORCH_FOLDER),
        *os.environ.get("CMAKE_PREFIX_PATH", "").split(os.pathsep),
    ]
    found = [c for c in candidates if c and list(Path(c).rglob("FTorchConfig.cmake"))]
    detail = found[0] if found else f"set {FTORCH_FOLDER} or CMAKE_PREFIX_PATH to an FTorch install"
    return Finding("FTorch", bool(found), detail, required=False)


def _coastlines() -> Finding:
    try:
        import cartopy
    except ImportError:
        return Finding("cartopy coastlines", False, "pip install cartopy", required=False)
    folder = Path(cartopy.config["data_dir"]) / "shapefiles" / "natural_earth" / "physical"
    found = folder.is_dir() and any(folder.glob("*coastline*.shp"))
    detail = str(folder) if found else "not there; maps draw coasts from the land fraction"
    return Finding("cartopy coastlines", found, detail, required=False)


def table(findings: list[Finding]) -> Table:
    """Lay the findings out for the terminal."""
    result = Table(title="climsim doctor")
    for column in ("what", "state", "detail"):
        result.add_column(column, overflow="fold")
    for finding in findings:
        state = "ok" if finding.ok else "missing" if finding.required else "not there (optional)"
        style = "green" if finding.ok else "red" if finding.required else "yellow"
        result.add_row(finding.what, f"[{style}]{state}[/]", finding.detail)
    return result
