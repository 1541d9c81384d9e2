"""Short runs from starts that a longer run keeps: exact starts, hand-worked errors, a ranking."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from climsim.cli import main
from climsim.errors import ClimSimError
from climsim.evaluation.config import HindcastConfig
from climsim.evaluation.hindcasts import evaluate_hindcasts
from climsim.online.config import EnsembleConfig
from climsim.online.restart import start_of_day
from climsim.online.run import RunConfig, run_online
from climsim.results.ranking import rank
from climsim.runs.coupling import CouplerOptions
from tests.online.test_ensemble import HOST, model

WARMTH, COLD, WARM = 1e-6, -1e-6, 4e-6
"""Heating of the room and of the two models [K/s]."""
STEP, DAY = 1200.0, 86400.0
SPINUP = CouplerOptions().spinup_steps
"""Steps by physics before a model takes over."""
STARTS, DAYS = 3, 2


def run_members(ensemble):
    """Here, one after another: processes of their own take seconds to begin."""
    for member in ensemble.members():
        run_online(member)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of four days that keeps a start a day, and two members from each of three starts."""
    folder = tmp_path_factory.mktemp("hindcasts")
    run_online(RunConfig("truth", folder / "truth", 4, host=HOST, kept_restart_days=1))
    starts = [start_of_day(folder / "truth", day) for day in range(STARTS)]
    for name, warmth in (("cold", COLD), ("warm", WARM)):
        file = model(folder, f"{name}-standard-7", warmth)
        ensemble = EnsembleConfig(
            name, folder / name, DAYS, host=HOST, model=file, starts=starts, parallel=1
        )
        run_members(ensemble)
    return folder


@pytest.fixture(scope="module")
def metrics(made):
    out = made / "hindcasts.nc"
    evaluate_hindcasts(HindcastConfig((made / "cold", made / "warm"), made / "truth", out))
    with xr.open_dataset(out) as data:
        return data.load()


def test_run_keeps_the_state_of_every_day_and_its_start(made):
    kept = sorted(path.name for path in (made / "truth" / "starts").iterdir())
    assert kept == [f"day{day:04d}" for day in range(5)]
    with np.load(start_of_day(made / "truth", 2)) as state:
        assert state["step"] == 144
        np.testing.assert_allclose(state["temperature"], 280 + WARMTH * 2 * DAY, rtol=1e-12)


def test_interrupted_run_keeps_the_starts_of_an_undisturbed_one(made, tmp_path):
    for days in (1.5, 4):
        run_online(RunConfig("truth", tmp_path / "parts", days, host=HOST, kept_restart_days=1))
    for path in (made / "truth" / "starts").iterdir():
        with np.load(path) as whole, np.load(tmp_path / "parts" / "starts" / path.name) as part:
            assert all(np.array_equal(whole[name], part[name]) for name in whole)


def test_members_are_named_by_their_start(made):
    assert sorted(p.name for p in (made / "cold").iterdir() if p.is_dir()) == [
        f"cold-day{day:04d}" for day in range(STARTS)
    ]


@pytest.mark.parametrize(("member", "warmth"), [("cold", COLD), ("warm", WARM)])
def test_error_by_day_is_the_mean_distance_since_the_start(metrics, member, warmth):
    chosen = metrics.isel(run=np.flatnonzero(metrics["network"] == member))
    assert sorted(chosen["start"].values) == list(range(STARTS))
    steps = np.arange(DAYS * DAY / STEP)
    apart = abs(warmth - WARMTH) * STEP * np.maximum(steps - SPINUP, 0)
    expected = apart.reshape(DAYS, -1).mean(axis=1)
    for errors in chosen["growth_daily_T"].values:
        np.testing.assert_allclose(errors, expected, rtol=1e-3)


def test_dates_and_days_belong_to_the_starts(metrics):
    assert metrics["day"].values.tolist() == [1, 2]
    dates = dict(zip(metrics["start"].values, metrics["start_date"].values, strict=True))
    assert dates == {0: "0001-01-01", 1: "0001-01-02", 2: "0001-01-03"}


