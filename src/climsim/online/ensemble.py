"""Members of an ensemble: every model from every perturbed start, several side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import SynchronizedArray

from climsim.allocation import keep_freed_memory
from climsim.errors import members_failed
from climsim.files import leaving_no_empty_folder
from climsim.hosts import batch_runner, require_taken
from climsim.interrupts import on_interrupt
from climsim.log import LogChoice, follow_log, log_choice
from climsim.online.config import EnsembleConfig
from climsim.online.run import require_files, run_online, run_together, steps_done
from climsim.plugins import clear_error
from climsim.products import Kind, claim
from climsim.runs.config import RunConfig
from climsim.runs.record import RUN, RunRecord
from climsim.stage import Progress
from climsim.threads import THREADS, thread_count

__all__ = ["EnsembleConfig", "EnsembleReport", "run_ensemble"]
_INTERRUPTED = 130
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class EnsembleReport:
    """How the members ended.

    Attributes:
        records: of the members, in order.
    """

    records: tuple[RunRecord, ...]

    def __str__(self) -> str:
        states = Counter(record.status for record in self.records)
        endings = ", ".join(f"{count} {status}" for status, count in states.items())
        return f"{len(self.records)} members: {endings}"


def run_ensemble(config: EnsembleConfig, progress: Progress | None = None) -> EnsembleReport:
    """Run every member; a second call continues those that are not complete.

    Members of a host that is stepped from here run in processes of their own, which share the
    cores and the compiled programs on disk, or several in one program. A member that fails does
    not stop the others, unless they share its program.

    Args:
        config: of the ensemble.
        progress: called with (steps done, steps in all), over all members.

    Returns:
        The records of the members.

    Raises:
        ClimSimError: once all have ended, if some failed.
        KeyboardInterrupt: after an interrupt, once every member can be continued.
    """
    members = config.members()
    claim(config.folder, _ensemble_of(members), key="folder")
    require_taken(config.host, config)
    runner = batch_runner(config.host)
    if runner is not None:
        return EnsembleReport(tuple(runner.run_members(members)))
    for member in members:
        require_files(member)
    # Members that are all refused leave none of theirs; this one is that of all.
    with leaving_no_empty_folder(config.folder):
        if config.together > 1:
            return _in_one_program(members, config.together, progress)
        return _side_by_side(config, members, progress)


def _side_by_side(
    config: EnsembleConfig, members: Sequence[RunConfig], progress: Progress | None
) -> EnsembleReport:
    """Run members in processes of their own, as many at a time as there are cores."""
    cores = len(os.sched_getaffinity(0))
    parallel = min(config.parallel or cores, len(members))
    threads = config.threads or max(1, thread_count() // parallel)
    with _environment(THREADS, str(threads)):
        errors = _SideBySide(members, parallel, progress).run()
    if errors:
        raise members_failed(errors, len(members))
    return EnsembleReport(tuple(RunRecord.open(member.folder) for member in members))


def _in_one_program(
    members: Sequence[RunConfig], together: int, progress: Progress | None
) -> EnsembleReport:
    """Run members in groups that have come equally far, one group after another."""
    by_steps: dict[int, list[RunConfig]] = {}
    for member in members:
        by_steps.setdefault(steps_done(member.folder), []).append(member)
    groups = [
        alike[start : start + together]
        for _, alike in sorted(by_steps.items())
        for start in range(0, len(alike), together)
    ]
    for number, group in enumerate(groups):

        def of_all(done: int, total: int, before: int = number) -> None:
            if progress is not None:
                progress(before * total + done, len(groups) * total)

        run_together(group, of_all)
    return EnsembleReport(tuple(RunRecord.open(member.folder) for member in members))


def _ensemble_of(members: Sequence[RunConfig]) -> Kind:
    """The folder of these members, or of other runs; a member that was cut off may have no record.

    Args:
        members: of the ensemble.
    """
    return Kind(
        "a folder of online runs",
        lambda path: any(RUN.recognizes(run) for run in path.iterdir() if run.is_dir()),
        is_folder=True,
        scaffold=tuple(member.folder.name for member in members),
    )


@dataclass(frozen=True)
class _Running:
    """A member under way: its number, process, and the end of a pipe for its error."""

    index: int
    process: SpawnProcess
    errors: Connection


class _SideBySide:
    """Runs members in processes of their own, a number of them at a time.

    Args:
        members: their configurations.
        parallel: how many run at a time.
        progress: called with (steps done, steps in all).
    """

    def __init__(
        self, members: Sequence[RunConfig], parallel: int, progress: Progress | None
    ) -> None:
        self.members, self.parallel, self.progress = members, parallel, progress
        # Spawned, not forked: a fork of a process that holds JAX's or torch's threads may hang.
        self.context = multiprocessing.get_context("spawn")
        self.counts = self.context.Array("q", 2 * len(members))
        self.running: list[_Running] = []
        self.errors: dict[str, str] = {}
        self.stopped = False

    def run(self) -> dict[str, str]:
        """Run all.

        Returns:
            What went wrong, by name of the member.
        """
        waiting = list(range(len(self.members)))
        with on_interrupt(self._stop):
            while self.running or (waiting and not self.stopped):
                while waiting and len(self.running) < self.parallel and not self.stopped:
                    self._start(waiting.pop(0))
                wait([r.process.sentinel for r in self.running], timeout=_POLL_SECONDS)
                self._collect()
        if self.stopped:
            raise KeyboardInterrupt
        return self.errors

    def _start(self, index: int) -> None:
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=_run_member,
            args=(self.members[index], index, self.counts, sender, log_choice()),
        )
        process.start()
        sender.close()
        self.running.append(_Running(index, process, receiver))
        # An interrupt while it was started did not find it among those that run.
        if self.stopped:
            process.terminate()

    def _collect(self) -> None:
        """Take note of members that ended; report progress."""
        for member in [r for r in self.running if not r.process.is_alive()]:
            self.running.remove(member)
            self._note_ending(member)
        if self.progress is not None:
            totals = self.counts[1::2]
            expected = max(totals) * len(self.members)
            if expected:
                self.progress(sum(self.counts[0::2]), expected)

    def _note_ending(self, member: _Running) -> None:
        code, name = member.process.exitcode, self.members[member.index].case
        self.counts[2 * member.index] = self.counts[2 * member.index + 1]
        if code == _INTERRUPTED:
            self.stopped = True
        elif code and not self.stopped:
            try:
                self.errors[name] = member.errors.recv()
            except EOFError:
                self.errors[name] = f"its process ended with exit code {code}"
        member.errors.close()

    def _stop(self, number: int) -> None:
        """Pass the wish to stop on to the members: each stops after its step."""
        self.stopped = True
        passed = number if number == signal.SIGINT else signal.SIGTERM
        for member in self.running:
            if member.process.pid is not None and member.process.is_alive():
                os.kill(member.process.pid, passed)


def _run_member(
    config: RunConfig,
    index: int,
    counts: SynchronizedArray[int],
    teller: Connection,
    log: LogChoice | None,
) -> None:
    """One member, in a process of its own."""
    # Out of the terminal's group: an interrupt then comes once, from the process that started this.
    os.setpgrp()
    follow_log(log)
    keep_freed_memory()

    def progress(done: int, total: int) -> None:
        counts[2 * index], counts[2 * index + 1] = done, total

    try:
        run_online(config, progress)
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    except (Exception, SystemExit) as error:
        text = str(clear_error(error) or error)
        teller.send(" ".join(text.split()) or type(error).__name__)
        raise SystemExit(1) from None


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for the processes started inside."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
