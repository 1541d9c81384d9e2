"""A study on one GPU in minutes: data, networks trained at once, exported files and their scores.

Run: ``python scripts/gpu_study.py OUT [--seconds 425] [--starts a.npz b.npz ...]``. The embedded
model runs from many starts in one program, its pairs become a store, and every network is trained
under every recipe at the same time. ``OUT`` gets an archive for each recipe with the exported
files, their offline scores and records, the statistics, and ``study.md`` with the scores. Each
stage has a deadline, and what it has done by then is used. An interrupt stops the stages that run,
and leaves what was packed before.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]
NETWORKS = ("unet", "squeezeformer", "pure_resLSTM", "convnext", "pao_model", "encdec_lstm")
RECIPES = {
    "standard": ("recipe=standard",),
    "steady": ("recipe=steady", "recipe.gravity=9.81"),
}
SHARES = {"data": 0.5, "store": 0.58, "training": 0.88, "export": 0.985}
"""Share of the time at which a stage ends at the latest."""
HELD_OUT = 4
"""Last members that are kept for validation, and as many after them for the test."""
SCORES = ("r2_mean", "r2_mean_ptend_t", "r2_mean_ptend_q0001", "r2_mean_cam_out_NETSW")


class Processes:
    """Processes of the stages, each with what it starts in a group of its own.

    Attributes:
        stopped: whether an interrupt came; after it none is started.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._running: list[subprocess.Popen[bytes]] = []
        # The main thread may be interrupted while it holds the lock.
        self._lock = threading.RLock()

    def start(
        self, command: list[str], log: IO[str], environment: dict[str, str], folder: Path
    ) -> subprocess.Popen[bytes]:
        """Start a command in a folder; what it prints goes to a log.

        Raises:
            KeyboardInterrupt: after an interrupt.
        """
        with self._lock:
            if self.stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )
            self._running.append(process)
            if self.stopped:  # meanwhile
                self.stop()
        return process

    def wait(self, process: subprocess.Popen[bytes], seconds: float) -> int | None:
        """Exit code of a process; None if it was killed after some seconds.

        Raises:
            KeyboardInterrupt: after an interrupt, once the process has ended.
        """
        try:
            code: int | None = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
        with self._lock:
            self._running.remove(process)
        if self.stopped:
            raise KeyboardInterrupt
        return code

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask all that run to stop in good order; to give to `on_interrupt`."""
        self.stopped = True
        with self._lock:
            for process in self._running:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)


@dataclass(frozen=True)
class Study:
    """What is done, where and by when.

    Attributes:
        out: folder of what is to be kept.
        work: folder of what is not.
        begin: of the study, on the clock of `time.time`.
        seconds: that it may take.
        options: of the command line.
        processes: of its stages.
    """

    out: Path
    work: Path
    begin: float
    seconds: float
    options: argparse.Namespace
    processes: Processes = field(default_factory=Processes)

    def deadline(self, stage: str) -> float:
        """When a stage has to end, on the clock of `time.time`."""
        return self.begin + SHARES[stage] * self.seconds

    def say(self, text: str) -> None:
        """Print a line with the time, and keep it."""
        line = f"[{time.time() - self.begin:6.1f}] {text}"
        print(line, flush=True)
        with (self.out / "study.log").open("a") as log:
            log.write(line + "\n")

    def run(self, name: str, command: list[str], deadline: float, **variables: str) -> bool:
        """Run a command in a process of its own until a deadline; whether it ended well."""
        log = self.work / f"{name.replace('/', '-')}.log"
        environment = {**os.environ, "PYTHONPATH": python_path(), **variables}
        with log.open("w") as written:
            process = self.processes.start(command, written, environment, self.work)
            code = self.processes.wait(process, max(1.0, deadline - time.time()))
        text = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        ending = "cut off" if code is None else code
        self.say(f"{name}: {ending}; {text[-1][-300:] if text else ''}")
        return code == 0

    def climsim(self, name: str, *arguments: str, deadline: float, **variables: str) -> bool:
        """Run a command of the package."""
        command = [sys.executable, "-m", "climsim", *arguments]
        return self.run(name, command, deadline, **variables)


def python_path() -> str:
    """Where the processes find the package, and what was given."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(ROOT / "src"), str(ROOT / "scripts"), *([given] if given else [])])


class Enough(Exception):
    """Ends the steps of the model at the deadline; the pairs so far are there."""


