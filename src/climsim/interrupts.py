"""Interrupts: what Ctrl-C, a scheduler and a closed terminal ask for, the same everywhere.

The first of them asks to stop in good order. A process may get one request several ways, from a
terminal or a scheduler that signals all processes of a job and from the process that started it;
so a process passes it on as SIGTERM, and SIGTERM after the first request asks for nothing new. A
further Ctrl-C does: to stop at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def on_interrupt(
    request: Callable[[int], None], also: Sequence[signal.Signals] = ()
) -> Iterator[threading.Event]:
    """Call a function at each interrupt that asks for something, and put the old handlers back.

    Signals that the process was started to ignore, as ``nohup`` does, stay ignored. Only the main
    thread of a process receives signals: in any other nothing changes.

    Args:
        request: what to do at a signal, by its number: the first of any kind, or a further SIGINT.
            An exception that it raises stops what runs.
        also: further signals that ask for the same.

    Yields:
        Whether there was one.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handle(number: int, frame: object) -> None:
        if number == signal.SIGINT or not asked.is_set():
            asked.set()
            request(number)

    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in (*heard, *also)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupted(number: int) -> None:
    """Stop what runs as Ctrl-C does, whatever signal asked for it; to give to `on_interrupt`."""
    raise KeyboardInterrupt


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process that stops in good order; pass interrupts on to it.

    Returns:
        Its exit code.

    Raises:
        KeyboardInterrupt: after an interrupt, once it has ended.
    """
    try:
        return process.wait()
    except KeyboardInterrupt:
        stop(process)
        raise


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """Ask a process to stop, again at each further interrupt, and wait until it has ended.

    Args:
        process: with all its children where it leads a process group.
        number: of the signal.
    """
    while process.poll() is None:
        try:
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            process.wait()
        except KeyboardInterrupt:
            continue
