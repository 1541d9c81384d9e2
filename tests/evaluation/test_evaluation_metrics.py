"""Scores against hand-worked values, independent libraries, and any way of cutting the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from climsim.evaluation.metrics import (
    PairStatistics,
    capped_mean,
    crps_ensemble,
    crps_gaussian,
    weighted_deviation,
    weighted_mean,
    weighted_rmse,
)


def pairs(seed: int = 0, samples: int = 40, shape: tuple[int, ...] = (3, 4)):
    rng = np.random.default_rng(seed)
    truth = rng.normal(250.0, 3.0, (samples, *shape))
    return truth, truth + rng.normal(0.4, 1.0, truth.shape), rng.uniform(0.1, 2.0, truth.shape)


def assert_equal_statistics(a: PairStatistics, b: PairStatistics) -> None:
    for name in ("weight", "mean", "deviation", "error", "absolute", "squared"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_agree_with_scikit_learn(weighted):
    truth, prediction, weights = pairs()
    state = PairStatistics.of(truth, prediction, weights if weighted else None)
    for index in np.ndindex(truth.shape[1:]):
        at = (slice(None), *index)
        given_ = (truth[at], prediction[at])
        w = {"sample_weight": weights[at]} if weighted else {}
        assert state.r2()[index] == pytest.approx(sklearn_metrics.r2_score(*given_, **w))
        assert state.mae()[index] == pytest.approx(
            sklearn_metrics.mean_absolute_error(*given_, **w)
        )
        assert state.rmse()[index] == pytest.approx(
            sklearn_metrics.root_mean_squared_error(*given_, **w)
        )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 39), min_size=1, max_size=6, unique=True), st.booleans())
def test_any_cut_and_order_gives_the_same_statistics(cuts, weighted):
    truth, prediction, weights = pairs()
    whole = PairStatistics.of(truth, prediction, weights if weighted else None)
    pieces = [np.split(x, sorted(cuts)) for x in (truth, prediction, weights)]
    merged = PairStatistics.zero(truth.shape[1:])
    for t, p, w in reversed(list(zip(*pieces, strict=True))):
        merged = merged + PairStatistics.of(t, p, w if weighted else None)
    assert_equal_statistics(merged, whole)


def test_merging_columns_equals_statistics_of_all_their_samples():
    truth, prediction, _ = pairs(samples=9, shape=(5, 2))
    groups = np.array([1, 0, 1, -1, 0])
    grouped = PairStatistics.of(truth, prediction).grouped(groups, 3)
    for group in (0, 1):
        chosen = groups == group
        direct = PairStatistics.of(
            truth[:, chosen].reshape(-1, 2), prediction[:, chosen].reshape(-1, 2)
        )
        for name in ("weight", "mean", "deviation", "squared"):
            np.testing.assert_allclose(getattr(grouped, name)[group], getattr(direct, name))
    assert np.isnan(grouped.r2()[2]).all()
    assert np.isnan(grouped.bias()[2]).all()


def test_pooled_r2_is_the_kaggle_definition():
    truth, prediction, _ = pairs(samples=9, shape=(5, 2))
    pooled = PairStatistics.of(truth, prediction).pooled()
    expected = sklearn_metrics.r2_score(
        truth.reshape(-1, 2), prediction.reshape(-1, 2), multioutput="raw_values"
    )
    np.testing.assert_allclose(pooled.r2(), expected)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3e7])
def test_r2_of_a_constant_truth_is_undefined_whatever_the_prediction(constant):
    truth = np.full((7, 2), constant)
    prediction = truth + np.array([0.0, 1.0])
    halves = PairStatistics.of(truth[:3], prediction[:3]) + PairStatistics.of(
        truth[3:], prediction[3:]
    )
    assert np.isnan(halves.r2()).all()
    np.testing.assert_allclose(halves.bias(), [0.0, 1.0], atol=1e-8)


def test_small_variance_on_a_large_mean_survives_merging():
    rng = np.random.default_rng(2)
    truth = 1e5 + rng.normal(0, 1e-2, (1000, 1))
    merged = PairStatistics.zero((1,))
    for part in np.split(truth, 100):
        merged = merged + PairStatistics.of(part, part)
    assert merged.variance[0] == pytest.approx(truth.var(), rel=1e-6)


def test_constant_offset_gives_equal_bias_mae_and_rmse():
    truth, _, _ = pairs()
    state = PairStatistics.of(truth, truth - 2.5)
    np.testing.assert_allclose(state.bias(), -2.5)
    np.testing.assert_allclose(state.mae(), 2.5)
    np.testing.assert_allclose(state.rmse(), 2.5)
    np.testing.assert_allclose(state.prediction_mean(), state.mean - 2.5)


def test_nan_in_a_prediction_stays_visible():
    truth, prediction, _ = pairs(shape=(2,))
    prediction[3, 0] = np.nan
    state = PairStatistics.of(truth, prediction)
    assert np.isnan(state.rmse()[0])
    assert np.isnan(state.r2()[0])
    assert np.isfinite(state.r2()[1])


def test_weighted_mean_of_a_hand_worked_grid():
    assert weighted_mean([1.0, 4.0], [3.0, 1.0]) == pytest.approx(1.75)
    assert weighted_rmse([1.0, 4.0], [1.0, 2.0], [3.0, 1.0]) == pytest.approx(1.0)
    assert weighted_deviation([1.0, 5.0], [3.0, 1.0]) == pytest.approx(np.sqrt(3.0))
    assert np.isnan(weighted_mean([1.0, 4.0], [0.0, 0.0]))


def test_weighted_scores_agree_with_xskillscore():
    xskillscore = pytest.importorskip("xskillscore")
    xarray = pytest.importorskip("xarray")
    truth, prediction, w = pairs()
    weights = w[:, 0, 0]
    state = PairStatistics.of(truth, prediction, weights[:, None, None])
    labelled = [xarray.DataArray(x, dims=("sample", "x", "y")) for x in (truth, prediction)]
    options = {"dim": "sample", "weights": xarray.DataArray(weights, dims="sample")}
    for name in ("r2", "rmse", "mae"):
        expected = getattr(xskillscore, name)(*labelled, **options)
        np.testing.assert_allclose(getattr(state, name)(), expected)
    np.testing.assert_allclose(state.bias(), xskillscore.me(*reversed(labelled), **options))
    found = weighted_rmse(prediction, truth, weights[:, None, None], axis=0)
    np.testing.assert_allclose(found, xskillscore.rmse(*labelled, **options))


def test_crps_of_an_ensemble_agrees_with_xskillscore():
    xskillscore = pytest.importorskip("xskillscore")
    xarray = pytest.importorskip("xarray")
    rng = np.random.default_rng(4)
    truth, members = rng.normal(size=(6, 5)), rng.normal(size=(3, 6, 5))
    expected = xskillscore.crps_ensemble(
        xarray.DataArray(truth, dims=("a", "b")),
        xarray.DataArray(members, dims=("member", "a", "b")),
        dim=[],
    )
    np.testing.assert_allclose(crps_ensemble(truth, members), expected)


def test_crps_of_a_gaussian_agrees_with_xskillscore():
    xskillscore = pytest.importorskip("xskillscore")
    xarray = pytest.importorskip("xarray")
    rng = np.random.default_rng(4)
    truth, mean = (xarray.DataArray(rng.normal(size=7), dims="a") for _ in range(2))
    spread = xarray.DataArray(rng.uniform(0.3, 2.0, 7), dims="a")
    expected = xskillscore.crps_gaussian(truth, mean, spread, dim=[])
    np.testing.assert_allclose(crps_gaussian(truth, mean, spread), expected, rtol=1e-6)


def test_crps_of_one_member_is_its_absolute_error():
    np.testing.assert_allclose(crps_ensemble([1.0, 2.0], [[1.5, -1.0]]), [0.5, 3.0])


def test_capped_mean_counts_failures_as_zero_and_leaves_out_the_undefined():
    scores, undefined = [0.5, -1000.0, np.nan, 1.0], [False, False, True, False]
    assert capped_mean(scores, undefined) == pytest.approx(0.5)
    assert np.isnan(capped_mean([np.nan], [True]))


@pytest.mark.parametrize("failed", [np.nan, -np.inf])
def test_capped_mean_is_no_number_where_a_defined_score_is_none(failed):
    assert np.isnan(capped_mean([0.5, failed, 1.0], [False, False, False]))


def test_truth_that_is_no_number_is_not_undefined_by_design():
    truth, prediction, _ = pairs(shape=(3,))
    truth[:, 0], truth[2, 1] = 4.0, np.nan
    state = PairStatistics.of(truth, prediction)
    assert state.undefined.tolist() == [True, False, False]
    assert np.isnan(state.r2()).tolist() == [True, True, False]
    assert PairStatistics.zero((2,)).undefined.all()


def test_nan_of_a_column_stays_in_its_own_group():
    truth, prediction, _ = pairs(samples=9, shape=(5, 2))
    groups = np.array([1, 0, 1, -1, 0])
    whole = PairStatistics.of(truth, prediction).grouped(groups, 3)
    prediction[4, 2, 0] = prediction[4, 3] = np.nan
    found = PairStatistics.of(truth, prediction).grouped(groups, 3)
    for score in ("r2", "bias", "rmse"):
        expected = getattr(whole, score)()
        expected[1, 0] = np.nan
        np.testing.assert_allclose(getattr(found, score)(), expected)
