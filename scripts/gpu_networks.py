"""The parts of `gpu_check` on networks: training, exported files, and training from a store."""

from __future__ import annotations

import argparse
import copy
import gc
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench_export import LEVELS, make_checkpoint
from bench_networks import operations
from bench_training import STATISTICS, make_store
from climsim.data.reading.loader import Batch
from climsim.data.reading.reader import BlockReader
from climsim.data.statistics.statistics import compute_statistics
from climsim.data.store.opened import open_store
from climsim.export.comparison import deviation, relative_difference
from climsim.export.loading import load_emulator
from climsim.export.probe import probe_columns
from climsim.export.writing import export_model
from climsim.losses import RecipeLoss
from climsim.networks import build_network
from climsim.training.build import build_module
from climsim.training.config import (
    NetworkConfig,
    OptimizerConfig,
    TrainConfig,
    TrainDataConfig,
    TrainerConfig,
)
from climsim.training.optimization import build_optimizer
from climsim.training.run import train
from gpu_parts import FILES, TRAINING, WORK, Enough, Setting, Values, Work, precision

Run = Callable[[Tensor], Tensor]
KINDS = ("bfloat16", "tf32")
WAYS = (
    ("compiled", "default", KINDS),
    ("compiled, graphs", "reduce-overhead", KINDS[:1]),
)
"""Ways to compile a network: name, mode of torch, precisions."""
WARM = 10
"""First steps of a training that are left out."""


def network(setting: Setting, name: str) -> Work:
    """Training of a network at published size, by precision and way of running."""
    torch.manual_seed(7)
    made = build_network(name, preset=setting.preset)
    flop = operations(made)
    made = made.to(setting.device).train()
    x, y = (
        torch.randn(setting.batch, size, device=setting.device)
        for size in (made.n_inputs, made.n_outputs)
    )
    trial = _Trial(setting, made, x, y)
    yield None
    rates: Values = {WORK: flop}
    for kind in ("float32", *setting.kinds):
        rates[kind] = tried(lambda kind=kind: trial.training_rate(kind, made))
    yield TRAINING, name, rates
    if setting.on_gpu:
        yield from _other_ways(name, trial)


def _other_ways(name: str, trial: _Trial) -> Work:
    """Training as CUDA graphs and compiled."""
    made, setting = trial.network, trial.setting
    yield None
    yield TRAINING, name, {f"{k}, graphs": tried(lambda k=k: trial.graphed_rate(k)) for k in KINDS}
    for way, mode, kinds in WAYS:
        run = torch.compile(made, dynamic=False, mode=mode)
        for kind in kinds:
            with precision(kind, setting.device):
                problem = tried(lambda run=run: run(trial.x).float().mean().backward())
            yield None
            # Others may have held the memory that compiling lacked.
            if not isinstance(problem, str) or "Memory" in problem:
                problem = tried(lambda kind=kind, run=run: trial.training_rate(kind, run))
            yield TRAINING, name, {f"{kind}, {way}": problem}


def tried(work: Callable[[], object]) -> float | str:
    """What a measurement gives, or why it gave nothing."""
    try:
        result = work()
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return result if isinstance(result, float) else 0.0


@dataclass(frozen=True)
class _Trial:
    """A network and a batch on the device."""

    setting: Setting
    network: nn.Module
    x: Tensor
    y: Tensor

    def training_rate(self, kind: str, run: Run, network: nn.Module | None = None) -> float:
        """Samples/s of forward and backward step and AdamW on tensors in memory."""
        trained = (network or self.network).parameters()
        optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=self.setting.on_gpu)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            with precision(kind, self.setting.device):
                output = run(self.x)
            functional.huber_loss(output.float(), self.y).backward()
            optimizer.step()

        return self.setting.rate(step, len(self.x))

    def graphed_rate(self, kind: str) -> float:
        """The same with forward and backward step each replayed as one CUDA graph."""
        with precision(kind, self.setting.device):
            graphed = torch.cuda.make_graphed_callables(copy.deepcopy(self.network), (self.x,))
        return self.training_rate(kind, graphed, graphed)


