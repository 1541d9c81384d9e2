"""What step files declare of the model that made them, in global attributes.

Generated files carry all of it, the published ones nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climsim.errors import ClimSimError
from climsim.processes import EMULATED_ATTRIBUTE, agreed, in_words, read_processes

TIME_STEP_ATTRIBUTE = "time_step_s"
"""Global attribute with the physics time step [s]."""
KEEP_APART = "keep data of different host options apart"
"""What to do about files whose emulated terms differ."""


@dataclass(frozen=True)
class Declared:
    """What one file declares, or what all files of a record have to agree on.

    Attributes:
        time_step: physics time step [s]; None where nothing is said, NaN where it is no number.
        emulated_processes: names of the processes in the emulated term; empty likewise.
    """

    time_step: float | None = None
    emulated_processes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, attributes: Mapping[str, object], where: str) -> Declared:
        """Read global attributes.

        Args:
            attributes: of a file.
            where: the file, for errors.

        Raises:
            ClimSimError: if a process is unknown.
        """
        step = attributes.get(TIME_STEP_ATTRIBUTE)
        processes = read_processes(attributes.get(EMULATED_ATTRIBUTE), where)
        return cls(None if step is None else _number(step), processes)

    def attributes(self) -> dict[str, str | np.float64]:
        """Global attributes; what is not known is left out."""
        written: dict[str, str | np.float64] = {}
        if self.time_step is not None:
            written[TIME_STEP_ATTRIBUTE] = np.float64(self.time_step)
        if self.emulated_processes:
            written[EMULATED_ATTRIBUTE] = in_words(self.emulated_processes)
        return written

    def contradictions(
        self, path: Path, attributes: Mapping[str, object]
    ) -> Iterator[tuple[str, str]]:
        """Where a file contradicts what its record has to agree on.

        Args:
            path: of the file.
            attributes: of the file.

        Yields:
            Kind of the problem, and the problem in words.
        """
        step, expected = attributes.get(TIME_STEP_ATTRIBUTE), self.time_step
        if step is not None and expected is not None and _number(step) != expected:
            yield (
                "step",
                f"{path}: {TIME_STEP_ATTRIBUTE} is {_number(step):g} s, expected {expected:g} s: "
                "keep data of different time steps apart",
            )
        try:
            found = read_processes(attributes.get(EMULATED_ATTRIBUTE), str(path))
            agreed({"its record": self.emulated_processes, str(path): found}, KEEP_APART)
        except ClimSimError as error:
            yield "processes", str(error)


UNDECLARED = Declared()
"""Of a file that says nothing, or a record of any files."""


def _number(value: object) -> float:
    """An attribute as a number; NaN, which equals nothing, where it is none."""
    try:
        return float(np.ravel(np.asarray(value))[0])
    except (ValueError, TypeError, IndexError):
        return float("nan")
