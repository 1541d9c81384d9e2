"""Rankings and rank correlations, worked by hand where chance plays no part."""

import numpy as np
import pytest
import xarray
from scipy import stats

from climsim.evaluation.members import Member
from climsim.results.predictors import correlation, predictors
from climsim.results.ranking import (
    Ranked,
    difference,
    loses_more,
    rank,
    rank_members,
    resampled_mean,
)
from climsim.results.stability import days_alive
from climsim.results.study import Study
from tests.evaluation_synthetic import short_runs

UNET, OTHER = Member("unet", "steady", 7), Member("convnext", "steady", 7)
THIRD = Member("pao_model", "steady", 7)


def ended(runs, chosen, status, day):
    """Hindcasts of which some ended with a status after a day."""
    runs = runs.copy(deep=True)
    runs["growth_daily_T"][chosen, day:] = np.nan
    runs["status"] = runs["status"].astype(object)
    runs["status"][chosen] = status
    return runs


def whole(members, **options):
    """Hindcasts of which every run is complete."""
    runs = short_runs(members, **options)
    known = short_runs(members[:2], **options)["growth_daily_T"].values.mean(axis=0)
    filled = runs["growth_daily_T"].fillna(xarray.DataArray(known, dims="day"))
    return runs.assign(
        growth_daily_T=filled, status=("run", np.full(runs.sizes["run"], "complete"))
    )


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
    assert np.isnan(difference(values, others).low)
    assert np.isnan(difference(values[:, 1:], others[:, 1:]).low)
    assert not difference(values[:, 1:], others[:, 1:]).excludes_zero


def test_small_differences_that_all_starts_agree_on_are_distinguished():
    ranking = rank(short_runs([UNET, OTHER], behind=0.1))
    assert [row.label for row in ranking.rows] == ["unet-steady", "convnext-steady"]
    assert ranking.distinguished(1)
    assert ranking.rows[0].interval.high > ranking.rows[1].interval.low


def test_members_that_differ_by_less_than_chance_are_named():
    runs = short_runs([UNET, OTHER, THIRD], behind=0.0)
    runs = runs.isel(run=runs["status"].values == "complete")
    ranking = rank(runs)
    assert not any(map(ranking.distinguished, (1, 2)))
    assert "Chance may explain why it is ahead of" in ranking.sentence()
    assert "worse by more than chance" not in ranking.sentence()


def test_whoever_loses_runs_comes_after_those_that_lose_none():
    ranking = rank(short_runs([OTHER, UNET, Member("unet", "v6", 7)], behind=-0.5))
    assert [row.recipe for row in ranking.rows] == ["steady", "steady", "v6"]
    assert (ranking.rows[2].stable, ranking.rows[2].runs) == (11, 12)


def test_one_lost_run_of_twelve_is_named_and_is_no_more_than_chance():
    ranking = rank(short_runs([OTHER, UNET, Member("unet", "v6", 7)], behind=-0.5))
    assert ranking.rows[2].mean < ranking.rows[0].mean
    assert [ranking.distinguished(place) for place in range(3)] == [False, True, False]
    text = ranking.sentence()
    assert text.startswith("Of those that lost the fewest runs, the smallest error of T on day 10")
    assert "Chance may explain why it is ahead of U-Net, expanded inputs." in text
    assert "The other (1) is worse by more than chance." in text
    assert text.endswith("Runs became unstable: U-Net, expanded inputs (1 of 12).")


def losing(losses):
    """A row of which these runs (seed, start) were lost."""
    losses = np.asarray(losses, float)
    lost = int(losses.sum())
    errors = np.where(losses > 0, np.nan, 3.0)
    return Ranked("unet", "steady", -1, errors, losses, losses.size, losses.size - lost)


@pytest.mark.parametrize(("lost", "worse"), [(1, False), (4, False), (5, True), (12, True)])
def test_losses_are_more_than_chance_where_the_exact_test_says_so(lost, worse):
    none, some = losing(np.zeros((1, 12))), losing([np.arange(12) < lost])
    # Of 24 runs as many are lost: the chance that all are of one side, of either.
    chance = min(1.0, 2 * stats.hypergeom(24, lost, 12).pmf(lost))
    assert (chance < 0.05) == worse
    assert loses_more(some, none) == worse
    assert not loses_more(none, some)