def make_data(options: argparse.Namespace) -> None:
    """Write step pairs until the deadline; the process of the first stage.

    Starts may be of another climate of the same model, which restart files of a run may not: they
    become its own first.
    """
    from climsim.hosts.gcm.config import GcmConfig
    from climsim.hosts.gcm.host import GcmHost
    from climsim.online.generate import generate
    from climsim.online.pairs_config import GenerateConfig

    begin = time.time()
    host = GcmHost(GcmConfig(cache_folder=Path(options.cache)))
    pristine, starts = host.another(), []
    for index, given in enumerate(options.starts):
        host.start_from(Path(given))
        starts.append(options.work / f"start-{index}.npz")
        host.save(starts[-1])
    print(f"built in {time.time() - begin:.0f} s", flush=True)
    first: list[float] = []

    def progress(done: int, total: int) -> None:
        first.append(time.time())
        if done == 1 or done % 36 == 0:
            pace = (first[-1] - first[0]) / max(1, done - 1)
            print(f"step {done} of {total}: {1e3 * pace:.0f} ms a step", flush=True)
        if time.time() > options.until:
            raise Enough

    config = GenerateConfig(
        options.work / "raw",
        days=options.days,
        members=options.members,
        starts=tuple(starts),
        start_amplitude=1.0,
        spinup_days=options.spinup,
        stride=options.stride,
        restart_days=options.days,
    )
    try:
        generate(config, progress, pristine)
    except Enough:
        print(f"ended at the deadline after {len(first)} steps", flush=True)


