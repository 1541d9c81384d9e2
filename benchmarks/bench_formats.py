"""One exported model in every format, and in what else runs such graphs: speed, size, exactness.

Run: ``python benchmarks/bench_formats.py [--networks unet ...] [--preset small] [--columns 384]
[--recipe standard] [--repeats 7] [--threads 2] [--clock wall|cpu]``. All start from numpy and take
turns in one process, and the least time of each counts. ``eager`` are the modules in Python,
``compile`` the same under `torch.compile`, ``openvino`` the ONNX file in OpenVINO (`pip install
openvino`; left out where it is not installed), ``pt2 fixed`` a package for just these columns. With
``--bfloat16`` TorchScript, both packages and OpenVINO come in bfloat16 too.
Rates are columns per second, followed by the ratio to TorchScript. ``error`` is the largest
difference from eager over the largest value of each variable.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
from bench_export import LEVELS, alone, make_checkpoint, parser, prepare, rates
from climsim.export.comparison import relative_difference
from climsim.export.formats import FORMATS
from climsim.export.loading import load_emulator
from climsim.export.module import EmulationMember, build_emulation
from climsim.export.probe import probe_columns
from climsim.export.writing import export_model
from climsim.training.checkpoint import load_model

Run = Callable[[], NDArray[np.float32]]
BASE, FIXED = "torchscript", "pt2 fixed"


def kinds(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every kind of file by its name in the table, and how it is exported."""
    exact: dict[str, dict[str, Any]] = {name: {"format": name} for name in FORMATS}
    exact[FIXED] = {"format": "pt2", "columns": options.columns}
    if not options.bfloat16:
        return exact
    reduced = {"torchscript", "pt2", FIXED}
    return exact | {
        f"{n} bf16": {**exact[n], "precision": "bfloat16"} for n in exact if n in reduced
    }


def path_of(folder: Path, name: str, how: dict[str, Any]) -> Path:
    """Where a kind of file lies."""
    return folder / f"{name.replace(' ', '-')}{FORMATS.find(str(how['format'])).suffix}"


def runs_of(folder: Path, options: argparse.Namespace) -> dict[str, Run]:
    """Every form of the model on the same columns, by name."""
    model = load_model(folder / "model.ckpt")
    eager = build_emulation([EmulationMember(model.network, model.transforms)], model.confidence)
    made = kinds(options)
    files = {name: load_emulator(path_of(folder, name, how)) for name, how in made.items()}
    given = files[BASE].interface.variables
    vector = probe_columns(given, LEVELS, options.columns).numpy()

    def on_tensors(module: Callable[[torch.Tensor], torch.Tensor]) -> Run:
        def run() -> NDArray[np.float32]:
            with torch.inference_mode():
                return module(torch.from_numpy(vector)).numpy()

        return run

    runs = {"eager": on_tensors(eager), "compile": on_tensors(torch.compile(eager, dynamic=True))}
    runs |= {name: lambda file=file: file(vector) for name, file in files.items()}
    if importlib.util.find_spec("openvino") is not None:
        hints = ("f32", "bf16") if options.bfloat16 else ("f32",)
        for hint in hints:
            graph = path_of(folder, "onnx", made["onnx"])
            runs[f"openvino {hint}"] = in_openvino(graph, vector, hint, options)
    return runs


def in_openvino(
    path: Path, vector: NDArray[np.float32], hint: str, options: argparse.Namespace
) -> Run:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": options.threads}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda: compiled([vector])[0]


def measured(
    folder: Path, options: argparse.Namespace
) -> tuple[dict[str, float], dict[str, float]]:
    """Columns per second and largest relative difference from eager, by form."""
    prepare(options)
    runs = runs_of(folder, options)
    exact = torch.from_numpy(runs["eager"]())
    errors = {
        name: relative_difference(exact, torch.from_numpy(np.array(run())), LEVELS)
        for name, run in runs.items()
    }
    return rates(runs, options), errors


def table(name: str, folder: Path, options: argparse.Namespace) -> str:
    checkpoint = make_checkpoint(name, folder, options)
    sizes, seconds = {}, {}
    for form, how in kinds(options).items():
        start = time.perf_counter()
        path = export_model(checkpoint, path_of(folder, form, how), **how)
        seconds[form] = time.perf_counter() - start
        sizes[form] = path.stat().st_size / 2**20
    rate, errors = alone(measured, folder, options)
    lines = []
    for form, columns in rate.items():
        made = f" {sizes[form]:8.1f} {seconds[form]:8.0f}" if form in sizes else ""
        ratio = columns / rate[BASE]
        lines.append(f"{name:14s} {form:16s} {columns:9.0f} {ratio:6.2f} {errors[form]:9.1e}{made}")
    return "\n".join(lines)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--bfloat16", action="store_true")
    options = arguments.parse_args()
    prepare(options)
    print("network        form             columns/s  ratio     error  MiB file  export, s")
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            print(table(name, Path(folder), options), flush=True)


if __name__ == "__main__":
    main()
