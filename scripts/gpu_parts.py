"""The parts of `gpu_check`: what each prepares while others do too, and measures alone.

A part is a generator. Up to each ``yield None`` it prepares, and after it measures; with
``yield table, row, values`` it gives what it measured, and the machine to the next part.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "benchmarks")]

if TYPE_CHECKING:
    from climsim.export.loading import Emulator

WAITING, RESULT, FAILED = "@wait", "@result ", "@failed "
"""What the lines that are meant for `gpu_check` begin with."""
Values = dict[str, float | str]
Work = Iterator[tuple[str, str, Values] | None]
PUBLISHED = ("unet", "pao_model", "encdec_lstm", "pure_resLSTM", "convnext", "squeezeformer")
STORED = ("unet", "encdec_lstm")
LEADING_MEMBERS = 16
"""Members of the hybrid that prepares first."""
DAY = 72
"""Steps of a day."""
TRAINING, FILES = "Training [samples/s]", "Exported files [columns/s]"
HOST = "Embedded model"
WORK = "Gflop a column"


class Enough(Exception):
    """Ends a run after the measured steps."""


@dataclass(frozen=True)
class Setting:
    """Where the parts run.

    Attributes:
        device: as torch calls it.
        scratch: folder of all parts.
        cache: of compiled programs and boundary data.
    """

    device: str
    scratch: str
    cache: str

    @property
    def on_gpu(self) -> bool:
        """Whether this is more than a trial of the script."""
        return self.device == "cuda"

    @property
    def preset(self) -> str:
        """Size of the networks."""
        return "published" if self.on_gpu else "small"

    @property
    def batch(self) -> int:
        """Samples in a batch of training."""
        return 1024 if self.on_gpu else 32

    @property
    def kinds(self) -> tuple[str, ...]:
        """Precisions beside float32."""
        return ("tf32", "bfloat16") if self.on_gpu else ()

    @property
    def columns(self) -> tuple[int, ...]:
        """Columns that files are run on."""
        return (384, 21600) if self.on_gpu else (64,)

    @property
    def seconds(self) -> float:
        """Time that each rate is measured for."""
        return 0.5 if self.on_gpu else 0.2

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        import torch

        if self.on_gpu:
            torch.cuda.synchronize()

    def rate(self, work: Callable[[], object], amount: float) -> float:
        """Amount of work per second, after three calls that do not count."""
        for _ in range(3):
            work()
        self.synchronize()
        start, done = time.perf_counter(), 0.0
        while time.perf_counter() - start < self.seconds:
            for _ in range(3):
                work()
            done += 3 * amount
            self.synchronize()
        return done / (time.perf_counter() - start)

    def file_rate(self, file: Emulator, columns: int) -> float:
        """Columns/s of an exported file on tensors that are there."""
        import torch

        from climsim.export.probe import probe_columns

        x = probe_columns(file.inputs, file.n_levels, columns).to(self.device)
        with torch.no_grad():
            return self.rate(lambda: file.module(x), columns)


@contextmanager
def precision(name: str, device: str) -> Iterator[None]:
    """Compute float32 products as float32, TF32, or everything fit for it in bfloat16."""
    import torch

    torch.set_float32_matmul_precision("highest" if name == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = name != "float32"
    # Without its cache, as a graph must not hold casts of weights that change.
    with torch.autocast(device, torch.bfloat16, name == "bfloat16", cache_enabled=False):
        yield


def machine(setting: Setting) -> Work:
    """Names and versions, and the rates of a large matrix product and of copies."""
    import jax
    import torch

    from climsim.hosts.gcm.compilation import select_device

    select_device("auto")
    card = torch.cuda.get_device_name() if setting.on_gpu else "CPU"
    about: Values = {"card": card, "python": sys.version.split()[0], "torch": torch.__version__}
    about |= {
        "jax": jax.__version__,
        "jax devices": str(jax.devices()),
        "cores": os.cpu_count() or 0,
    }
    yield None
    n = 8192 if setting.on_gpu else 512
    a = torch.randn(n, n, device=setting.device)
    for kind in ("float32", "tf32", "bfloat16"):
        with precision(kind, setting.device), torch.inference_mode():
            about[f"{kind} [Tflop/s]"] = setting.rate(lambda: a @ a, 2e-12 * n**3)
    about["copy [TB/s]"] = setting.rate(lambda: a.clone(), 8e-12 * n * n)
    yield "Machine", "all", about


def rules(setting: Setting) -> Work:
    """How far what the coupling computes on the device is from NumPy's."""
    import numpy as np
    import torch

    from climsim.constants import E3SM
    from climsim.online.budget import step_budgets
    from climsim.online.coupler import couple, split_output
    from climsim.online.fields import history_fields
    from climsim.physics.air import Air
    from climsim.runs.coupling import CouplerOptions
    from climsim.variables import OUTPUTS
    from tests.online.toy_host import COLUMNS, LEVELS, ToyHost, toy_grid

    result, grid = ToyHost().step_physics(), toy_grid()
    size = OUTPUTS.size(LEVELS)
    output = np.random.default_rng(1).normal(0, 1e-5, (COLUMNS, size)).astype(np.float32)

    def there(fields: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {n: torch.as_tensor(np.array(x), device=setting.device) for n, x in fields.items()}

    def all_of(convert: Callable[..., object]) -> dict[str, dict[str, object]]:
        parts = (result.inputs, result.tendencies, result.surface, result.diagnostics)
        step = type(result)(result.date, *(convert(part) for part in parts))
        values = convert({"output": output})["output"]
        air = Air.of(step.inputs, grid, E3SM)
        handed = couple(split_output(values, LEVELS), step.inputs, air, CouplerOptions(), 3)
        return {
            "rules of the coupler": {**handed.tendencies, **handed.surface},
            "history fields": history_fields(step, air),
            "budgets": step_budgets(step, air.columns),
        }

    yield None
    expected, found = all_of(lambda fields: fields), all_of(there)
    # A budget that closes leaves rounding alone: its size is that of the terms without the fluxes.
    still = replace(result, surface={n: 0.0 * x for n, x in result.surface.items()})
    sizes = {**expected, "budgets": step_budgets(still, Air.of(still.inputs, grid, E3SM).columns)}
    for kind, fields in expected.items():
        worst = max(
            float(np.abs(found[kind][n].cpu().numpy() - x).max())
            / (float(np.abs(sizes[kind][n]).max()) + 1e-30)
            for n, x in fields.items()
        )
        yield "Device against NumPy", kind, {"largest relative difference": worst, "limit": 1e-12}
        yield None
    for name, wrong in exchange_faults(setting).items():
        yield "Device against NumPy", f"exchange: {name}", {"wrong values": wrong}
        yield None


def exchange_faults(setting: Setting) -> dict[str, float]:
    """Values that differ after they went from JAX to torch and back, by kind of array."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import torch

    from climsim.hosts.gcm.compilation import select_device
    from climsim.hosts.gcm.exchange import from_field, tensor_fields

    select_device("auto" if setting.on_gpu else "cpu")
    base = jnp.arange(24000.0).reshape(40, 600)
    arrays = {
        "float32": base, "int32": base.astype(jnp.int32), "bool": base % 3 == 0,
        "transposed": base.T, "of vmap": jax.vmap(lambda x: x[::2] * 2.0)(base),
    }  # fmt: skip
    faults = {}
    for name, values in arrays.items():
        tensor = tensor_fields({"x": values})["x"]
        back = from_field(tensor)
        faults[name] = float(np.sum(np.asarray(back) != np.asarray(values).astype(np.float32)))
    step = jax.jit(lambda x: jnp.sin(x) + 1.0)
    x = torch.full((512, 2048), 0.5, device=setting.device)
    expected, wrong = np.float32(0.5), 0
    for number in range(300 if setting.on_gpu else 10):
        for _ in range(20):  # work that the next program of JAX has to wait for
            x = x * 1.0
        x = tensor_fields({"x": step(from_field(x))})["x"]
        expected = np.sin(expected) + np.float32(1.0)
        if number % 50 == 49:
            wrong += int((x.cpu().numpy() - expected > 1e-4).sum())
    return faults | {"order of the streams": float(wrong)}


@dataclass(frozen=True)
class PartCall:
    """What a part is made of.

    Attributes:
        module: beside this one, that has its function.
        function: of the setting and the arguments.
        arguments: beside the setting.
        leading: whether it prepares before the others start.
    """

    module: str
    function: str
    arguments: tuple[str | int, ...] = ()
    leading: bool = False


def parts(resolutions: tuple[str, ...], members: tuple[int, ...]) -> dict[str, PartCall]:
    """All parts by name: the leading ones, then the most valuable first."""
    host, networks = "gpu_host", "gpu_networks"
    embedded, coarsest = {}, resolutions[:1]
    for resolution in resolutions:
        leads = resolution in coarsest
        embedded[f"host {resolution}"] = PartCall(host, "full_physics", (resolution,), leads)
        chosen = members if leads else [n for n in (1, LEADING_MEMBERS) if n in members]
        embedded |= {
            f"hybrid {resolution} {n}": PartCall(
                host, "hybrid", (resolution, n), leads and n == LEADING_MEMBERS
            )
            for n in chosen
        }
    found = {n: PartCall("gpu_parts", n, leading=True) for n in ("machine", "rules")}
    found |= {n: call for n, call in embedded.items() if call.leading}
    found |= {f"store {n}": PartCall(networks, "store", (n,)) for n in STORED}
    found |= {f"network {n}": PartCall(networks, "network", (n,)) for n in PUBLISHED}
    found |= {f"exported {n}": PartCall(networks, "exported", (n,)) for n in PUBLISHED}
    if coarsest:
        found["host on the CPU"] = PartCall(host, "full_physics", (*coarsest, "cpu"))
    return {**found, **embedded}


def say(line: str) -> None:
    """Write a line for `gpu_check`, whatever a library left without an end before it."""
    sys.stdout.write(f"\n{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Run one part, as `gpu_check` asks for it."""
    name, asked = sys.argv[1], json.loads(sys.argv[2])
    setting, call = Setting(**asked["setting"]), PartCall(**asked["call"])
    os.environ.setdefault("OMP_NUM_THREADS", "4")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{setting.scratch}/compiled {name}"
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "4"
    try:
        work = getattr(importlib.import_module(call.module), call.function)
        for step in work(setting, *call.arguments):
            if step is None:
                say(WAITING)
                sys.stdin.readline()
            else:
                say(RESULT + json.dumps(step))
    except Exception as error:
        traceback.print_exc()
        say(f"{FAILED}{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        sys.exit(1)


if __name__ == "__main__":
    main()
