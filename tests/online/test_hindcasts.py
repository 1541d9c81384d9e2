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
from climsim.files import read_json, write_json
from climsim.online import loop
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


def test_start_that_was_due_when_a_run_was_killed_is_there_after_all(tmp_path, monkeypatch):
    config = RunConfig("truth", tmp_path / "run", 3, host=HOST, kept_restart_days=1)
    keep, killed = loop.keep_start, []

    def kill_on_the_second_day(folder, host, day):
        if day == 2 and not killed:
            killed.append(day)
            raise KeyboardInterrupt
        keep(folder, host, day)

    monkeypatch.setattr(loop, "keep_start", kill_on_the_second_day)
    with pytest.raises(KeyboardInterrupt):
        run_online(config)
    run_online(config)
    assert [start_of_day(config.folder, day).is_file() for day in range(4)] == [True] * 4


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
    assert ranking.distinguished(1)
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
    assert ranking.sentence().endswith("Runs became unstable: hot, standard (2 of 2).")


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


@pytest.mark.parametrize("restart_days", [0.1, 0.4375, 1.0, 4.0])
def test_starts_are_kept_between_restart_points_too(made, tmp_path, restart_days):
    run_online(
        RunConfig("truth", tmp_path, 4, host=HOST, restart_days=restart_days, kept_restart_days=3)
    )
    kept = sorted(path.name for path in (tmp_path / "starts").iterdir())
    assert kept == ["day0000", "day0003"]
    with (
        np.load(start_of_day(tmp_path, 3)) as start,
        np.load(start_of_day(made / "truth", 3)) as every_day,
    ):
        assert all(np.array_equal(start[name], every_day[name]) for name in every_day)


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


def measured(tmp_path, runs, reference):
    """Metrics of short runs, loaded."""
    out = tmp_path / "metrics.nc"
    evaluate_hindcasts(HindcastConfig(tuple(runs), reference, out))
    with xr.open_dataset(out) as data:
        return data.load()


def without(folder, to, *names):
    """A copy of a folder that lacks some files."""
    shutil.copytree(folder, to)
    for name in names:
        (found,) = to.rglob(name)
        found.unlink()
    return to


def test_run_that_wrote_no_day_is_lost_at_the_start_of_its_record(made, tmp_path):
    broken = without(made / "warm", tmp_path / "warm")
    crashed = broken / "warm-day0001"
    for path in crashed.glob("*.nc"):
        path.unlink()
    record = read_json(crashed / "record.json")
    write_json(crashed / "record.json", {**record, "status": "unstable"})
    found = measured(tmp_path, [broken], made / "truth")
    assert found["start"].values.tolist() == [0, 1, 2]
    assert np.isnan(found["growth_daily_T"].values[1]).all()
    (row,) = rank(found).rows
    assert (row.runs, row.stable, row.known_starts) == (3, 2, 2)
    assert "mean over 2 starts" in rank(found).sentence()


@pytest.mark.parametrize(
    ("lost", "unknown"), [("truth.eam.h1.0001-01-02-*.nc", [(0, 1), (1, 0)]), (None, [])]
)
def test_day_that_the_reference_lacks_is_unknown_and_moves_no_other(
    made, tmp_path, metrics, lost, unknown
):
    truth = without(made / "truth", tmp_path / "truth", *([lost] if lost else []))
    cold = made / "cold"
    # The run from the lost day has no reference to begin with.
    runs = [cold / f"cold-day{day:04d}" for day in ((0, 2) if lost else range(STARTS))]
    found = measured(tmp_path, runs, truth).sortby("start")
    whole = metrics.isel(run=np.flatnonzero(metrics["network"] == "cold")).sortby("start")
    for start, errors in zip(found["start"].values, found["growth_daily_T"].values, strict=True):
        expected = whole["growth_daily_T"].sel(run=whole["start"] == start).values[0].copy()
        for of, day in unknown:
            if of == start:
                expected[day] = np.nan
        np.testing.assert_allclose(errors, expected)


def test_run_that_lost_its_first_day_keeps_its_start(made, tmp_path, metrics):
    late = without(made / "cold" / "cold-day0000", tmp_path / "cold", "*.h1.0001-01-01-*.nc")
    found = measured(tmp_path, [late], made / "truth")
    whole = metrics.isel(run=np.flatnonzero((metrics["network"] == "cold") & (metrics.start == 0)))
    assert found["start"].values.tolist() == [0]
    np.testing.assert_allclose(
        found["growth_daily_T"].values[0], [np.nan, whole["growth_daily_T"].values[0, 1]]
    )


def test_run_of_which_nobody_knows_what_ran_is_refused(made, tmp_path):
    damaged = without(made / "warm", tmp_path / "damaged")
    record = damaged / "warm-day0001" / "record.json"
    record.write_text(record.read_text()[:200])
    with pytest.raises(ClimSimError, match=r"warm-day0001/record\.json: expected what ran"):
        measured(tmp_path, [damaged], made / "truth")
    record.unlink()
    with pytest.raises(ClimSimError, match=r"warm-day0001/record\.json: expected the record besid"):
        measured(tmp_path, [damaged], made / "truth")


def test_runs_named_twice_or_not_at_all_are_refused(made, tmp_path):
    with pytest.raises(ClimSimError, match="found the same: give each once"):
        measured(tmp_path, [made / "cold", made / "cold" / "cold-day0000"], made / "truth")
    with pytest.raises(ClimSimError, match="what is compared with itself has no errors"):
        measured(tmp_path, [made / "cold"], made / "cold" / "cold-day0000")
    with pytest.raises(ClimSimError, match=r"^runs: expected folders of runs"):
        HindcastConfig((), made / "truth", tmp_path / "out.nc")


def test_full_physics_alone_has_no_ranking(made, tmp_path):
    start = start_of_day(made / "truth", 1)
    again = tmp_path / "again"
    run_online(RunConfig("again", again, 2, host=HOST, start=start, perturbation_seed=3))
    ranking = rank(measured(tmp_path, [again], made / "truth"))
    assert ranking.sentence() == "No run of a model: nothing to rank."


def test_ranking_counts_perturbed_runs_of_a_start_by_their_mean(metrics):
    cold = metrics.isel(run=np.flatnonzero(metrics["network"] == "cold"))
    apart = cold.assign(growth_daily_T=cold["growth_daily_T"] * 3)
    ranking = rank(xr.concat([cold, apart], "run", data_vars="minimal"))
    expected = 2 * cold["growth_daily_T"].values[:, -1].mean()
    assert ranking.rows[0].mean == pytest.approx(expected)
    assert (ranking.rows[0].runs, ranking.rows[0].known_starts) == (6, 3)


def test_day_of_the_ranking_is_the_last_that_most_runs_have(metrics):
    errors = metrics["growth_daily_T"].copy()
    assert rank(metrics).day == 2
    errors[1:, -1] = np.nan
    assert rank(metrics.assign(growth_daily_T=errors)).day == 1
    errors[:] = np.nan
    unknown = rank(metrics.assign(growth_daily_T=errors)).sentence()
    assert unknown == "The error of T is unknown on day 2 for every member."
