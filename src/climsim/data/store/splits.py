"""Splits by time: which step belongs to training, validation, test, or to none."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from climsim.calendar import parse_period, to_date
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError, unknown_name
from climsim.validation import Checks

logger = logging.getLogger(__name__)

_PARTS = ("train", "validation", "test")
"""Splits with a time of their own."""
_SCORING, WEATHER = "scoring", "weather"
_STRETCHES_APART = 1.0
"""Least time without a step between two stretches of a record [days]."""
SPLITS = (*_PARTS, _SCORING, WEATHER)
"""Names of the splits; the weather is what trains outside `SplitConfig.training_only`."""
CODES: dict[int, tuple[str, ...]] = {
    0: ("train", WEATHER),
    1: ("validation",),
    2: ("test",),
    3: (_SCORING,),
    4: ("validation", _SCORING),
    5: ("train",),
}
"""Splits of a step by its code in a store; scoring shares the time of the validation."""
TRAINING_ONLY = "1001-01/9999-12"
"""Period that the dates of visited states and of pairs with noise lie in."""
NO_SPLIT = -1
"""Code of a step in no split."""


def split_codes(name: str) -> tuple[int, ...]:
    """Codes in a store of the steps of a split.

    Raises:
        ClimSimError: if there is no such split.
    """
    if name not in SPLITS:
        raise unknown_name("split", name, SPLITS)
    return tuple(code for code, names in CODES.items() if name in names)


NAMED_SPLITS: dict[str, dict[str, str | float | bool]] = {
    "published": {
        "train": "0001-02/0008-01",
        "validation": "0008-02/0009-01",
        "test": "0009-03/0011-02",
        "scoring": True,
        "gap_days": 0.0,
        "train_stride": 1,
        "validation_stride": 7,
        "test_stride": 12,
        "scoring_stride": 6,
        "validation_start": 1,
        "test_start": 1,
        "scoring_start": 1,
        "drop_last": True,
    },
}
"""Splits by name: of the published online study, every training step and strided evaluation.

