"""Restart points of a run: everything that continuing exactly needs, whole or absent.

``restart/step-NNNNNNNN/`` holds the host's own restart file, the memory of earlier steps, the sums
of the history streams and the record of that moment. The folder appears by one rename; the older
one is removed only afterwards. ``starts/dayNNNN`` are restart files of the host alone that stay.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climsim.arrays import Array
from climsim.errors import ClimSimError
from climsim.files import atomic_path, remove
from climsim.hosts.base import SteppedHost
from climsim.online.memory import Memory
from climsim.runs.record import RunRecord
from climsim.system import refusal

FOLDER = "restart"
_PREFIX = "step-"
STARTS = "starts"
_HOST, _MEMORY, _HISTORY = "host", "memory.npz", "history.npz"


@dataclass(frozen=True)
class RestartState:
    """What a restart point holds beside the host.

    Attributes:
        record: of the run at that moment.
        memory: of the two steps before.
        history: sums of the history streams, as named arrays.
    """

    record: RunRecord
    memory: Memory
    history: Mapping[str, Array]


def save_restart(folder: Path, host: SteppedHost, state: RestartState) -> Path:
    """Write a restart point and remove older ones.

    Args:
        folder: of the run.
        host: in the state to continue from.
        state: the rest.

    Returns:
        The folder of the restart point.
    """
    points = folder / FOLDER
    path = points / f"{_PREFIX}{state.record.steps:08d}"
    with atomic_path(path) as temporary:
        temporary.mkdir()
        host.save(temporary / _HOST)
        _save_arrays(temporary / _MEMORY, state.memory.to_arrays())
        _save_arrays(temporary / _HISTORY, state.history)
        state.record.save(temporary)
    for other in points.glob(f"{_PREFIX}*"):
        if other != path:
            remove(other)
    return path


def start_of_day(folder: Path, day: int) -> Path:
    """Where a run keeps the restart file of a day, for other runs to start from.

    Args:
        folder: of the run.
        day: days since its start.
    """
    return folder / STARTS / f"day{day:04d}"


def keep_start(folder: Path, host: SteppedHost, day: int) -> None:
    """Write the restart file of a day that stays.

    Args:
        folder: of the run.
        host: in the state of that day.
        day: days since the start of the run.
    """
    with atomic_path(start_of_day(folder, day)) as temporary:
        host.save(temporary)


def _save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    np.savez(path, allow_pickle=False, **arrays)


def is_restart_point(folder: Path) -> bool:
    """Whether a folder is a restart point of a run, and not a run."""
    return folder.parent.name == FOLDER and (folder / _MEMORY).exists()


def latest_restart(folder: Path) -> Path | None:
    """The newest restart point of a run, or None."""
    points = sorted((folder / FOLDER).glob(f"{_PREFIX}*"))
    return points[-1] if points else None


def load_restart(point: Path, host: SteppedHost) -> RestartState:
    """Bring a host back to a restart point.

    Args:
        point: folder of the restart point.
        host: its state is replaced.

    Raises:
        ClimSimError: if the restart point cannot be read.
    """
    try:
        with np.load(point / _MEMORY) as file:
            memory = Memory.from_arrays(dict(file))
        with np.load(point / _HISTORY) as file:
            history = dict(file)
    except (OSError, KeyError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise refusal(error, point) or ClimSimError(
            f"{point}: expected a restart point, found something else ({error}): "
            "delete it; the run then starts again"
        ) from error
    record = RunRecord.open(point)
    host.restore(point / _HOST)
    return RestartState(record, memory, history)
