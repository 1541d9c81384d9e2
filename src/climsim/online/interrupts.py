"""What an interrupt does while a run must end in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_interrupt(ask: Callable[[], None]) -> Iterator[None]:
    """Call a function at each interrupt or wish to terminate, and put the old handlers back.

    Only the main thread of a process receives signals: in any other nothing changes.

    Args:
        ask: what to do; an exception that it raises stops what runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, lambda *_: ask()) for s in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
