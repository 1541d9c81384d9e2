"""How far an online run is."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """Status of a run, as its record and every overview spell it."""

    PREPARED = "prepared"
    """A case in batch of which nothing is built yet."""
    CREATED = "created"
    """A case in batch that is built."""
    SUBMITTED = "submitted"
    """A case in batch that waits in the queue, or between two jobs."""
    DRY_RUN = "dry run"
    """Only the commands of a case in batch were shown."""
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Stopped by an interrupt, and saved: a second call resumes it."""
    STOPPED = "stopped"
    """Says that it is running though no process holds its folder."""
    COMPLETE = "complete"
    UNSTABLE = "unstable"
    """Ended by a violated bound, which is a result."""
    FAILED = "failed"
    DAMAGED = "damaged"
    """Its record cannot be read."""
