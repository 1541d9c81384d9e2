"""Rankings and rank correlations, worked by hand where chance plays no part."""

import numpy as np
import pytest
import xarray
from scipy import stats

from climsim.evaluation.members import Member
from climsim.results.predictors import correlation, predictors
from climsim.results.ranking import difference, rank, rank_members, resampled_mean
from climsim.results.study import Study
from tests.evaluation_synthetic import short_runs

UNET, OTHER = Member("unet", "steady", 7), Member("convnext", "steady", 7)


def test_interval_of_a_mean_over_starts_is_that_of_scipy():
    values = np.random.default_rng(1).normal(3, 0.5, 15)
    found = resampled_mean(values[None])
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000, rng=2
    ).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03)


def test_seeds_that_differ_widen_the_interval():
    starts = np.random.default_rng(1).normal(0, 0.1, 12)
    alike, apart = np.stack([starts, starts]), np.stack([starts - 1, starts + 1])
    widths = [found.high - found.low for found in map(resampled_mean, (alike, apart))]
    assert widths[1] > 1.9 > 0.3 > widths[0]


def test_weather_that_both_share_leaves_their_difference():
    weather = np.random.default_rng(1).normal(3, 0.5, (1, 12))
    found = difference(weather + 0.1, weather)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.excludes_zero
    assert resampled_mean(weather).high - resampled_mean(weather).low > 0.3


def test_difference_is_over_the_starts_from_which_both_ran():
    values, others = np.array([[1.0, 5.0, np.nan]]), np.array([[0.5, np.nan, 7.0]])
    assert difference(values, others).value == 0.5
    assert np.isnan(difference(values[:, 1:], others[:, 1:]).low)
    assert not difference(values[:, 1:], others[:, 1:]).excludes_zero


def test_small_differences_that_all_starts_agree_on_are_told_apart():
    ranking = rank(short_runs([UNET, OTHER], behind=0.1))
    assert [row.label for row in ranking.rows] == ["unet-steady", "convnext-steady"]
    assert ranking.told_apart(1)
    assert ranking.rows[0].interval.high > ranking.rows[1].interval.low


def test_members_that_differ_by_less_than_chance_are_named():
    runs = short_runs([UNET, OTHER, Member("pao_model", "steady", 7)], behind=0.0)
    runs = runs.isel(run=runs["status"].values == "complete")
    ranking = rank(runs)
    assert not any(map(ranking.told_apart, (1, 2)))
    assert "Chance may explain why it is ahead of" in ranking.sentence()
    assert "worse by more than chance" not in ranking.sentence()


def test_whoever_loses_runs_comes_after_those_that_lose_none():
    ranking = rank(short_runs([OTHER, UNET, Member("unet", "v6", 7)], behind=-0.5))
    assert [row.recipe for row in ranking.rows] == ["steady", "steady", "v6"]
    assert (ranking.rows[2].stable, ranking.rows[2].runs) == (11, 12)
    assert ranking.told_apart(2)


def test_two_starts_tell_nothing_apart():
    ranking = rank(short_runs([UNET, OTHER], starts=2, behind=3.0))
    assert not ranking.told_apart(1)
    assert ranking.sentence().endswith("So few starts tell nothing apart.")


def test_seeds_are_one_row_together_or_a_row_each():
    runs = short_runs([UNET, Member("unet", "steady", 43)], behind=1.0)
    (row,) = rank(runs).rows
    assert row.errors.shape == (2, 12)
    single = rank_members(runs).rows
    assert [one.label for one in single] == ["unet-steady-7", "unet-steady-43"]
    assert row.interval.value == pytest.approx(np.mean([one.interval.value for one in single]))


def test_day_and_field_choose_what_is_ranked():
    runs = short_runs([UNET, OTHER])
    early = rank(runs, day=1)
    assert early.day == 1
    last = runs["growth_daily_T"].values[:12, -1].mean()
    assert early.rows[0].interval.value == pytest.approx(last / np.sqrt(10))
    assert rank(runs).rows[0].interval.value == pytest.approx(last)


def test_correlation_is_by_rank_over_members_that_have_both():
    score = {"a": 1, "b": 2, "c": 30, "d": 4, "e": 50, "f": 6}
    outcome = {"a": 1, "b": 2, "c": 5, "d": 3, "e": 600, "g": 6}
    found = correlation(score, outcome)
    assert (found.value, found.members) == (pytest.approx(1.0), 5)
    assert found.excludes_zero
    assert correlation({**score, "e": np.nan}, outcome) is None
    assert correlation(dict.fromkeys(score, 1.0), outcome) is None


def test_correlation_of_chance_holds_zero_in_its_interval():
    rng = np.random.default_rng(4)
    one, other = ({str(i): x for i, x in enumerate(rng.normal(size=30))} for _ in range(2))
    found = correlation(one, other)
    assert found.low < 0 < found.high
    assert not found.excludes_zero


def test_early_days_and_offline_scores_predict_what_follows_them():
    members = [Member("unet", "steady", seed) for seed in range(6)]
    runs = short_runs(members)
    offline = xarray.Dataset(
        {"r2_mean": ("member", -np.arange(6.0))}, {"member": [m.label for m in members]}
    )
    found = predictors(Study(offline, None, hindcasts=runs))
    assert found.outcomes == ("error of T on day 10 of hindcasts (K)",)
    values = {name: row[0].value for name, row in found.rows.items()}
    assert values == pytest.approx(
        {
            "offline R², all outputs": -1.0,
            "error of T on day 1 of hindcasts": 1.0,
            "error of T on day 3 of hindcasts": 1.0,
            "error of T on day 5 of hindcasts": 1.0,
        }
    )
    assert predictors(Study(offline, None)) is None
