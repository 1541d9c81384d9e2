"""What waits for what among the jobs of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from climsim.workflow.jobs import Job

_STORE_MARK = "zarr.json"


def awaited(folder: Path, jobs: Sequence[Job]) -> dict[str, list[str]]:
    """Files that each job waits for: marks of what other jobs make, and files that are there.

    Args:
        folder: of the experiment.
        jobs: all of them.

    Returns:
        Paths by the name of the job, in the experiment's folder or absolute.
    """
    marks = {Path(job.product or job.output): job.output for job in jobs}

    def mark(path: Path) -> str | None:
        made = next((marks[p] for p in (path, *path.parents) if p in marks), None)
        there = (path, path / _STORE_MARK)
        return made or next((str(p) for p in there if (folder / p).is_file()), None)

    found = {job.name: [mark(Path(path)) for path in job.inputs] for job in jobs}
    return {name: sorted({path for path in paths if path}) for name, paths in found.items()}


def out_of_reach(folder: Path, jobs: Sequence[Job], failed: set[str]) -> set[str]:
    """Names of the jobs that failed, and of all that follow from them.

    Args:
        folder: of the experiment.
        jobs: all of them, each behind those that it waits for.
        failed: names of those that failed.
    """
    after = awaited(folder, jobs)
    lost, missing = set(failed), {job.output for job in jobs if job.name in failed}
    for job in jobs:
        if not missing.isdisjoint(after[job.name]):
            lost.add(job.name)
            missing.add(job.output)
    return lost
