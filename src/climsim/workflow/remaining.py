"""How long a study still takes: from what all its jobs took and have left, and what waits for what.

A job is expected to take the mean of the finished ones of its rule, or, before one is finished,
what the running ones will have taken. Jobs of one member follow each other, and so do those that
all members share; members run side by side as far as there is room.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What is known of the time of one job.

    Attributes:
        rule: its rule.
        member: its member or reference run; empty for a stage that all share.
        done: whether it is complete.
        seconds: that it took or has taken, None where it has not started [s].
        seconds_left: of a running one at its present rate, None where that is unknown [s].
    """

    rule: str
    member: str
    done: bool
    seconds: float | None
    seconds_left: float | None


def remaining(jobs: Sequence[Work], slots: int) -> tuple[float | None, bool]:
    """Time until a study is complete.

    Args:
        jobs: all of them.
        slots: how many run side by side.

    Returns:
        The time [s], None where nothing is known; and whether it covers every job that is left.
    """
    expected = _expected(jobs)
    if not expected:
        return None, False
    shared, chains, complete = 0.0, defaultdict[str, list[Work]](list), True
    for job in jobs:
        if job.done:
            continue
        complete &= job.seconds_left is not None or job.rule in expected
        if job.member:
            chains[job.member].append(job)
        else:
            shared += _left(job, expected)
    members = [sum(_left(job, expected) for job in chain) for chain in chains.values()]
    longest = max(members, default=0.0)
    return shared + max(longest, sum(members) / max(1, slots)), complete


def _expected(jobs: Sequence[Work]) -> dict[str, float]:
    """Expected time of a job of each rule of which one is done or has a known end."""
    done, running = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for job in jobs:
        if job.done and job.seconds is not None:
            done[job.rule].append(job.seconds)
        elif job.seconds_left is not None:
            running[job.rule].append((job.seconds or 0.0) + job.seconds_left)
    return {rule: sum(times) / len(times) for rule, times in {**running, **done}.items()}


def _left(job: Work, expected: Mapping[str, float]) -> float:
    if job.seconds_left is not None:
        return job.seconds_left
    return max(0.0, expected.get(job.rule, 0.0) - (job.seconds or 0.0))
