"""Splits by time: which step belongs to training, validation, test, or to none."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from climsim.calendar import parse_period, to_date
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError, unknown_name
from climsim.validation import Checks

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
"""Names of the splits; their position is the code in a store."""
NO_SPLIT = -1
"""Code of a step in no split."""


def split_code(name: str) -> int:
    """Code of a split in a store.

    Raises:
        ClimSimError: if there is no such split.
    """
    if name not in SPLITS:
        raise unknown_name("split", name, SPLITS)
    return SPLITS.index(name)


NAMED_SPLITS: dict[str, dict[str, str | int]] = {
    "published": {
        "train": "0001-02/0008-01",
        "validation": "0008-02/0009-01",
        "test": "0009-03/0011-02",
        "train_stride": 1,
        "validation_stride": 7,
        "test_stride": 12,
    },
}
"""Splits by name: of the published online study, every training step and strided evaluation."""


@dataclass(frozen=True)
class SplitConfig:
    """How a record is split by time.

    Attributes:
        train: share of the record (all three are shares) or a period (all three are periods) such
            as ``0001-02/0008-01``, first and last month or day included; empty text for none.
        validation: likewise.
        test: likewise.
        gap_days: least time between two splits [days]; below one day, neighbouring splits share
            weather and skill is flattered.
        train_stride: every n-th step of the split is kept, n being this number.
        validation_stride: likewise.
        test_stride: likewise.
        name: ``published`` for the periods and strides of the published online study, in place of
            every other field but the gap; empty for the fields above.
    """

    train: str | float = 0.7
    validation: str | float = 0.15
    test: str | float = 0.15
    gap_days: float = 1.0
    train_stride: int = 1
    validation_stride: int = 1
    test_stride: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        if self.name:
            if self.name not in NAMED_SPLITS:
                raise unknown_name("split", self.name, NAMED_SPLITS)
            for key, value in NAMED_SPLITS[self.name].items():
                object.__setattr__(self, key, value)
        values = [getattr(self, name) for name in SPLITS]
        shares = [isinstance(v, (int, float)) and not isinstance(v, bool) for v in values]
        if any(shares) and not all(shares):
            raise ClimSimError(
                f"train, validation, test = {values}: give three shares or three periods"
            )
        if all(shares):
            total = sum(float(v) for v in values)
            if min(values) < 0 or not 0 < total <= 1 + 1e-9:
                raise ClimSimError(
                    f"train, validation, test = {values}: shares must lie in 0..1 and add up to "
                    "at most 1"
                )
        else:
            self.periods()
        check = Checks(self, "split")
        check.at_least(0, "gap_days")
        check.whole(*(f.name for f in fields(self) if f.name.endswith("_stride")), least=1)

    @property
    def by_share(self) -> bool:
        """Whether the splits are shares of the record."""
        return not isinstance(self.train, str)

    def stride(self, name: str) -> int:
        """Stride of a split."""
        return int(getattr(self, f"{name}_stride"))

    def periods(self) -> dict[str, tuple[int, int]]:
        """Bounds [s] of the splits that are given as periods.

        Raises:
            ClimSimError: if a period is malformed or two are closer than the gap.
        """
        result = {
            name: parse_period(str(getattr(self, name)), name)
            for name in SPLITS
            if getattr(self, name) != ""
        }
        ordered = sorted(result.items(), key=lambda item: item[1])
        gap = self.gap_days * SECONDS_PER_DAY
        for (first, (_, stop)), (second, (start, _)) in itertools.pairwise(ordered):
            # Adjoining periods are what the published split has; the gap is then cut out of the
            # later one. Overlapping ones are a mistake.
            if start < stop:
                raise ClimSimError(f"{first} and {second} overlap: splits are apart in time")
            if start - stop < gap:
                result[second] = (int(stop + gap), result[second][1])
        return result


def assign_splits(seconds: NDArray[np.int64], config: SplitConfig) -> NDArray[np.int8]:
    """Assign the steps of a record to splits.

    Args:
        seconds: (time,) ascending time stamps.
        config: shares or periods, gap, strides.

    Returns:
        (time,) code of the split (`SPLITS`), `NO_SPLIT` in gaps, outside, and between strides.

    Raises:
        ClimSimError: if the record is too short for the gaps or a wanted split would be empty.
    """
    bounds = _share_bounds(seconds, config) if config.by_share else config.periods()
    if config.gap_days < 1:
        logger.warning(
            "gap_days=%g: splits less than a day apart share weather, so skill on them is "
            "flattered",
            config.gap_days,
        )
    codes = np.full(seconds.size, NO_SPLIT, dtype=np.int8)
    for name, (start, stop) in bounds.items():
        inside = np.flatnonzero((seconds >= start) & (seconds < stop))
        if not inside.size:
            raise ClimSimError(
                f"{name}={getattr(config, name)}: no step of the record "
                f"({to_date(seconds[0])} to {to_date(seconds[-1])}) falls in this split: "
                "change it or set it to '' (period) or 0 (share)"
            )
        codes[inside[:: config.stride(name)]] = split_code(name)
    return codes


def _share_bounds(seconds: NDArray[np.int64], config: SplitConfig) -> dict[str, tuple[int, int]]:
    """Bounds of the splits by share of the time that remains without the gaps between them."""
    wanted = [name for name in SPLITS if float(getattr(config, name)) > 0]
    step = int(np.diff(seconds).min()) if seconds.size > 1 else 1
    span = int(seconds[-1] - seconds[0]) + step
    gap = int(config.gap_days * SECONDS_PER_DAY)
    usable = span - gap * (len(wanted) - 1)
    if usable <= 0:
        raise ClimSimError(
            f"gap_days={config.gap_days}: the record of {span / SECONDS_PER_DAY:.2f} days is too "
            f"short for {len(wanted) - 1} gaps: use a longer record or a smaller gap_days"
        )
    result = {}
    start = float(seconds[0])
    for name in wanted:
        stop = start + usable * float(getattr(config, name))
        # Whole steps, rounded up, so that no step falls into two splits.
        result[name] = (_round_up(start, seconds[0], step), _round_up(stop, seconds[0], step))
        start = stop + gap
    return result


def _round_up(value: float, origin: int, step: int) -> int:
    return int(origin + step * np.ceil((value - origin) / step - 1e-9))