def test_ranking_puts_the_nearer_member_first_and_says_that_the_other_is_worse(metrics):
    ranking = rank(metrics)
    assert [row.network for row in ranking.rows] == ["cold", "warm"]
    assert ranking.day == 2
    assert ranking.told_apart(1)
    assert "over 3 starts: cold, standard" in ranking.sentence()
    assert "The other (1) is worse by more than chance." in ranking.sentence()


def test_unstable_run_counts_as_lost_and_its_days_are_unknown(made, tmp_path):
    file = model(tmp_path, "hot-standard-7", 1.2e-3)
    starts = [start_of_day(made / "truth", day) for day in range(2)]
    run_members(
        EnsembleConfig("hot", tmp_path / "hot", 2, host=HOST, model=file, starts=starts, parallel=1)
    )
    out = tmp_path / "out.nc"
    evaluate_hindcasts(HindcastConfig((made / "cold", tmp_path / "hot"), made / "truth", out))
    with xr.open_dataset(out) as data:
        hot = data.isel(run=np.flatnonzero(data["network"] == "hot"))
        assert np.isnan(hot["growth_daily_T"].values).all()
        ranking = rank(data.load())
    assert [(row.network, row.stable, row.runs) for row in ranking.rows] == [
        ("cold", 3, 3),
        ("hot", 0, 2),
    ]
    assert ranking.told_apart(1)


def test_run_without_a_model_is_the_floor(made, tmp_path):
    start = start_of_day(made / "truth", 1)
    run_online(
        RunConfig("again", tmp_path / "again", 2, host=HOST, start=start, perturbation_seed=3)
    )
    out = tmp_path / "out.nc"
    evaluate_hindcasts(HindcastConfig((made / "cold", tmp_path / "again"), made / "truth", out))
    with xr.open_dataset(out) as data:
        assert 0 < rank(data.load()).floor < 0.05


def test_run_from_elsewhere_is_refused_by_name(made, tmp_path):
    run_online(RunConfig("late", tmp_path / "late", 2, host=HOST, host_options={"warmth": 0.0}))
    shutil.copytree(made / "warm" / "warm-day0002", tmp_path / "later")
    with pytest.raises(ClimSimError, match=r"later: begins on 0001-01-03, .*late has no"):
        evaluate_hindcasts(
            HindcastConfig((tmp_path / "later",), tmp_path / "late", tmp_path / "out.nc")
        )
    assert not (tmp_path / "out.nc").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["runs=nowhere"], "runs: nowhere: no such folder"),
        (["runs=empty"], "runs: empty: expected a run or an ensemble of runs, found neither"),
    ],
)
def test_folder_without_runs_is_refused(made, tmp_path, monkeypatch, capsys, given, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    words = ["evaluate", "hindcasts", *given, f"reference={made / 'truth'}", "out=out.nc"]
    with pytest.raises(SystemExit, match="1"):
        main(words)
    assert message in capsys.readouterr().err


def test_kept_days_between_restart_points_are_refused(tmp_path):
    with pytest.raises(ClimSimError, match="expected a multiple of restart_days=2"):
        RunConfig("a", tmp_path, 4, host=HOST, restart_days=2.0, kept_restart_days=3)


def test_several_starts_do_not_step_together(tmp_path):
    with pytest.raises(ClimSimError, match="together: expected 1 with starts"):
        EnsembleConfig("a", tmp_path, 4, host=HOST, starts=(Path("x"),), together=2)


def test_command_prints_the_ranking(made, tmp_path, capsys):
    words = [f"runs=[{made / 'cold'},{made / 'warm'}]", f"reference={made / 'truth'}"]
    with pytest.raises(SystemExit, match="0"):
        main(["evaluate", "hindcasts", *words, f"out={tmp_path / 'out.nc'}"])
    assert "Smallest error of T on day 2, mean over 3 starts: cold, standard" in (
        capsys.readouterr().out
    )
