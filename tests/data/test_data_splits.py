"""Splits by time: shares, periods, gaps, strides."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from climsim.calendar import parse_period, seconds_of
from climsim.data.store.splits import NO_SPLIT, SplitConfig, assign_splits, split_codes
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
    parts = [seconds[codes == k] for k in range(3)]
    for first, second in itertools.pairwise(parts):
        assert second[0] - first[-1] >= max(gap * DAY, STEP)
    usable = count * DAY - 2 * gap * DAY
    for share, part in zip(shares, parts, strict=True):
        assert abs(part.size * STEP - share * usable) <= 2 * STEP


def steps_between(first, last):
    """Every step from the first of a month to the end of another, by year and month."""
    bounds = [parse_period(f"{year:04d}-{month:02d}", "test") for year, month in (first, last)]
    return np.arange(bounds[0][0], bounds[1][1], STEP, dtype=np.int64)


def test_published_split_picks_the_published_steps():
    seconds = steps_between((1, 1), (11, 12))
    codes = assign_splits(seconds, SplitConfig(name="published"))
    # As the published code lists its files: sorted, then [start:-1:stride].
    expected = {
        "validation": steps_between((8, 2), (9, 1))[1:-1:7],
        "scoring": steps_between((8, 2), (9, 1))[1:-1:6],
        "test": steps_between((9, 3), (11, 2))[1:-1:12],
        "train": steps_between((1, 2), (8, 1))[:-1],
    }
    for name, steps in expected.items():
        found = seconds[np.isin(codes, split_codes(name))]
        np.testing.assert_array_equal(found, steps, err_msg=name)
    sizes = {name: steps.size for name, steps in expected.items()}
    assert sizes == {"validation": 3754, "scoring": 4380, "test": 4380, "train": 183959}
    # Every 42nd step is of both strides.
    assert (codes == 4).sum() == len(range(1, 26279, 42))


def test_published_split_has_no_gap_and_no_warning_of_it(caplog):
    assign_splits(steps_between((8, 1), (9, 3)), SplitConfig(name="published"))
    assert not caplog.records


def test_scoring_shares_the_time_of_the_validation_of_a_share():
    config = SplitConfig(
        0.5, 0.5, 0, scoring=True, scoring_stride=3, scoring_start=2, validation_stride=2,
        gap_days=0,
    )  # fmt: skip
    codes = assign_splits(days(1), config)
    assert np.flatnonzero(np.isin(codes, split_codes("validation"))).tolist() == [*range(36, 72, 2)]
    assert np.flatnonzero(np.isin(codes, split_codes("scoring"))).tolist() == [*range(38, 72, 3)]


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
        ({"train": "0001-13", "validation": "", "test": ""}, "^split.train=0001-13"),
        ({"train": "1-2", "validation": "", "test": ""}, "neither YYYY-MM nor YYYY-MM-DD"),
        ({"train": "0002-02/0001-02", "validation": "", "test": ""}, "ends before it begins"),
        (
            {"train": "0001-02", "validation": "0001-02", "test": ""},
            "split.validation=0001-02: expected a period after split.train=0001-02, found .*over",
        ),
        (
            {"train": "0001-02", "validation": "0001-03-01/0001-03-03", "test": "", "gap_days": 3},
            r"split.gap_days=3: .* split.validation=0001-03-01/0001-03-03 holds after split.train=",
        ),
        ({"gap_days": -1.0}, "gap_days"),
        ({"train_stride": 0}, "train_stride"),
        ({"test_start": -1}, "split.test_start"),
        ({"scoring": True, "validation": 0, "test": 0.3}, "scoring=true: expected a validation"),
        (
            {"name": "published", "test_stride": 7},
            "test_stride=7: given together with split.name=pub",
        ),
        ({"name": "published", "gap_days": 2.0}, "gap_days=2.0: given together with split.name=p"),
        ({"training_only_stride": -1}, "split.training_only_stride"),
        (
            {"train": "0001-02", "validation": "", "test": "", "stretches": True},
            "split.stretches=true: expected shares, found periods",
        ),
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
    with pytest.raises(ClimSimError, match="test: none of the 72 steps of this split is left"):
        assign_splits(days(2), SplitConfig("", "", "0001-02-01", test_start=72))
    with pytest.raises(ClimSimError, match="test=0005-01: no step"):
        assign_splits(days(2), SplitConfig("0001-02", "", "0005-01"))


def test_a_gap_that_leaves_no_step_of_the_record_is_named():
    config = SplitConfig("0001-02-01/0001-02-03", "0001-02-04/0001-02-09", "", gap_days=3)
    message = r"validation=.*: no step .* which begins on 0001-02-07 .*gap_days"
    with pytest.raises(ClimSimError, match=message):
        assign_splits(days(6), config)


def test_a_period_of_training_alone_leaves_the_split_of_the_rest_as_it_is():
    weather, visited = days(40), seconds_of(1001, 1, 1) + 1200 * np.arange(0, 600, 3)
    config = SplitConfig(training_only="1001-01/9999-12", train_stride=2)
    codes = assign_splits(np.concatenate([weather, visited]), config)
    alone = assign_splits(weather, SplitConfig(train_stride=2))
    np.testing.assert_array_equal(codes[: weather.size], alone)
    np.testing.assert_array_equal(codes[weather.size :], np.where(np.arange(200) % 2, NO_SPLIT, 5))
    own = replace(config, training_only_stride=4)
    codes = assign_splits(np.concatenate([weather, visited]), own)
    np.testing.assert_array_equal(codes[: weather.size], alone)
    np.testing.assert_array_equal(codes[weather.size :], np.where(np.arange(200) % 4, NO_SPLIT, 5))


def test_what_belongs_to_training_alone_is_training_and_not_weather():
    weather, visited = days(40), seconds_of(1001, 1, 1) + 1200 * np.arange(0, 600, 3)
    seconds = np.concatenate([weather, visited])
    codes = assign_splits(seconds, SplitConfig(training_only="1001-01/9999-12"))
    train, pure = (np.isin(codes, split_codes(name)) for name in ("train", "weather"))
    assert train[weather.size :].all()
    assert not pure[weather.size :].any()
    np.testing.assert_array_equal(train[: weather.size], pure[: weather.size])


def test_every_stretch_is_split_as_if_it_were_the_record():
    first = days(10)
    later = [first + shift * DAY for shift in (100, 800)]
    config = SplitConfig(train_stride=3, test_stride=2, stretches=True)
    codes = assign_splits(np.concatenate([first, *later]), config)
    alone = assign_splits(first, replace(config, stretches=False))
    np.testing.assert_array_equal(codes, np.tile(alone, 3))


@pytest.mark.parametrize("gap", [0.0, 0.75, 3.0])
def test_stretches_lie_as_far_apart_as_splits(gap):
    # Two stretches two days apart: nearer than a gap of three, so one stretch by then.
    seconds = np.concatenate([days(12), days(12) + 14 * DAY])
    codes = assign_splits(seconds, SplitConfig(gap_days=gap, stretches=True))
    parts = [seconds[np.isin(codes, split_codes(name))] for name in ("train", "validation", "test")]
    for first, second in itertools.permutations(parts, 2):
        nearest = np.abs(first[:, None] - second).min()
        assert nearest >= max(gap * DAY, STEP)
    stretches = 1 if gap > 2 else 2
    assert (np.diff(codes[np.isin(codes, (0, 1, 2))]) < 0).sum() == stretches - 1


def beside_training(gap, **changes):
    """Distance [s] between a week in the middle of a record for training alone and the others."""
    seconds = days(40)
    config = SplitConfig(training_only="0001-02-20/0001-02-26", gap_days=gap, **changes)
    codes = assign_splits(seconds, config)
    alone = seconds[codes == 5]
    return {
        name: np.abs(seconds[np.isin(codes, split_codes(name))][:, None] - alone).min()
        for name in ("weather", "validation", "scoring", "test")
    }


def test_evaluated_steps_keep_the_gap_to_a_period_of_training_alone():
    around = {"train": 0.3, "validation": 0.2, "test": 0.5, "scoring": True}
    apart = beside_training(2.0, **around)
    assert apart["weather"] >= STEP
    assert apart["test"] == 2.0 * DAY
    periods = {
        "train": "0001-02-01/0001-02-10",
        "validation": "0001-02-12/0001-02-19",
        "test": "0001-02-27/0001-03-10",
        "scoring": True,
    }
    apart = beside_training(2.0, **periods)
    assert apart["validation"] == apart["scoring"] == apart["test"] == 2.0 * DAY
    apart = beside_training(0.0, **periods)
    assert apart["validation"] == apart["scoring"] == apart["test"] == STEP


def test_training_beside_a_period_of_training_alone_needs_no_gap():
    periods = {"train": "0001-02-10/0001-02-19", "validation": "0001-03-01/0001-03-10"}
    codes = assign_splits(
        days(40), SplitConfig(**periods, test="", training_only="0001-02-20/0001-02-26", gap_days=2)
    )
    assert np.isin(codes, split_codes("train")).sum() == 72 * 17


def test_a_split_that_lies_in_the_gap_of_training_alone_is_refused():
    periods = {"train": "0001-02-01/0001-02-10", "validation": "0001-02-27/0001-02-28"}
    message = (
        r"split\.validation: none of the 144 steps of this split is left after "
        r"split\.gap_days=3 around split\.training_only=0001-02-20/0001-02-26"
    )
    with pytest.raises(ClimSimError, match=message):
        assign_splits(
            days(40),
            SplitConfig(**periods, test="", training_only="0001-02-20/0001-02-26", gap_days=3),
        )


def test_a_period_of_training_alone_that_holds_nothing_or_all_is_refused():
    weather = days(40)
    for period, where in (("1001-01/9999-12", "in"), ("0001-01/9999-12", "outside")):
        with pytest.raises(ClimSimError, match=rf"split.training_only.* lies {where} this period"):
            assign_splits(weather, SplitConfig(training_only=period))
