"""The parts of `gpu_check` that step the embedded model: its own physics, and hybrids together."""

from __future__ import annotations

import collections
import contextlib
import time
import warnings
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from gpu_parts import DAY, HOST, Enough, Setting, Values, Work

if TYPE_CHECKING:
    import numpy as np

    from climsim.arrays import Fields
    from climsim.hosts.base import SteppedHost
    from climsim.hosts.gcm.host import GcmHost
    from climsim.hosts.members import Members

LIMITS = {"largest": 0.05, "r.m.s.": 1e-3}
"""Differences between devices that rounding explains, in units of the largest value and spread."""
PATIENCE = 150.0
"""Longest wait for another part to compile what this one needs too [s]."""
FEW = 4
"""Members whose files and restart points are written as well."""
WATCHED = (3, 10)
"""Steps done between which waits of torch are counted: hybrid ones, with no look at the bounds."""
FIRST, LAST = 12, 36
"""Steps between which the time is taken; the bounds of the state are looked at after each."""


def build(setting: Setting, resolution: str, device: str = "auto") -> GcmHost:
    """The embedded model at its start state."""
    from climsim.hosts.gcm.config import GcmConfig
    from climsim.hosts.gcm.host import GcmHost

    return GcmHost(
        GcmConfig(resolution=resolution, device=device, cache_folder=Path(setting.cache))
    )


def full_physics(setting: Setting, resolution: str, device: str = "auto") -> Work:
    """Steps of the model's own physics, and one hybrid step to compare the devices by."""
    begun, compiled = markers(setting, resolution)
    if device != "cpu":
        begun.touch()
    start = time.perf_counter()
    host = build(setting, resolution, device)
    pristine = host.another()
    values: Values = {"built [s]": time.perf_counter() - start}
    compare = resolution == "T10"
    given = host.physics()
    fields = {f"physics: {n}": np_of(x) for n, x in {**given.tendencies, **given.surface}.items()}
    if compare:
        host.step_emulated(given.tendencies, given.surface)
        fields |= {f"after a hybrid step: {n}": np_of(x) for n, x in host.inputs().items()}
    values["compiled [s]"] = time.perf_counter() - start - float(values["built [s]"])
    compiled.touch()
    host = pristine
    host.step_physics()
    yield None
    steps = 2 * 3 if setting.on_gpu else 2
    begin = time.perf_counter()
    for _ in range(steps):
        host.step_physics()
    host.health()
    values |= speed((time.perf_counter() - begin) / steps)
    label = f"{resolution} full physics" + (", on the CPU" if device == "cpu" else "")
    yield HOST, label, values
    if compare:
        yield from compared(setting, fields, "cpu" if device == "cpu" else setting.device)


def markers(setting: Setting, resolution: str) -> tuple[Path, Path]:
    """Files that say that full physics is being compiled, and that it is in the cache."""
    first, second = (
        Path(setting.scratch) / f"{word}_{resolution}" for word in ("begun", "compiled")
    )
    return first, second


def np_of(values: object) -> np.ndarray:
    """A copy as an array of NumPy."""
    import numpy as np

    return np.array(values)


def speed(seconds: float, members: int = 1) -> Values:
    """What the seconds of a step mean."""
    years = 86400.0 / DAY / 365.0 / seconds
    return {"step [ms]": 1e3 * seconds, "years a day, each": years, "in all": years * members}


def compared(setting: Setting, fields: dict[str, np.ndarray], device: str) -> Work:
    """Keep the fields of this device, and compare them with those of the other where it is done."""
    import os

    import numpy as np

    places = {name: Path(setting.scratch) / f"fields_{name}.npz" for name in ("cpu", "cuda")}
    part = places[device].with_name(f"part_{device}.npz")
    np.savez_compressed(part, **fields)
    os.replace(part, places[device])
    if not all(place.exists() for place in places.values()):
        return
    one, other = (dict(np.load(place)) for place in places.values())
    worst: dict[str, Values] = {}
    for name, expected in one.items():
        difference = np.abs(other[name] - expected)
        largest = float(difference.max() / (np.abs(expected).max() + 1e-30))
        spread = max(expected.std(), 1e-2 * np.abs(expected).max(), 1e-30)
        rms = float(np.sqrt((difference**2).mean()) / spread)
        kind, _, field = name.partition(": ")
        row = worst.setdefault(kind, {"largest": 0.0, "r.m.s.": 0.0})
        if largest > float(row["largest"]):
            row |= {"largest": largest, "largest in": field}
        if rms > float(row["r.m.s."]):
            row |= {"r.m.s.": rms, "r.m.s. in": field}
    for kind, row in worst.items():
        within = all(float(row[n]) <= limit for n, limit in LIMITS.items())
        yield None
        yield "GPU against CPU", kind, {**row, "within the limits": "yes" if within else "no"}


