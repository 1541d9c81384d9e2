"""What a GPU makes of the project: a device check of eight minutes, without downloads.

Run: ``python scripts/gpu_check.py OUT [--seconds 480] [--members 1 4 16 64] [--cpu]``. It takes the
torch and the JAX that are there. The checks are the parts of `gpu_parts`, each in a process of its
own: they prepare (import, build, compile) side by side, and one at a time measures, while the
others are stopped. The embedded model takes longest to compile, so it prepares first and alone, and
a few parts at a time follow. A part that fails or takes too long does not keep the others.
``OUT/gpu_check.json`` holds every number so far, ``OUT/gpu_check.md`` the tables, and
``OUT/gpu_check.log`` what the parts wrote. ``--cpu`` runs the same parts on the CPU, with small
networks and few steps, to try the script.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gpu_parts import FAILED, RESULT, TRAINING, WAITING, WORK, PartCall, Setting, parts

Table = dict[str, dict[str, float | str]]
"""Values by row and column."""
MEASURING_LIMIT = 60.0
"""Longest time that a part may measure at a stretch [s]."""
LEADING_SHARE = 0.6
"""Share of the time after which the other parts start, even if the leading ones still prepare."""
STATES = ("preparing", "waiting", "measuring", "done", "failed", "took too long", "no time left")


@dataclass
class Part:
    """A part of the check and its process.

    Attributes:
        name: of the part.
        process: that runs it.
        state: of `STATES`.
        since: when that state began, on the clock of `time.monotonic`.
        seconds: spent in each state.
        reason: of a failure.
    """

    name: str
    process: subprocess.Popen[str]
    state: str = "preparing"
    since: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    def enter(self, state: str) -> None:
        """Begin another state."""
        now = time.monotonic()
        self.seconds[self.state] = self.seconds.get(self.state, 0.0) + now - self.since
        self.state, self.since = state, now

    @property
    def alive(self) -> bool:
        """Whether the part is under way."""
        return self.state in STATES[:3]

    @property
    def prepared(self) -> bool:
        """Whether the part has prepared its first measurement, or ended."""
        return self.state != "preparing" or "waiting" in self.seconds

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def end(self, state: str, reason: str = "") -> None:
        """End the process."""
        self.enter(state)
        self.reason = reason
        self.send(signal.SIGKILL)


class Check:
    """Runs the parts and gathers what they measure.

    Args:
        calls: the parts by name, the most valuable first.
        setting: of all of them.
        out: folder of the results.
        side_by_side: parts that are under way at a time, after the leading ones.
        seconds: that the check may take in all.
    """

    def __init__(
        self,
        calls: dict[str, PartCall],
        setting: Setting,
        out: Path,
        side_by_side: int,
        seconds: float,
    ) -> None:
        self.setting, self.out, self.side_by_side = setting, out, side_by_side
        self._to_start, self._calls = list(calls), calls
        self._begin = time.monotonic()
        self._deadline = self._begin + seconds
        self._lead_ends = self._begin + LEADING_SHARE * seconds
        self._lines: queue.Queue[tuple[Part, str | None]] = queue.Queue()
        self._parts: list[Part] = []
        self._results: dict[str, Table] = {}
        self._log = (out / "gpu_check.log").open("w", buffering=1)

    def run(self) -> None:
        """Run all parts, as far as the time goes.

        Raises:
            KeyboardInterrupt: after an interrupt, once no part runs and what was measured is saved.
        """
        from climsim.interrupts import interrupted, on_interrupt

        try:
            with on_interrupt(interrupted):
                self._run_parts()
        finally:
            for part in self._parts:
                if part.alive:
                    part.end("no time left")
            self.save()

    def _run_parts(self) -> None:
        while self._to_start or any(part.alive for part in self._parts):
            if time.monotonic() > self._deadline:
                break
            self._start_more()
            self._take_lines()
            self._end_slow()
            self._let_one_measure()

    def _next_may_start(self) -> bool:
        """Whether there is room: beside a leading part that prepares, for leading ones alone."""
        if not self._to_start:
            return False
        if self._calls[self._to_start[0]].leading:
            return True
        leading = [part for part in self._parts if self._calls[part.name].leading]
        led = all(part.prepared for part in leading) or time.monotonic() > self._lead_ends
        return led and sum(part.alive for part in self._parts) < self.side_by_side

    def _start_more(self) -> None:
        while self._next_may_start():
            name = self._to_start.pop(0)
            script = Path(__file__).with_name("gpu_parts.py")
            asked = {"setting": asdict(self.setting), "call": asdict(self._calls[name])}
            process = subprocess.Popen(
                [sys.executable, str(script), name, json.dumps(asked)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            part = Part(name, process)
            self._parts.append(part)
            threading.Thread(target=self._read, args=(part,), daemon=True).start()

    def _read(self, part: Part) -> None:
        assert part.process.stdout is not None
        for line in part.process.stdout:
            self._lines.put((part, line.rstrip("\n")))
        self._lines.put((part, None))

    def _take_lines(self) -> None:
        """Take some of what the parts said, or wait a moment for it."""
        with contextlib.suppress(queue.Empty):
            for _ in range(100):
                self._take(*self._lines.get(timeout=0.05))

    def _take(self, part: Part, line: str | None) -> None:
        if not part.alive or line == "":
            return
        if line is None:
            code = part.process.wait()
            part.end("failed" if code else "done", part.reason or (f"exit {code}" if code else ""))
        elif line == WAITING:
            part.enter("waiting")
        elif line.startswith(RESULT):
            table, row, values = json.loads(line.removeprefix(RESULT))
            self._results.setdefault(table, {}).setdefault(row, {}).update(values)
            part.enter("preparing")
        elif line.startswith(FAILED):
            part.reason = line.removeprefix(FAILED)
        else:
            self._log.write(f"[{time.monotonic() - self._begin:6.1f}] {part.name}: {line[:500]}\n")
            return
        now = time.monotonic() - self._begin
        print(f"[{now:6.1f}] {part.name}: {part.state} {(line or part.reason)[:300]}", flush=True)
        self.save()

    def _end_slow(self) -> None:
        for part in self._parts:
            if part.state == "measuring" and time.monotonic() - part.since > MEASURING_LIMIT:
                part.end("took too long", f"measured for more than {MEASURING_LIMIT:.0f} s")

    def _let_one_measure(self) -> None:
        """Give the machine to the first part that waits for it, or to all that prepare."""
        if any(part.state == "measuring" for part in self._parts):
            return
        ready = [part for part in self._parts if part.state == "waiting"]
        others = [part for part in self._parts if part.state == "preparing"]
        for part in others:
            part.send(signal.SIGSTOP if ready else signal.SIGCONT)
        if ready:
            first = ready[0]
            first.enter("measuring")
            assert first.process.stdin is not None
            first.process.stdin.write("go\n")
            first.process.stdin.flush()

    def _add_shares(self) -> None:
        """Best training rate by precision as a share of the peak; backward counts twice."""
        peaks = self._results.get("Machine", {}).get("all", {})
        for row in self._results.get(TRAINING, {}).values():
            for kind in ("float32", "tf32", "bfloat16"):
                peak, work = peaks.get(f"{kind} [Tflop/s]"), row.get(WORK)
                rates = [x for n, x in row.items() if n.startswith(kind) and isinstance(x, float)]
                if isinstance(peak, float) and isinstance(work, float) and rates:
                    row[f"share of peak, {kind}"] = 3e-3 * work * max(rates) / peak

    def save(self) -> None:
        """Write what there is so far."""
        self._add_shares()
        values = {
            "card": self.setting.device,
            "results": self._results,
            "parts": {
                part.name: {"state": part.state, "reason": part.reason, "seconds": part.seconds}
                for part in self._parts
            },
            "not begun": self._to_start,
            "seconds": time.monotonic() - self._begin,
        }
        (self.out / "gpu_check.json").write_text(json.dumps(values, indent=1))
        (self.out / "gpu_check.md").write_text("\n".join(self._markdown()) + "\n")

    def _markdown(self) -> list[str]:
        """The results as Markdown, a table for each kind."""
        lines: list[str] = []
        for name, rows in self._results.items():
            keys = list(dict.fromkeys(key for row in rows.values() for key in row))
            lines += [f"## {name}", "", "| | " + " | ".join(keys) + " |"]
            lines.append("|---" * (len(keys) + 1) + "|")
            for label, row in rows.items():
                lines.append(f"| {label} | " + " | ".join(_cell(row.get(k)) for k in keys) + " |")
            lines.append("")
        ended = [part for part in self._parts if part.state != "done"]
        lines += [f"- {part.name}: {part.state} {part.reason}" for part in ended]
        return lines + [f"- {name}: not begun" for name in self._to_start]


def _cell(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def main() -> None:
    """Do every check and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--members", type=int, nargs="*", default=(1, 4, 16, 64))
    parser.add_argument("--resolutions", nargs="*", default=("T10", "T21", "T31"))
    parser.add_argument("--only", nargs="*", help="parts whose name begins with one of these")
    parser.add_argument("--side-by-side", type=int, default=6)
    parser.add_argument("--cpu", action="store_true", help="try the script on the CPU")
    parser.add_argument("--reference", type=Path, help="fields_cpu.npz of a run on a CPU")
    parser.add_argument("--cache", type=Path, help="of compiled programs and boundary data")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu_check") as scratch:
        cache = options.cache or Path(scratch) / "cache"
        setting = Setting("cpu" if options.cpu else "cuda", scratch, str(cache))
        calls = parts(tuple(options.resolutions), tuple(options.members))
        if options.reference:
            shutil.copy(options.reference, Path(scratch) / "fields_cpu.npz")
            calls.pop("host on the CPU", None)
        if options.only:
            calls = {n: call for n, call in calls.items() if n.startswith(tuple(options.only))}
        check = Check(calls, setting, options.out, options.side_by_side, options.seconds)
        try:
            check.run()
        except KeyboardInterrupt:
            sys.exit(130)
        for fields in Path(scratch).glob("fields_*.npz"):
            shutil.copy(fields, options.out)
    print((options.out / "gpu_check.md").read_text())


if __name__ == "__main__":
    main()