def exported(setting: Setting, name: str) -> Work:
    """Columns/s of exported files, and how far they are from the float32 file on the CPU."""
    paths = {kind: exported_file(setting, name, kind) for kind in ("float32", "bfloat16")}
    on_cpu = load_emulator(paths["float32"])
    columns = probe_columns(on_cpu.inputs, on_cpu.n_levels, 64)
    expected = torch.from_numpy(on_cpu(columns.numpy()))
    for label, kind in (("float32", "float32"), ("tf32", "float32"), ("bfloat16", "bfloat16")):
        file, found = load_emulator(paths[kind], setting.device), Values()
        yield None
        with precision("float32" if label == "float32" else "tf32", setting.device):
            found |= differences(label, expected, torch.from_numpy(file(columns.numpy())))
            for count in setting.columns:
                found[f"{label}, {count}"] = tried(
                    lambda n=count, file=file: setting.file_rate(file, n)
                )
        yield FILES, name, found


def differences(label: str, expected: Tensor, found: Tensor) -> Values:
    """How far outputs lie from those of the CPU, of the variable that is farthest off.

    Args:
        label: of the precision.
        expected: (column, output feature).
        found: likewise.
    """
    by_variable = deviation(expected, found, LEVELS)
    name = max(by_variable, key=lambda variable: by_variable[variable])
    return {
        f"{label}, r.m.s. from CPU": by_variable[name],
        f"{label}, variable": name,
        f"{label}, largest from CPU": relative_difference(expected, found, LEVELS),
    }


def exported_file(setting: Setting, name: str, kind: str = "float32") -> Path:
    """An exported file of a network with random weights."""
    folder = Path(mkdtemp(dir=setting.scratch))
    options = argparse.Namespace(recipe="standard", preset=setting.preset)
    return export_model(make_checkpoint(name, folder, options), folder / f"{name}.pt", kind)


def store(setting: Setting, name: str) -> Work:
    """Training from a store beside the bare loop on one batch that is already transformed."""
    folder, steps = Path(mkdtemp(dir=setting.scratch)), (40 if setting.on_gpu else 5)
    path = make_store(folder, (steps + 20) * setting.batch // 300 + 12)
    compute_statistics(open_store(path)).save(folder / STATISTICS)
    data = TrainDataConfig(path, folder / STATISTICS, batch_size=setting.batch)
    accelerator = "gpu" if setting.on_gpu else "cpu"
    config = TrainConfig(
        data, folder / "kept", preset=setting.preset, network=NetworkConfig(name),
        optimizer=OptimizerConfig(learning_rate=1e-4),
        trainer=TrainerConfig(
            epochs=1, accelerator=accelerator, precision="float32", compile=False, logger="none"
        ),
    )  # fmt: skip
    batch = next(iter(BlockReader(path, batch_size=setting.batch, drop_last=True)))
    yield None
    with precision("tf32", setting.device):
        bare = _bare_rate(setting, config, batch)
    brought = replace(config, data=replace(data, gpu_share=0.0), out=folder / "brought")
    rates: Values = {"bare loop": bare}
    for label, one in (("kept on the device", config), ("brought by batch", brought)):
        rate = _rate_from_store(setting, one, steps)
        rates |= {label: rate, f"{label} / bare": rate / bare}
    yield "Training from a store [samples/s]", name, rates


def _bare_rate(setting: Setting, config: TrainConfig, batch: Batch) -> float:
    """Samples/s of the same network, loss and optimizer on one transformed batch."""
    module, _ = build_module(config, open_store(config.data.store))
    module = module.to(setting.device)
    loss = RecipeLoss().to(setting.device)
    with torch.no_grad():
        x = module.inputs(batch[0].to(setting.device))
        y = module.targets.encode(batch[1].to(setting.device))
    optimizer = build_optimizer(module.network.parameters(), config.optimizer)

    def step() -> None:
        optimizer.zero_grad()
        loss(module.network(x), y).total.backward()
        optimizer.step()

    return setting.rate(step, len(x))


def _rate_from_store(setting: Setting, config: TrainConfig, steps: int) -> float:
    """Samples/s of `train` after its first steps."""
    marks: list[float] = []

    def report(done: int, total: int) -> None:
        if done in (WARM, WARM + steps):
            setting.synchronize()
            marks.append(time.perf_counter())
        if len(marks) == 2:
            raise Enough

    try:
        train(config, report)
    except Enough:
        return steps * config.data.batch_size / (marks[1] - marks[0])
    raise ValueError(f"the store holds fewer than {WARM + steps} batches")
