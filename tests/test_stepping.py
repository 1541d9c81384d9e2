"""Work in steps: when it is saved, and how an interrupt ends it."""

import os
import signal

import pytest

from climsim.stepping import Interrupted, advance


class Counter:
    """Counts its steps; at some of them it interrupts its own process or ends."""

    def __init__(self, done=0, interrupt_at=(), end_at=None):
        self.steps_done, self.interrupt_at, self.end_at = done, interrupt_at, end_at
        self.saved = []

    def step(self):
        self.steps_done += 1
        for _ in range(self.interrupt_at.count(self.steps_done)):
            os.kill(os.getpid(), signal.SIGINT)
        return self.steps_done != self.end_at

    def save(self):
        self.saved.append(self.steps_done)


def test_work_is_saved_at_intervals_and_at_its_end():
    work, seen = Counter(), []
    assert advance(work, 7, 3, lambda done, total: seen.append((done, total)))
    assert work.saved == [3, 6, 7]
    assert seen == [(n, 7) for n in range(1, 8)]


def test_resumed_work_does_what_is_left():
    work = Counter(done=5)
    assert advance(work, 7, 3)
    assert work.saved == [6, 7]
    assert advance(work, 7, 3)
    assert (work.steps_done, work.saved) == (7, [6, 7])


def test_work_that_ends_by_itself_is_not_saved_there():
    work = Counter(end_at=4)
    assert not advance(work, 7, 3)
    assert (work.steps_done, work.saved) == (4, [3])


@pytest.mark.parametrize("at", [2, 3])
def test_interrupt_saves_once_after_the_step(at):
    work = Counter(interrupt_at=(at,))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        advance(work, 7, 3)
    assert (work.steps_done, work.saved) == (at, [at])
    assert signal.getsignal(signal.SIGINT) is before


def test_second_interrupt_stops_at_once():
    work = Counter(interrupt_at=(2, 2))
    with pytest.raises(KeyboardInterrupt) as caught:
        advance(work, 7, 3)
    assert caught.type is KeyboardInterrupt
    assert work.saved == []