def test_one_seed_of_three_that_loses_every_run_may_be_chance():
    seeds = np.zeros((3, 12))
    bad = seeds + (np.arange(3) == 1)[:, None]
    assert not loses_more(losing(bad), losing(seeds))
    assert loses_more(losing(seeds + 1), losing(seeds))


def test_too_few_starts_lose_no_more_than_chance():
    assert not loses_more(losing(np.ones((4, 2))), losing(np.zeros((4, 2))))


@pytest.mark.parametrize("status", ["interrupted", "running", "failed", "unstable"])
def test_one_run_that_ended_early_moves_no_day_of_the_ranking(status):
    runs = whole([UNET, OTHER, THIRD])
    assert rank(ended(runs, [5], status, 1)).day == 10


def test_day_of_the_ranking_is_the_last_that_more_than_half_of_all_runs_reached():
    runs = whole([UNET, OTHER])
    assert rank(ended(runs, np.arange(11), "unstable", 4)).day == 10
    assert rank(ended(runs, np.arange(12), "unstable", 4)).day == 4
    every = rank(ended(runs, np.arange(24), "unstable", 8))
    assert every.day == 8
    assert "Smallest error of T on day 8, mean over 12 starts: U-Net, steady" in every.sentence()


def test_runs_that_ended_within_a_day_leave_the_day_to_those_that_did_not():
    early = ended(whole([UNET, OTHER]), np.arange(13), "unstable", 0)
    assert rank(early).day == 10
    assert rank(ended(early, [20], "interrupted", 1)).day == 10
    assert "is unknown on day 10" in rank(ended(early, np.arange(24), "failed", 0)).sentence()


def test_row_without_a_value_comes_last_however_few_runs_it_lost():
    runs = ended(whole([UNET, OTHER, THIRD]), np.arange(12), "interrupted", 2)
    ranking = rank(ended(runs, [15, 27], "unstable", 5))
    assert [(row.network, row.lost) for row in ranking.rows] == [
        ("convnext", 1),
        ("pao_model", 1),
        ("unet", 0),
    ]
    text = ranking.sentence()
    assert "on day 10, mean over 11 starts: ConvNeXt, steady" in text
    assert "Unknown on that day: U-Net, steady." in text
    assert "unknown on day" not in text
    assert not ranking.distinguished(2)


def test_two_starts_tell_nothing_apart():
    ranking = rank(short_runs([UNET, OTHER], starts=2, behind=3.0))
    assert not ranking.distinguished(1)
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


def coupled(**values):
    """Coupled runs of one network that were asked for 30 days, the last of them for 20."""
    seeds = np.arange(len(values["status"]))
    about = {
        "role": ["member"] * seeds.size,
        "network": ["unet"] * seeds.size,
        "recipe": ["steady"] * seeds.size,
        "seed": seeds,
        "days_wanted": np.where(seeds == seeds[-1], 20.0, 30.0),
        **values,
    }
    return xarray.Dataset({name: ("run", found) for name, found in about.items()})


def test_days_alive_are_unknown_of_runs_that_stopped_for_another_reason():
    runs = coupled(
        status=[
            "complete",
            "unstable",
            "interrupted",
            "running",
            "failed",
            "interrupted",
            "complete",
        ],
        days=[30.0, 7.0, 8.0, 12.0, 19.0, 25.0, 20.0],
    )
    # The one that was interrupted after the end of the shortest was alive until then.
    expected = [20.0, 7.0, np.nan, np.nan, np.nan, 20.0, 20.0]
    np.testing.assert_array_equal(days_alive(runs), expected)


def test_days_alive_of_runs_that_all_became_unstable_are_their_days():
    runs = coupled(status=["unstable"] * 3 + ["running"], days=[3.0, 25.0, 11.0, 2.0])
    np.testing.assert_array_equal(days_alive(runs), [3.0, 25.0, 11.0, np.nan])


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
