"""Which processes the emulated term of a raw record holds, from what its files declare."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from climsim.data.raw.declared import KEEP_APART
from climsim.data.raw.step_file import StepFileError, declared_in
from climsim.data.raw.steps import StepFiles
from climsim.processes import agreed


def settle_processes(files: Sequence[StepFiles]) -> frozenset[str]:
    """Find the processes that the targets of a record hold, from the first step of each folder.

    All other files are compared when they are read, and so is one that cannot be read here.

    Args:
        files: the steps of the record, ascending.

    Returns:
        Names of processes; empty where no file declares any.

    Raises:
        ClimSimError: if folders declare different ones.
    """
    firsts = {step.before.parent: step.before for step in reversed(files)}
    said = {}
    for path in reversed(firsts.values()):
        with suppress(StepFileError):
            said[str(path)] = declared_in(path).emulated_processes
    return agreed(said, KEEP_APART)
