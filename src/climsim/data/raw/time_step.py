"""The physics time step of a raw record: declared, or found from the spacing of its files.

Tendencies are differences between the two files of a step, divided by the step that the model made
between them. Where every step is there, this is the spacing of the files; where only every n-th was
kept (a download with a stride), the files lie further apart than the model's step, and their
spacing alone cannot tell.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climsim.calendar import to_date
from climsim.constants import TIME_STEP
from climsim.data.raw.declared import TIME_STEP_ATTRIBUTE
from climsim.data.raw.step_file import declared_in
from climsim.data.raw.steps import StepFiles
from climsim.errors import ClimSimError

logger = logging.getLogger(__name__)

VERIFIED = ".climsim-verified"
"""File in a download folder that lists the published files whose hash was compared."""
_PUBLISHED = int(TIME_STEP)
_LEVELS_UP = 4


def settle_time_step(raw: Path, files: Sequence[StepFiles], given: int = 0, stride: int = 1) -> int:
    """Find the physics time step of a record.

    In this order: the key ``time_step``, what the files declare (``time_step_s``), that of the
    published data for files that `climsim data download` verified, the spacing of the files where
    it is uniform. A spacing of several published steps could be either a record with a stride or a
    model with a longer step, so it is refused.

    Args:
        raw: the folder, for messages.
        files: the steps of the record, ascending.
        given: value of the key [s]; 0 where it was not given.
        stride: the record is known to hold every n-th step, n being this number.

    Returns:
        Time step [s].

    Raises:
        ClimSimError: if nothing tells the step, or the steps lie apart by no whole multiple of it.
    """
    seconds = np.array([step.seconds for step in files], dtype=np.int64)
    path = files[0].before
    declared = declared_in(path).time_step
    if declared is not None and not (declared >= 1 and declared.is_integer()):
        raise ClimSimError(
            f"{path}: {TIME_STEP_ATTRIBUTE} is {declared:g}, expected whole seconds: correct it"
        )
    if given and declared not in (None, given):
        raise ClimSimError(
            f"time_step={given}: {path} declares {declared:g} s ({TIME_STEP_ATTRIBUTE}): leave the "
            "key out, or correct the attribute"
        )
    stated = given or int(declared or 0) or (_PUBLISHED if _downloaded(path) else 0)
    step = stated or _spacing(raw, seconds, stride)
    remedy = "give the data's own step (time_step=)"
    if declared is not None:
        remedy = f"correct {TIME_STEP_ATTRIBUTE} in the files, which declares it"
    _check_spacing(raw, seconds, step, remedy)
    return step


def _downloaded(path: Path) -> bool:
    """Whether a file lies in a folder that a download of the published data filled."""
    return any((p / VERIFIED).is_file() for p in path.resolve().parents[: _LEVELS_UP + 1])


def _spacing(raw: Path, seconds: NDArray[np.int64], stride: int) -> int:
    """The step that follows from a uniform spacing."""
    remedy = f"give time_step= in seconds (time_step={_PUBLISHED} for the published data)"
    if seconds.size < 2:
        raise ClimSimError(f"{raw}: a single step does not show how long a step is: {remedy}")
    spacing = int(np.diff(seconds).min())
    if spacing % stride:
        raise ClimSimError(
            f"stride={stride}: the steps in {raw} lie {spacing} s apart, which is no multiple of "
            "it: give the stride of these data"
        )
    step = spacing // stride
    if step > _PUBLISHED and step % _PUBLISHED == 0:
        raise ClimSimError(
            f"{raw}: the steps lie {step} s apart, and no file declares its time step: give "
            f"time_step={_PUBLISHED} if every {step // _PUBLISHED}th step of the published data "
            f"was kept, time_step={step} if the model's own step is that long"
        )
    if step != _PUBLISHED:
        logger.warning(
            "%s: the steps lie %d s apart, and no file declares its time step: tendencies are "
            "taken over %d s (give time_step= if the model's own step is shorter)",
            raw,
            step,
            step,
        )
    return step


def _check_spacing(raw: Path, seconds: NDArray[np.int64], step: int, remedy: str) -> None:
    """Refuse steps that do not lie on the grid of the time step."""
    apart = np.diff(seconds)
    wrong = np.flatnonzero(apart % step)
    if wrong.size:
        first, second = (to_date(int(seconds[wrong[0] + k])) for k in (0, 1))
        raise ClimSimError(
            f"{raw}: the steps {first} and {second} lie {int(apart[wrong[0]])} s apart, which is "
            f"no multiple of the time step of {step} s: {remedy}, or keep data of different runs "
            "apart"
        )
