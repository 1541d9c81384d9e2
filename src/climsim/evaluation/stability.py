"""How runs ended, and the fraction of seeds that were still alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from climsim.arrays import Array
from climsim.constants import SECONDS_PER_DAY
from climsim.evaluation.history import RunHistory
from climsim.evaluation.members import Member
from climsim.runs.streams import STREAMS
from climsim.stepping import steps_of

UNSTABLE = "unstable"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: running, interrupted, complete, unstable, failed or unknown.
        days: simulated days; those asked for where all their steps are done.
        days_wanted: days asked for.
        sypd: simulated years per day; NaN where unknown.
    """

    status: str
    days: float
    days_wanted: float
    sypd: float

    @property
    def alive_until(self) -> float:
        """Days after which it was no longer alive; infinite unless it became unstable."""
        return self.days if self.status == UNSTABLE else np.inf


def outcome_of(run: RunHistory) -> Outcome:
    """Read the outcome from the record, or the length of the history where there is none."""
    record = run.record
    periods = [p for stream in STREAMS for p in run.periods(stream)]
    length = (max(p[1] for p in periods) - run.start) / SECONDS_PER_DAY if periods else 0.0
    known = record.get("days")
    days = length if known is None else float(known)
    wanted, dt = float(record.get("days_wanted") or days), float(record.get("dt") or 0.0)
    if dt and steps_of(days, dt) >= steps_of(wanted, dt):
        # What is asked for need not be a whole number of steps.
        days = max(days, wanted)
    sypd = record.get("sypd")
    return Outcome(
        record.get("status") or UNKNOWN,
        days,
        wanted,
        float("nan") if sypd is None else float(sypd),
    )


def alive_fraction(
    members: Sequence[tuple[Member, Outcome]], days: Array
) -> tuple[list[tuple[str, str]], Array]:
    """Fraction of the seeds of each network and recipe that had not become unstable.

    A run that ended early without becoming unstable (killed, still going) says nothing about the
    days it did not reach: it leaves the count there, so the fraction is of the runs that are known.

    Args:
        members: runs and how they ended.
        days: (elapsed,) days since the start.

    Returns:
        The groups (network, recipe), and (group, elapsed); NaN where nothing is known.
    """
    groups = list(dict.fromkeys((m.network, m.recipe) for m, _ in members))
    fraction = np.full((len(groups), days.size), np.nan)
    for i, group in enumerate(groups):
        outcomes = [o for m, o in members if (m.network, m.recipe) == group]
        alive = np.array([days < o.alive_until for o in outcomes])
        known = np.array([(days <= o.days) | (o.status == UNSTABLE) for o in outcomes])
        count = known.sum(axis=0)
        fraction[i] = np.where(
            count > 0, (alive & known).sum(axis=0) / np.maximum(count, 1), np.nan
        )
    return groups, fraction
