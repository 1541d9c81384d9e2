"""Splits by time: shares, periods, gaps, strides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from climsim.calendar import parse_period, seconds_of
from climsim.data.store.splits import NO_SPLIT, SPLITS, SplitConfig, assign_splits
from climsim.errors import ClimSimError

STEP = 1200
DAY = 86400


START = seconds_of(1, 2, 1)


def days(count):
    return START + STEP * np.arange(72 * count, dtype=np.int64)


@given(
    st.integers(5, 20),
    st.floats(0.0, 1.2),
    st.tuples(st.floats(0.1, 0.5), st.floats(0.1, 0.25), st.floats(0.1, 0.25)),
)
def test_shares_are_ordered_apart_and_of_the_wanted_length(count, gap, shares):
    seconds = days(count)
    codes = assign_splits(seconds, SplitConfig(*shares, gap_days=gap))
    parts = [seconds[codes == k] for k in range(len(SPLITS))]
    for first, second in itertools.pairwise(parts):
        assert second[0] - first[-1] >= max(gap * DAY, STEP)
    usable = count * DAY - 2 * gap * DAY
    for share, part in zip(shares, parts, strict=True):
        assert abs(part.size * STEP - share * usable) <= 2 * STEP


def test_published_split_follows_the_paper():
    config = SplitConfig(name="published")
    year = 365 * DAY
    samples = np.array([
        seconds_of(1, 2, 1), seconds_of(8, 1, 31, 85200), seconds_of(8, 2, 1), seconds_of(8, 2, 2),
        seconds_of(9, 1, 31), seconds_of(9, 2, 15), seconds_of(9, 3, 1), seconds_of(11, 2, 28),
        seconds_of(11, 3, 1), seconds_of(1, 1, 31),
    ])  # fmt: skip
    order = np.argsort(samples)
    plain = SplitConfig(config.train, config.validation, config.test)
    codes = np.empty(samples.size, int)
    codes[order] = assign_splits(samples[order], plain)
    # The first day of validation adjoins training and is given to the gap.
    assert codes.tolist() == [0, 0, -1, 1, 1, -1, 2, 2, -1, -1]
    assert config.validation_stride == 7
    assert config.test_stride == 12
    assert (
        parse_period(config.train, "train")[1] - parse_period(config.train, "train")[0] == 7 * year
    )


def test_stride_keeps_every_nth_step():
    codes = assign_splits(days(4), SplitConfig(1.0, 0, 0, train_stride=7))
    assert np.flatnonzero(codes == 0).tolist() == list(range(0, 288, 7))


def test_adjoining_periods_get_their_gap_from_the_later_one():
    seconds = days(6)
    config = SplitConfig("0001-02-01/0001-02-03", "0001-02-04/0001-02-06", "", gap_days=1.5)
    codes = assign_splits(seconds, config)
    first = seconds[codes == 1][0]
    assert first - seconds_of(1, 2, 4) == 1.5 * DAY
    assert (codes[(seconds >= seconds_of(1, 2, 4)) & (seconds < first)] == NO_SPLIT).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train": "0001-02", "validation": 0.2, "test": 0.1}, "three shares or three periods"),
        ({"train": 0.9, "validation": 0.2, "test": 0.1}, "add up to at most 1"),
        ({"train": 0.0, "validation": 0.0, "test": 0.0}, "add up"),
        ({"train": "0001-13", "validation": "", "test": ""}, "train=0001-13"),
        ({"train": "1-2", "validation": "", "test": ""}, "neither YYYY-MM nor YYYY-MM-DD"),
        ({"train": "0002-02/0001-02", "validation": "", "test": ""}, "ends before it begins"),
        ({"train": "0001-02", "validation": "0001-02", "test": ""}, "overlap"),
        ({"gap_days": -1.0}, "gap_days"),
        ({"train_stride": 0}, "train_stride"),
        ({"name": "mine"}, "unknown split 'mine': expected one of published"),
    ],
)
def test_bad_configurations_name_the_key(fields, message):
    with pytest.raises(ClimSimError, match=message):
        SplitConfig(**fields)


def test_record_too_short_for_the_gap_is_refused():
    with pytest.raises(ClimSimError, match="too short for 2 gaps"):
        assign_splits(days(2), SplitConfig(gap_days=1.0))


def test_split_outside_the_record_is_refused():
    with pytest.raises(ClimSimError, match="test=0005-01: no step"):
        assign_splits(days(2), SplitConfig("0001-02", "", "0005-01"))