Source: the start index and stride of ``create_val``, ``create_scoring`` and ``create_test``, and
the slice ``[start:-1:stride]`` of ``set_filelist``.
"""


@dataclass(frozen=True)
class SplitConfig:
    """How a record is split by time.

    Attributes:
        train: share of the record (all three are shares) or a period (all three are periods) such
            as ``0001-02/0008-01``, first and last month or day included; empty text for none.
        validation: likewise.
        test: likewise.
        scoring: whether steps of the validation's time also form the split ``scoring``, with a
            stride of its own; a step may belong to both.
        gap_days: least time between two splits, and between a validation, scoring or test step and
            the steps of `training_only` [days]; below one day, neighbouring splits share weather
            and skill is flattered.
        train_stride: every n-th step of the split is kept, n being this number.
        validation_stride: likewise.
        test_stride: likewise.
        scoring_stride: likewise.
        train_start: steps left out at the beginning of the split, before the first that is kept.
        validation_start: likewise.
        test_start: likewise.
        scoring_start: likewise.
        drop_last: whether the last step of each split is left out before its stride.
        name: ``published`` for the steps of the published online study, which sets every other
            field (no gap there: the published periods adjoin); empty for the fields above.
        stretches: whether shares are of every uninterrupted stretch of the record, such as the days
            of one season or one member, and not of the whole record at once. Between two stretches
            no step lies for a day, or for `gap_days` where these are more.
        training_only: a period that belongs to training whole, such as ``1001-01/9999-12`` for
            states that a model visited; the other fields then share out the steps outside it, the
            split ``weather`` holds the training steps outside it. Empty for none.
        training_only_stride: every n-th step of that period is kept; 0 takes `train_stride`.
    """

    train: str | float = 0.7
    validation: str | float = 0.15
    test: str | float = 0.15
    scoring: bool = False
    gap_days: float = 1.0
    train_stride: int = 1
    validation_stride: int = 1
    test_stride: int = 1
    scoring_stride: int = 1
    train_start: int = 0
    validation_start: int = 0
    test_start: int = 0
    scoring_start: int = 0
    drop_last: bool = False
    name: str = ""
    stretches: bool = False
    training_only: str = ""
    training_only_stride: int = 0

    def __post_init__(self) -> None:
        if self.name:
            self._take_named()
        values = [getattr(self, name) for name in _PARTS]
        shares = [isinstance(v, (int, float)) and not isinstance(v, bool) for v in values]
        if any(shares) and not all(shares):
            raise ClimSimError(
                f"split.train, split.validation, split.test = {values}: give three shares or "
                "three periods"
            )
        if all(shares):
            total = sum(float(v) for v in values)
            if min(values) < 0 or not 0 < total <= 1 + 1e-9:
                raise ClimSimError(
                    f"split.train, split.validation, split.test = {values}: shares must lie "
                    "between 0 and 1 and add up to at most 1"
                )
        else:
            self.periods()
        if self.training_only:
            parse_period(self.training_only, "split.training_only")
        check = Checks(self, "split")
        check.at_least(0, "gap_days")
        strides = [f.name for f in fields(self) if f.name.endswith("_stride")]
        strides.remove("training_only_stride")
        check.whole(*strides, least=1)
        check.whole("training_only_stride")
        if self.stretches and not self.by_share:
            raise ClimSimError(
                "split.stretches=true: expected shares, found periods: give split.train, "
                "split.validation and split.test as shares, or leave split.stretches out"
            )
        check.whole(*(f.name for f in fields(self) if f.name.endswith("_start")), least=0)
        if self.scoring and self.validation in ("", 0):
            raise ClimSimError(
                "split.scoring=true: expected a validation split, whose time it shares, found "
                "none: set split.validation"
            )

    def _take_named(self) -> None:
        """Set the fields of a named split; one that was given otherwise is refused."""
        if self.name not in NAMED_SPLITS:
            raise unknown_name("split", self.name, NAMED_SPLITS)
        named = NAMED_SPLITS[self.name]
        for field in fields(self):
            given = getattr(self, field.name)
            value = named.get(field.name, field.default)
            if field.name == "name" or given == value:
                continue
            if given != field.default:
                raise ClimSimError(
                    f"split.{field.name}={given}: given together with split.name={self.name}, "
                    f"which sets it to {value}: leave one of the two out"
                )
            object.__setattr__(self, field.name, value)

    @property
    def by_share(self) -> bool:
        """Whether the splits are shares of the record."""
        return not isinstance(self.train, str)

    def holds(self, name: str) -> bool:
        """Whether the settings give a split any time."""
        if name == _SCORING:
            return self.scoring
        return getattr(self, "train" if name == WEATHER else name) not in ("", 0)

    def chosen(self, name: str, inside: NDArray[np.intp]) -> NDArray[np.intp]:
        """The steps of a split among all those of its time.

        Args:
            name: of the split.
            inside: (step,) indices of the steps of its time, ascending.
        """
        stop = -1 if self.drop_last else None
        start, stride = getattr(self, f"{name}_start"), getattr(self, f"{name}_stride")
        return inside[start:stop:stride]

    def periods(self) -> dict[str, tuple[int, int]]:
        """Bounds [s] of the splits that are given as periods.

        Raises:
            ClimSimError: if a period is malformed, two overlap or a gap takes all of one.
        """
        result = {
            name: parse_period(str(getattr(self, name)), f"split.{name}")
            for name in _PARTS
            if getattr(self, name) != ""
        }
        ordered = sorted(result.items(), key=lambda item: item[1])
        gap = self.gap_days * SECONDS_PER_DAY
        for (first, (_, stop)), (second, (start, _)) in itertools.pairwise(ordered):
            # Adjoining periods are what the published split has; the gap is then cut out of the
            # later one. Overlapping ones are a mistake.
            if start < stop:
                raise ClimSimError(
                    f"{self.setting(second)}: expected a period after {self.setting(first)}, "
                    "found one that overlaps it: give periods apart in time"
                )
            if start - stop < gap:
                result[second] = (int(stop + gap), result[second][1])
            if result[second][0] >= result[second][1]:
                raise ClimSimError(
                    f"split.gap_days={self.gap_days:g}: expected less than {self.setting(second)} "
                    f"holds after {self.setting(first)}, found all of it: give a smaller gap or "
                    "a longer period"
                )
        return result

    def setting(self, name: str) -> str:
        """The key and value of a split."""
        return f"split.{name}={getattr(self, name)}"


def assign_splits(seconds: NDArray[np.int64], config: SplitConfig) -> NDArray[np.int8]:
    """Assign the steps of a record to splits.

    Args:
        seconds: (time,) ascending time stamps.
        config: shares or periods, gap, strides.

    Returns:
        (time,) code of its splits (`CODES`), `NO_SPLIT` in gaps, outside, and between strides.

    Raises:
        ClimSimError: if the record is too short for the gaps or a wanted split would be empty.
    """
    if config.training_only:
        return _with_training_only(seconds, config)
    if config.stretches:
        return _by_stretch(seconds, config)
    bounds = _share_bounds(seconds, config) if config.by_share else config.periods()
    if config.gap_days < 1 and not config.name:
        logger.warning(
            "split.gap_days=%g: splits less than a day apart share weather, so skill on them is "
            "flattered",
            config.gap_days,
        )
    codes = np.full(seconds.size, NO_SPLIT, dtype=np.int8)
    for name, (start, stop) in bounds.items():
        inside = _inside(seconds, start, stop, config.setting(name))
        steps = {name: config.chosen(name, inside)}
        if name == "train":
            steps[WEATHER] = steps[name]
        elif name == "validation" and config.scoring:
            steps[_SCORING] = config.chosen(_SCORING, inside)
        for split, kept in steps.items():
            after = f"split.{split}_start and split.drop_last"
            _require_left(split, kept.size, inside.size, after)
        _mark(codes, steps)
    return codes


def _require_left(split: str, left: int, of: int, after: str) -> None:
    """Refuse a split that nothing is left of."""
    if not left:
        raise ClimSimError(
            f"split.{split}: none of the {of} steps of this split is left after {after}: use a "
            "longer period or leave fewer out"
        )


def _mark(codes: NDArray[np.int8], steps: Mapping[str, NDArray[np.intp]]) -> None:
    """Write the codes of steps of one time, each for all the splits that it belongs to."""
    belongs = {name: np.zeros(codes.size, bool) for name in steps}
    for name, kept in steps.items():
        belongs[name][kept] = True
    for code, names in CODES.items():
        if set(names) <= steps.keys():
            exactly = [belongs[name] if name in names else ~belongs[name] for name in steps]
            codes[np.logical_and.reduce(exactly)] = code


def _with_training_only(seconds: NDArray[np.int64], config: SplitConfig) -> NDArray[np.int8]:
    """Give a period to training, and split the rest of the record as if it were all."""
    start, stop = parse_period(config.training_only, "split.training_only")
    inside = (seconds >= start) & (seconds < stop)
    for mask, where in ((inside, "in"), (~inside, "outside")):
        if not mask.any():
            raise ClimSimError(
                f"split.training_only={config.training_only}: no step of the record "
                f"({to_date(seconds[0])} to {to_date(seconds[-1])}) lies {where} this period: "
                "change it or leave it out"
            )
    codes = np.full(seconds.size, NO_SPLIT, dtype=np.int8)
    stride = config.training_only_stride or config.train_stride
    there = replace(config, train_stride=stride, training_only="", training_only_stride=0)
    kept = there.chosen("train", np.flatnonzero(inside))
    _mark(codes, {"train": kept, WEATHER: kept[:0]})
    elsewhere = replace(there, train_stride=config.train_stride)
    rest = assign_splits(seconds[~inside], elsewhere)
    near = _nearer(seconds[~inside], seconds[inside], config.gap_days * SECONDS_PER_DAY)
    codes[~inside] = _without_near(rest, near, config)
    return codes


def _nearer(
    seconds: NDArray[np.int64], others: NDArray[np.int64], apart: float
) -> NDArray[np.bool_]:
    """Which steps lie nearer than a time [s] to one of other steps, ascending too."""
    after = np.searchsorted(others, seconds)
    following = others[np.minimum(after, others.size - 1)]
    preceding = others[np.maximum(after - 1, 0)]
    return np.minimum(np.abs(following - seconds), np.abs(seconds - preceding)) < apart


def _without_near(
    codes: NDArray[np.int8], near: NDArray[np.bool_], config: SplitConfig
) -> NDArray[np.int8]:
    """Codes without the evaluated steps that share weather with what is of training alone."""
    left = np.where(near & ~np.isin(codes, split_codes("train")), NO_SPLIT, codes)
    for split in ("validation", "test", _SCORING):
        if config.holds(split):
            count, of = (int(np.isin(c, split_codes(split)).sum()) for c in (left, codes))
            after = (
                f"split.gap_days={config.gap_days:g} around split.training_only="
                f"{config.training_only}"
            )
            _require_left(split, count, of, after)
    return left.astype(np.int8)


def _by_stretch(seconds: NDArray[np.int64], config: SplitConfig) -> NDArray[np.int8]:
    """Split every stretch of a record as if it were all."""
    apart = max(_STRETCHES_APART, config.gap_days) * SECONDS_PER_DAY
    ends = np.flatnonzero(np.diff(seconds) >= apart) + 1
    one = replace(config, stretches=False)
    return np.concatenate([assign_splits(part, one) for part in np.split(seconds, ends)])


def _inside(seconds: NDArray[np.int64], start: int, stop: int, setting: str) -> NDArray[np.intp]:
    """Indices of the steps from one time [s] to before another; there must be some."""
    inside = np.flatnonzero((seconds >= start) & (seconds < stop))
    if not inside.size:
        raise ClimSimError(
            f"{setting}: no step of the record ({to_date(seconds[0])} to {to_date(seconds[-1])}) "
            f"falls in this split, which begins on {to_date(start)} (split.gap_days included): "
            "change it or set it to '' (period) or 0 (share)"
        )
    return inside


def _share_bounds(seconds: NDArray[np.int64], config: SplitConfig) -> dict[str, tuple[int, int]]:
    """Bounds of the splits by share of the time that remains without the gaps between them."""
    wanted = [name for name in _PARTS if float(getattr(config, name)) > 0]
    step = int(np.diff(seconds).min()) if seconds.size > 1 else 1
    span = int(seconds[-1] - seconds[0]) + step
    gap = int(config.gap_days * SECONDS_PER_DAY)
    usable = span - gap * (len(wanted) - 1)
    if usable <= 0:
        raise ClimSimError(
            f"split.gap_days={config.gap_days}: the record of {span / SECONDS_PER_DAY:.2f} days is "
            f"too short for {len(wanted) - 1} gaps: use a longer record or a smaller gap_days"
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
