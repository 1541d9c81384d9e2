"""Trying a TorchScript file of others in a process of its own, where it may hang or crash.

Run as a program, this file imports torch alone: it reads inputs by name from its standard input
(an ``.npz`` archive) and writes what the model makes of each to its standard output, as JSON.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

SECONDS = 60
"""Time that a model has for all inputs together [s]; importing torch does not count."""


@dataclass(frozen=True)
class Outcome:
    """What a model makes of one input.

    Attributes:
        shape: of its output; empty where that is no float32 tensor.
        found: the same in words, or the error.
    """

    shape: tuple[int, ...]
    found: str


def outcome_of(module: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Outcome:
    """Run a model on an input, whatever comes out."""
    try:
        with torch.inference_mode():
            output = module(x)
    except (RuntimeError, torch.jit.Error) as error:  # the latter where the file itself raises
        lines = [line for line in str(error).splitlines() if line.strip()]
        return Outcome((), lines[-1].strip() if lines else type(error).__name__)
    if not isinstance(output, torch.Tensor):
        return Outcome((), f"a {type(output).__name__} instead of one tensor")
    kind = str(output.dtype).removeprefix("torch.")
    found = f"a {kind} tensor of shape {tuple(output.shape)}"
    return Outcome(tuple(output.shape) if output.dtype == torch.float32 else (), found)


def load_script(path: Path | str, device: str) -> torch.jit.ScriptModule:
    """Load a scripted module on a device, weights included, for inference.

    On a GPU its operations are not fused: the code that torch generates for fused bfloat16
    operations does not compile under CUDA 13. The switch is one of the process and acts on GPUs
    alone.

    Args:
        path: TorchScript file.
        device: as torch calls it.
    """
    if torch.device(device).type == "cuda":
        torch._C._jit_override_can_fuse_on_gpu(False)
    return torch.jit.load(str(path), map_location=device).eval()


def try_file(
    path: Path, inputs: Mapping[str, NDArray[np.float32]], device: str
) -> dict[str, Outcome] | str:
    """Load a file in another process and run it on inputs.

    Args:
        path: TorchScript file.
        inputs: (column, feature) by name.
        device: where to run it.

    Returns:
        The outcome of every input by name, or why there is none.
    """
    given = io.BytesIO()
    np.savez(given, allow_pickle=False, **inputs)
    # Without -P the folder of this file would be searched for modules first.
    command = [sys.executable, "-P", __file__, str(path), device, str(SECONDS)]
    child = subprocess.run(command, input=given.getvalue(), capture_output=True, check=False)
    if child.returncode == -signal.SIGALRM:
        return f"no answer within {SECONDS} s"
    if child.returncode < 0:
        return f"a crash ({signal.Signals(-child.returncode).name})"
    if child.returncode:
        lines = child.stderr.decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "an error").strip()
    answers = json.loads(child.stdout)
    return {name: Outcome(tuple(shape), found) for name, (shape, found) in answers.items()}


def main(path: str, device: str, seconds: str) -> None:
    """Try a file, in the process that `try_file` starts."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What the model itself prints is no part of the answer.
    signal.alarm(int(seconds))  # Ends the process wherever it is.
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as given:
        inputs = {name: torch.as_tensor(given[name]).to(device) for name in given.files}
    module = load_script(path, device)
    outcomes = {name: outcome_of(module, x) for name, x in inputs.items()}
    json.dump({name: (o.shape, o.found) for name, o in outcomes.items()}, answer)
    answer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
