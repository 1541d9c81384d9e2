"""What the fast exported form costs in R2: float32 and bfloat16 files of trained members.

Run: ``python benchmarks/bench_fast_form.py CHECKPOINT... --store STORE [--stride 1]``. Both files
of every checkpoint are scored by `climsim evaluate offline` on the test split. ``change`` is the
largest loss of R2 among all outputs (each level of a profile is one) whose R2 is above 0 in
float32, and ``moved`` the share of these outputs whose R2 changes by more than 0.001.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import xarray

from climsim.evaluation.config import OfflineConfig
from climsim.evaluation.offline import evaluate_offline
from climsim.export.loading import load_emulator
from climsim.export.writing import export_model
from climsim.variables import OUTPUTS

SHOWN = ("ptend_t", "ptend_q0001")


def score(checkpoint: Path, precision: str, folder: Path, options: argparse.Namespace) -> Path:
    model = export_model(checkpoint, folder / f"{precision}.pt", precision)
    out = folder / f"{precision}.nc"
    evaluate_offline(OfflineConfig(model, options.store, out, stride=options.stride))
    return out


def outputs(scores: xarray.Dataset) -> np.ndarray:
    """R2 of every output, one value per level of a profile."""
    return np.concatenate([np.atleast_1d(scores[f"r2_{n}"].values) for n in OUTPUTS.names])


def row(checkpoint: Path, options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [score(checkpoint, p, folder, options) for p in ("float32", "bfloat16")]
        about = load_emulator(folder / "bfloat16.pt").metadata
        exact, fast = (xarray.load_dataset(file) for file in files)
    a, b = outputs(exact), outputs(fast)
    change = (a - b)[a > 0]
    columns = [f"{about['network']['name']}, {about['recipe']}"]
    for key in ("r2_mean", *(f"r2_mean_{n}" for n in SHOWN)):
        columns += [f"{float(exact[key]):.5f}", f"{float(fast[key]):.5f}"]
    columns += [f"{np.nanmax(change):.4f}", f"{100 * np.mean(np.abs(change) > 1e-3):.1f} %"]
    return "| " + " | ".join(columns) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--stride", type=int, default=1)
    options = parser.parse_args()
    shown = ("mean R2", *(f"mean R2 {n}" for n in SHOWN))
    print(f"| member | {' | '.join(f'{n}, float32 | bfloat16' for n in shown)} | change | moved |")
    print("|" + 9 * "---|")
    for checkpoint in options.checkpoints:
        print(row(checkpoint, options), flush=True)


if __name__ == "__main__":
    main()