def hybrid(setting: Setting, resolution: str, count: int) -> Work:
    """Hybrid steps of members in one program: in all, and of host and network alone."""
    from gpu_networks import exported_file

    model = exported_file(setting, "unet")
    calm(model)
    start = time.perf_counter()
    pristine = build(setting, resolution)
    values: Values = {"built [s]": time.perf_counter() - start}
    begun, compiled = markers(setting, resolution)
    while begun.exists() and not compiled.exists() and time.perf_counter() - start < PATIENCE:
        time.sleep(0.5)
    run_members(setting, pristine, count, model, steps=3, marks=[])
    members, given = alone(pristine, count)
    values["compiled [s]"] = time.perf_counter() - start - float(values["built [s]"])
    yield None
    steps = (FIRST, LAST) if setting.on_gpu else (2, 4)
    marks: list[float] = []
    waits = run_members(
        setting, pristine, count, model, steps=steps[1], marks=marks, first=steps[0]
    )
    end = time.perf_counter()
    values |= speed((marks[1] - marks[0]) / (steps[1] - steps[0]), count)
    if count <= FEW:
        values["files and restart [ms]"] = 1e3 * (end - marks[1])
    values["host alone [ms]"] = 1e3 / setting.rate(lambda: members.step_emulated(*given), 1.0)
    values["network alone [ms]"] = 1e3 / network_rate(setting, model, members)
    values["waits of torch"] = waits or "none"
    yield HOST, f"{resolution}, {count} members", values


def calm(path: Path) -> None:
    """Let the outputs of a network with random weights be so small that the model stays stable."""
    import torch

    from climsim.exported_file import METADATA_NAME, metadata_text

    text = metadata_text(path)
    module = torch.jit.load(str(path))
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name.endswith("targets.scale"):
                buffer.mul_(100.0)
    torch.jit.save(module, str(path), _extra_files={METADATA_NAME: text})


def run_members(
    setting: Setting,
    pristine: SteppedHost,
    count: int,
    model: Path,
    steps: int,
    marks: list[float],
    first: int = -1,
) -> str:
    """Run members from the start state.

    Args:
        setting: where.
        pristine: host at its start state, left as it is.
        count: of members.
        model: exported file.
        steps: to be done.
        marks: takes the clock after the first and after the last step.
        first: number of that step.

    Returns:
        Where torch waited for the GPU between two looks at the state, and how often.
    """
    import torch

    from climsim.hosts.members import another
    from climsim.online.run import run_together
    from climsim.runs.config import RunConfig
    from climsim.runs.coupling import CouplerOptions

    places: collections.Counter[str] = collections.Counter()
    done_last = [0]

    def progress(done: int, total: int) -> None:
        done_last[0] = done
        if setting.on_gpu:
            torch.cuda.set_sync_debug_mode(mode_after(done, steps))
        if done in (first, steps):
            setting.synchronize()
            marks.append(time.perf_counter())
        if done == steps and (first < 0 or count > FEW):
            raise Enough

    folder = Path(mkdtemp(dir=setting.scratch))
    configs = [
        RunConfig(
            f"m{number}", folder / str(number), steps / DAY, host="gcm", model=model,
            coupler=CouplerOptions(spinup_steps=1), restart_days=10.0,
        )
        for number in range(count)
    ]  # fmt: skip
    with warnings.catch_warnings(record=True) as caught, contextlib.suppress(Enough):
        warnings.simplefilter("always")
        records = run_together(configs, progress, host=another(pristine))
        print(records[0], records[0].timing, flush=True)
    if done_last[0] < steps:
        raise ValueError(f"the members left their bounds after {done_last[0]} steps")
    for warning in caught:
        if "synchronizing" in str(warning.message):
            places[f"{Path(warning.filename).name}:{warning.lineno}"] += 1
    return ", ".join(f"{place} {number}x" for place, number in places.most_common(8))


def mode_after(done: int, steps: int) -> str:
    """Whether torch warns of waits after so many steps of a run.

    The mode is one of the process: after the last step of a run it is off again, so that what
    another run does before its first step does not count.
    """
    first, last = WATCHED
    return "warn" if first <= done < min(last, steps) else "default"


def alone(pristine: GcmHost, count: int) -> tuple[Members, tuple[Fields, Fields]]:
    """Members after one step of their physics, and an emulated term of zeros for them."""
    from climsim.arrays import namespace
    from climsim.hosts.members import members_of

    members = members_of([pristine.another() for _ in range(count)])
    result = members.step_physics()
    xp = namespace(result.inputs["state_t"])
    zeros = {name: xp.zeros_like(x) for name, x in result.tendencies.items()}
    members.step_emulated(zeros, result.surface)
    return members, (zeros, result.surface)


def network_rate(setting: Setting, model: Path, members: Members) -> float:
    """Calls a second of the model on the columns of all members."""
    from climsim.export.loading import load_emulator

    columns = members.inputs()["state_t"].shape[1]
    return setting.file_rate(load_emulator(model, setting.device), columns) / columns