def splits(raw: Path) -> tuple[str, ...]:
    """Keys that give the last members to validation and test, whole."""
    years = [
        int(min(month.name for month in member.iterdir())[:4])
        for member in sorted(raw.glob("member-*"))
    ]
    held = min(HELD_OUT, len(years) // 3) or 1
    parts = {"train": years[: -2 * held], "validation": years[-2 * held : -held]}
    parts["test"] = years[-held:]
    periods = {name: f"{part[0]:04d}-01/{part[-1] + 1:04d}-12" for name, part in parts.items()}
    # The years of the members lie apart, not their weather.
    return ("split.gap_days=0", *(f"split.{name}={period}" for name, period in periods.items()))


def make_store(study: Study) -> bool:
    """Prepare the store and its statistics."""
    raw, end = study.work / "raw", study.deadline("store")
    study.say(f"{sum(1 for _ in raw.rglob('*.mli.*.nc'))} step pairs")
    keys = ("raw=raw", "store=store.zarr", "memory=false", *splits(raw))
    keys += (f"split.validation_stride={study.options.validation_stride}",)
    # Late stages suffer more from a missing store than from less time.
    return study.climsim("prepare", "data", "prepare", *keys, deadline=end + 30) and study.climsim(
        "statistics", "data", "statistics", "store=store.zarr", "out=statistics.nc",
        deadline=end + 45,
    )  # fmt: skip


def train(study: Study, member: tuple[str, str]) -> None:
    """Train one network under one recipe until the deadline."""
    network, recipe = member
    schedule = ROOT / "scripts" / "gpu_study_schedule.py"
    end = study.deadline("training")
    study.climsim(
        f"train-{network}-{recipe}", "train", f"network={network}", *RECIPES[recipe],
        "preset=small", "seed=7", "data.store=store.zarr", "data.statistics=statistics.nc",
        f"data.batch_size={study.options.batch}", f"schedule={schedule}:ByClock",
        "optimizer.learning_rate=1.0e-3", "trainer.epochs=100000", "trainer.gradient_clip=1.0",
        f"trainer.early_stop_step={study.options.batches - 1}", "trainer.logger=none",
        "trainer.compile=false",
        "trainer.keep_best=1", "trainer.save_every_steps=0", f"out={network}-{recipe}",
        deadline=end + 1, STUDY_END=repr(end), OMP_NUM_THREADS="1",
    )  # fmt: skip


def export(study: Study, member: tuple[str, str]) -> None:
    """Export the best checkpoint."""
    name = "-".join(member)
    study.climsim(
        f"export-{name}", "export", f"checkpoint={name}/best.ckpt", f"out={name}.pt",
        deadline=study.deadline("export"), OMP_NUM_THREADS="1",
    )  # fmt: skip


def score(study: Study, member: tuple[str, str]) -> None:
    """Score the exported file offline."""
    name = "-".join(member)
    study.climsim(
        f"score-{name}", "evaluate", "offline", f"model={name}.pt", "store=store.zarr",
        f"stride={study.options.score_stride}", f"out={name}.nc",
        deadline=study.deadline("export"), OMP_NUM_THREADS="1",
    )  # fmt: skip


def scores(path: Path) -> dict[str, float]:
    """Mean R2 of all and by variable, as far as the file has them."""
    if not path.exists():
        return {}
    import xarray as xr

    with xr.open_dataset(path) as file:
        found = {str(n): file[n] for n in file.data_vars if str(n).startswith("r2_mean")}
        return {name: float(value) for name, value in found.items() if value.ndim == 0}


def pack_all(study: Study) -> None:
    """Put the members of each recipe, and the statistics, where they are kept."""
    for recipe in RECIPES:
        pack(study, recipe, tuple(study.options.networks))
    statistics = study.work / "statistics.nc"
    (study.out / statistics.name).write_bytes(statistics.read_bytes())


def pack(study: Study, recipe: str, networks: tuple[str, ...]) -> None:
    """Put what belongs to the members of a recipe into one archive, in place of an earlier one."""
    target = study.out / f"{recipe}.tar.gz"
    with tarfile.open(target.with_suffix(".part"), "w:gz", compresslevel=1) as archive:
        for network in networks:
            name = f"{network}-{recipe}"
            exported, best = f"{name}.pt", f"{name}/best.ckpt"
            # A checkpoint holds all of the file, and more: it comes where there is no file.
            kept = exported if (study.work / exported).exists() else best
            for entry in (kept, f"{name}.nc", f"{name}/training.json"):
                if (study.work / entry).exists():
                    archive.add(study.work / entry, entry)
    target.with_suffix(".part").replace(target)
    size = target.stat().st_size
    study.say(f"{target.name}: {size / 2**20:.1f} MiB")
    if size > study.options.most:
        split(target, study.options.most)


def split(path: Path, most: int) -> None:
    """Cut a file into parts of a size; `cat` joins them."""
    content = path.read_bytes()
    for number, start in enumerate(range(0, len(content), most)):
        path.with_name(f"{path.name}.{number}").write_bytes(content[start : start + most])
    path.unlink()


def write_table(study: Study, found: dict[tuple[str, str], dict[str, float]]) -> None:
    """Write the offline scores as JSON and Markdown."""
    rows = {"-".join(member): values for member, values in found.items()}
    (study.out / "study.json").write_text(json.dumps(rows, indent=1))
    lines = ["| member | " + " | ".join(SCORES) + " |", "|---" * (len(SCORES) + 1) + "|"]
    for name, values in rows.items():
        cells = [f"{values[key]:.3f}" if key in values else "" for key in SCORES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    (study.out / "study.md").write_text("\n".join(lines) + "\n")


def run_study(study: Study) -> None:
    """All stages, one after another, the members of each at once."""
    options = study.options
    until = study.deadline("data")
    own = [f"--{name}={getattr(options, name)}" for name in ("members", "stride", "days", "spinup")]
    study.run(
        "data",
        [sys.executable, __file__, str(study.out), *own, f"--cache={options.cache}",
         f"--until={until!r}", f"--work={study.work}", "--starts", *options.starts],
        until + 20,
    )  # fmt: skip
    if not make_store(study):
        return
    members = [(network, recipe) for recipe in RECIPES for network in options.networks]
    with ThreadPoolExecutor(len(members)) as pool:
        list(pool.map(lambda member: train(study, member), members))
        list(pool.map(lambda member: export(study, member), members))
        # What was trained is safe before anything else is done with it.
        pack_all(study)
        list(pool.map(lambda member: score(study, member), members))
    # Not in those threads: the library of netCDF files may be used by one at a time.
    write_table(study, {(n, r): scores(study.work / f"{n}-{r}.nc") for n, r in members})
    pack_all(study)


def parsed() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=425.0)
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--stride", type=int, default=11, help="no multiple of a radiation call")
    parser.add_argument("--days", type=float, default=60.0, help="at most")
    parser.add_argument("--spinup", type=float, default=1.0, help="days that are not written")
    parser.add_argument("--starts", nargs="*", default=[], help="restart files, taken in turn")
    parser.add_argument("--cache", default="cache", help="compiled programs")
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--batches", type=int, default=120, help="between two validations")
    parser.add_argument("--validation-stride", type=int, default=8)
    parser.add_argument("--score-stride", type=int, default=6)
    parser.add_argument("--most", type=int, default=15 * 2**20, help="bytes of a file of OUT")
    parser.add_argument("--work", type=Path, help="folder of the stages")
    parser.add_argument("--until", type=float, help="run the first stage up to then")
    return parser.parse_args()


def main() -> None:
    """Run the study, or its first stage."""
    options = parsed()
    if options.until is not None:
        make_data(options)
        return
    from climsim.interrupts import on_interrupt

    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    options.cache = str(Path(options.cache).resolve())
    options.starts = [str(Path(start).resolve()) for start in options.starts]
    with tempfile.TemporaryDirectory(prefix="gpu_study", dir=options.work) as work:
        study = Study(options.out, Path(work), time.time(), options.seconds, options)
        try:
            with on_interrupt(study.processes.stop):
                run_study(study)
        except KeyboardInterrupt:
            study.say("stopped")
            sys.exit(130)
        finally:
            with tarfile.open(study.out / "logs.tar.gz", "w:gz") as archive:
                for log in study.work.glob("*.log"):
                    archive.add(log, log.name)
        study.say("done")


if __name__ == "__main__":
    main()
