"""What a GPU makes of the project: a device check of a few minutes, without downloads.

Run: ``PYTHONPATH=src python scripts/gpu_check.py OUT [--minutes 8] [--members 1 4 16] [--cpu]``. It
takes the torch and the JAX that are there and skips, by name, what the machine cannot do; a check
begins only while there is time. ``OUT/gpu_check.json`` holds every number, ``OUT/gpu_check.md``
the tables. ``--cpu`` runs the same checks on the CPU, with small networks, to try the script.

Checks: the coupler's rules on the device against NumPy (1e-12); a matrix product and the training
of the six networks in float32, TF32 and bfloat16; exported files, at 384 and 21,600 columns, and
how far they are from the same file on the CPU in units of each output's spread; the embedded
model, with full physics and as hybrids, one member and many in one program.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.nn import functional

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from bench_export import make_checkpoint  # noqa: E402
from bench_networks import operations  # noqa: E402
from climsim.export.loading import Emulator, load_emulator  # noqa: E402
from climsim.export.probe import probe_columns  # noqa: E402
from climsim.export.writing import export_model  # noqa: E402
from climsim.networks import NETWORKS, build_network  # noqa: E402

PRECISIONS = ("float32", "tf32", "bfloat16")
SECONDS = 2.0
"""Time that each rate is measured for."""
DAY = 72
"""Steps of a day."""


@dataclass
class Check:
    """What is measured, and with what.

    Attributes:
        device: of torch.
        preset: size of the networks.
        deadline: on the clock of `time.monotonic`; no check begins after it.
        folder: for what the checks write.
        results: by check.
        skipped: why a check gave nothing, by check.
    """

    device: str
    preset: str
    deadline: float
    folder: Path
    results: dict[str, object] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def run(self, name: str, work: Callable[[Check], object]) -> None:
        """Do one check; whatever ends it, the others go on."""
        if time.monotonic() > self.deadline:
            self.skipped[name] = "no time left"
            return
        start = time.monotonic()
        try:
            self.results[name] = work(self)
        except Exception as error:
            self.skipped[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        spent = time.monotonic() - start
        print(f"{name}: {self.skipped.get(name, 'done')} ({spent:.0f} s)", flush=True)
        self.save()

    def save(self) -> None:
        """Write what there is so far."""
        values = {"device": about(self.device), "results": self.results, "skipped": self.skipped}
        (self.folder / "gpu_check.json").write_text(json.dumps(values, indent=1))
        (self.folder / "gpu_check.md").write_text("\n".join(tables(values)) + "\n")


def about(device: str) -> dict[str, str]:
    """Names and versions of what the numbers belong to."""
    card = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    found = {"card": card, "torch": torch.__version__}
    try:
        import jax

        found |= {"jax": jax.__version__, "jax devices": str(jax.devices())}
    except (ImportError, RuntimeError) as error:
        found["jax"] = f"none ({error})"
    return found


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def rate(work: Callable[[], object], amount: float, device: str) -> float:
    """Amount of work per second, after three calls that do not count."""
    for _ in range(3):
        work()
    synchronize(device)
    start, done = time.perf_counter(), 0.0
    while time.perf_counter() - start < SECONDS:
        for _ in range(3):
            work()
        done += 3 * amount
        synchronize(device)
    return done / (time.perf_counter() - start)


@contextmanager
def precision(name: str, device: str) -> Iterator[None]:
    """Compute float32 products as float32, TF32, or everything fit for it in bfloat16."""
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    with torch.autocast(device, torch.bfloat16, enabled=name == "bfloat16"):
        yield
    torch.set_float32_matmul_precision("highest")


def rules(check: Check) -> dict[str, float]:
    """Largest relative difference of the coupler's output on the device from NumPy's."""
    from climsim.online.coupler import couple, split_output
    from climsim.runs.coupling import CouplerOptions
    from climsim.variables import OUTPUTS
    from tests.online.toy_host import COLUMNS, LEVELS, ToyHost, toy_grid

    result, grid = ToyHost().step_physics(), toy_grid()
    size = OUTPUTS.size(LEVELS)
    output = np.random.default_rng(1).normal(0, 1e-5, (COLUMNS, size)).astype(np.float32)
    there = {n: torch.as_tensor(np.array(x), device=check.device) for n, x in result.inputs.items()}
    handed = [
        couple(
            split_output(values, LEVELS), inputs, grid.interface_pressure(inputs["state_ps"]),
            CouplerOptions(), 3,
        )
        for inputs, values in (
            (result.inputs, output),
            (there, torch.as_tensor(output, device=check.device)),
        )
    ]  # fmt: skip
    worst = max(
        float(np.abs(handed[1].tendencies[n].cpu().numpy() - x).max() / (np.abs(x).max() + 1e-30))
        for n, x in handed[0].tendencies.items()
    )
    if worst > 1e-12:
        raise ValueError(f"the rules differ by {worst:g} from NumPy's, expected 1e-12 at most")
    return {"largest relative difference": worst}


def networks(check: Check) -> dict[str, dict[str, float]]:
    """Samples/s of a bare training loop and columns/s of inference, by network and precision."""
    batch, found = (1024 if check.device == "cuda" else 64), {}
    limits = cast(dict[str, float], check.results.get("peak [Gop/s]", {}))
    for name in NETWORKS.names():
        if time.monotonic() > check.deadline:
            break
        torch.manual_seed(7)
        network = build_network(name, preset=check.preset)
        work = operations(network)
        network = network.to(check.device).train()
        x = torch.randn(batch, network.n_inputs, device=check.device)
        y = torch.randn(batch, network.n_outputs, device=check.device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
        found[name] = {"Gop a column": work}

        def train_step(
            network: torch.nn.Module = network,
            x: torch.Tensor = x,
            y: torch.Tensor = y,
            optimizer: torch.optim.Optimizer = optimizer,
        ) -> None:
            optimizer.zero_grad(set_to_none=True)
            functional.huber_loss(network(x), y).backward()
            optimizer.step()

        for kind in PRECISIONS:
            if kind == "tf32" and check.device != "cuda":
                continue
            with precision(kind, check.device):
                speed = rate(train_step, batch, check.device)
            found[name][f"training {kind}"] = speed
            if limits:
                # Backward costs twice the forward step.
                found[name][f"share of peak {kind}"] = 3 * work * speed / limits[kind]
    return found


def peak(check: Check) -> dict[str, float]:
    """Gop/s of a large matrix product, by precision."""
    n = 8192 if check.device == "cuda" else 1024
    a, found = torch.randn(n, n, device=check.device), {}
    for kind in PRECISIONS:
        if kind == "tf32" and check.device != "cuda":
            continue
        with precision(kind, check.device), torch.inference_mode():
            found[kind] = rate(lambda: a @ a, 2e-9 * n**3, check.device)
    return found


def exported(check: Check) -> dict[str, dict[str, float]]:
    """Columns/s of exported files, and how far they are from the same file on the CPU."""
    found = {}
    options = argparse.Namespace(recipe="standard", preset=check.preset)
    for name in NETWORKS.names():
        if time.monotonic() > check.deadline:
            break
        path = check.folder / f"{name}.pt"
        export_model(make_checkpoint(name, check.folder, options), path)
        on_cpu, there = load_emulator(path), load_emulator(path, check.device)
        columns = probe_columns(on_cpu.inputs, on_cpu.n_levels, 384).numpy()
        expected, output = on_cpu(columns), there(columns)
        error = float((np.abs(output - expected).max(0) / (expected.std(0) + 1e-30)).max())
        found[name] = {"difference from CPU": error}
        for count in (384, 21600) if check.device == "cuda" else (384,):
            found[name][f"{count} columns"] = emulator_rate(there, count, check.device)
    return found


def emulator_rate(emulator: Emulator, columns: int, device: str) -> float:
    """Columns/s of an exported model on tensors that are on the device already."""
    x = probe_columns(emulator.inputs, emulator.n_levels, columns).to(device)

    def run() -> None:
        with torch.inference_mode():
            emulator.module(x)

    return rate(run, columns, device)


def embedded(resolution: str, counts: tuple[int, ...]) -> Callable[[Check], dict[str, float]]:
    """Simulated years a day of the embedded model: full physics, and hybrids together.

    Args:
        resolution: of the embedded model.
        counts: of members in one program.
    """

    def work(check: Check) -> dict[str, float]:
        from climsim.hosts import build_host
        from climsim.online.ensemble import EnsembleConfig, run_ensemble

        host, found = build_host("gcm", {"resolution": resolution}), {}
        host.step_physics()
        host.inputs()
        steps, start = 12, time.perf_counter()
        for _ in range(steps):
            host.step_physics()
        found["full physics"] = _years_a_day(steps, time.perf_counter() - start)
        for count in counts:
            if time.monotonic() > check.deadline:
                break
            folder = Path(tempfile.mkdtemp(dir=check.folder))
            report = run_ensemble(
                EnsembleConfig(
                    case="check", folder=folder, days=1.0, host="gcm", together=max(2, count),
                    host_options={"resolution": resolution}, seeds=tuple(range(count)),
                    model=check.folder / "unet.pt", restart_days=10.0,
                )
            )  # fmt: skip
            record = report.records[0]
            years = record.sypd or 0.0
            found[f"{count} together, each"] = years
            found[f"{count} together, in all"] = years * count
            for part, seconds in record.timing.seconds.items():
                found[f"{count} together, {part} [ms a step]"] = 1e3 * seconds / record.timing.steps
        return found

    return work


def _years_a_day(steps: int, seconds: float) -> float:
    return steps / DAY / 365.0 * 86400.0 / seconds


def tables(values: dict[str, dict[str, object]]) -> list[str]:
    """The results as Markdown, a table for each check."""
    lines = [", ".join(f"{k} {v}" for k, v in values["device"].items()), ""]
    for name, result in values["results"].items():
        assert isinstance(result, dict)
        lines += [f"## {name}", ""]
        rows = result if all(isinstance(v, dict) for v in result.values()) else {"": result}
        keys = list(dict.fromkeys(key for row in rows.values() for key in row))
        lines += ["| | " + " | ".join(keys) + " |", "|---" * (len(keys) + 1) + "|"]
        for label, row in rows.items():
            cells = " | ".join(f"{row[key]:.4g}" if key in row else "" for key in keys)
            lines.append(f"| {label} | {cells} |")
        lines.append("")
    lines += [f"- {name}: skipped, {reason}" for name, reason in values["skipped"].items()]
    return lines


def main() -> None:
    """Do every check and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--members", type=int, nargs="+", default=(1, 4, 16))
    parser.add_argument("--resolutions", nargs="*", default=("T10", "T21", "T31"))
    parser.add_argument("--cpu", action="store_true", help="try the script on the CPU")
    options = parser.parse_args()
    if not options.cpu and not torch.cuda.is_available():
        sys.exit("gpu_check: expected a GPU that torch can use, found none: add --cpu to try it")
    options.out.mkdir(parents=True, exist_ok=True)
    device, preset = ("cpu", "small") if options.cpu else ("cuda", "published")
    deadline = time.monotonic() + 60 * options.minutes
    check = Check(device, preset, deadline, options.out)
    check.run("rules of the coupler", rules)
    check.run("peak [Gop/s]", peak)
    check.run("networks [samples/s]", networks)
    check.run("exported files [columns/s]", exported)
    for resolution in options.resolutions:
        counts = tuple(options.members)
        check.run(f"embedded model {resolution} [years a day]", embedded(resolution, counts))
    print((options.out / "gpu_check.md").read_text())


if __name__ == "__main__":
    main()
