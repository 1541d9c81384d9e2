"""Short runs of a study, kill -9 in the run that keeps their starts, and resumed."""

import numpy as np
import pytest
import xarray

from climsim.workflow.maker import Jobs
from climsim.workflow.plan import joint_jobs, make_plan
from climsim.workflow.run import experiment_config
from tests.workflow.test_killed_iteration import GIVEN, STEP, killed, run, whole_and_begun

MEMBER = "unet-standard-7"
SHORT = ("hindcasts.starts=3", "hindcasts.days_apart=1", "hindcasts.days=1", "iterations=0")


def commands():
    """Commands that the short runs wait for, and those that make and measure them."""
    config = experiment_config("aggregate", [*GIVEN, *SHORT])
    make = Jobs(config, None)
    jobs = [*make_plan(config, make), *joint_jobs(make, [MEMBER], [], [MEMBER])]
    short = ("hindcast_reference", "online_hindcasts", "evaluate_hindcasts")
    unused = ("evaluate_offline", "online_run", "online_reference", "figures", "report")
    before = [job.command for job in jobs if job.rule not in (*short, *unused)]
    return before, [job.command for job in jobs if job.rule in short]


def metrics(folder):
    with xarray.open_dataset(folder / "hindcasts.nc") as data:
        return data.load()


@pytest.mark.slow
def test_short_runs_from_starts_of_a_killed_run_are_those_of_an_undisturbed_one(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    before, short = commands()
    whole, cut = whole_and_begun(tmp_path, before, short)
    # In the third of three days, after the state of its beginning was kept.
    killed(cut, short, (STEP, 150))
    kept = sorted(path.name for path in (cut / "hindcasts/reference/starts").iterdir())
    assert kept == ["day0000", "day0001", "day0002"]
    run(cut, short)
    expected, found = metrics(whole), metrics(cut)
    assert expected["start"].values.tolist() == [0, 1, 2]
    assert np.isfinite(expected["growth_daily_T"].values).all()
    for name in expected.data_vars:
        if name != "sypd":
            np.testing.assert_array_equal(found[name].values, expected[name].values, name)
