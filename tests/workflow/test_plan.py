"""Commands, products and order of the jobs of a study follow from its stages."""

import pytest

from climsim.workflow.plan import Jobs, awaited, joint_jobs, make_plan
from climsim.workflow.run import experiment_config
from climsim.workflow.steps import JOINT, STEPS

ONE = ("members.networks=[unet]", "members.recipes=[standard]", "members.seeds=[7]")
MEMBER, OTHER = "unet-standard-7", "unet-standard-43"


@pytest.fixture(scope="module")
def jobs():
    settings = ["+stages.online_run.days=3", "+stages.evaluate_offline.stride=6"]
    config = experiment_config("demo", [*ONE, "members.seeds=[7,43]", *settings])
    make = Jobs(config, None)
    every = [*make_plan(config, make), *joint_jobs(make, [MEMBER, OTHER], [MEMBER])]
    return {job.name: job for job in every}


def test_every_step_is_named_after_its_stage_and_runs_its_command(jobs):
    assert set(STEPS) == {job.rule for job in jobs.values()}
    for rule, step in STEPS.items():
        assert rule in (step.stage.name, "online_reference", "evaluate_ensemble")
    for job in jobs.values():
        path = STEPS[job.rule].stage.path
        assert job.command[: len(path)] == path
        assert job.name == (f"{job.rule}-{job.member}" if job.member else job.rule)
    assert set(JOINT) <= set(STEPS)


def test_jobs_wait_for_what_makes_their_inputs(jobs, tmp_path):
    after = awaited(tmp_path, list(jobs.values()))
    assert after["generate"] == []
    assert after["prepare"] == ["flags/generate.done"]
    assert after["statistics"] == ["flags/prepare.done"]
    assert after[f"train-{MEMBER}"] == ["flags/prepare.done", "statistics.nc"]
    # A file within a folder waits for the folder.
    assert after[f"export-{MEMBER}"] == [f"flags/train-{MEMBER}.done"]
    assert after["online_reference-mmf1"] == ["flags/generate.done"]
    assert after[f"online_run-{MEMBER}"] == ["flags/generate.done", f"models/{MEMBER}.pt"]
    runs = [f"flags/online-{name}.done" for name in ("mmf1", "mmf2", MEMBER)]
    assert after["evaluate_online"] == runs
    scored = [f"offline/unet-standard{seed}.nc" for seed in ("-43", "-7", "")]
    assert after["report"] == ["flags/figures.done", *scored, "online.nc"]


def test_seeds_of_a_network_and_recipe_are_scored_together_as_each_of_them_is(jobs, tmp_path):
    ensemble = jobs["evaluate_ensemble-unet-standard"]
    models = [f"models/{member}.pt" for member in (MEMBER, OTHER)]
    waits = awaited(tmp_path, list(jobs.values()))[ensemble.name]
    assert waits == ["flags/prepare.done", *sorted(models)]
    assert (ensemble.settings["model"], ensemble.settings["members"]) == (models[0], models[1:])
    assert ensemble.settings["stride"] == jobs[f"evaluate_offline-{MEMBER}"].settings["stride"] == 6


def test_ensembles_are_of_the_seeds_that_got_there(jobs):
    make = Jobs(experiment_config("demo", [*ONE, "members.seeds=[7,43,1024]"]), None)
    two = joint_jobs(make, [MEMBER, OTHER], [])[0]
    assert two.settings["members"] == [f"models/{OTHER}.pt"]
    assert [job.rule for job in joint_jobs(make, [MEMBER], [])] == ["figures", "report"]


def test_file_that_is_there_is_waited_for_by_its_path(jobs, tmp_path):
    (tmp_path / "failures.json").touch()
    config = experiment_config("demo", ONE)
    report = joint_jobs(Jobs(config, None), [MEMBER], [], failures=True)[-1]
    assert awaited(tmp_path, [report])["report"] == ["failures.json"]


def test_settings_of_one_reference_or_of_the_members_change_no_other_run(jobs):
    runs = {name: jobs[name].settings for name in jobs if name.startswith("online_")}
    assert {name: run["days"] for name, run in runs.items()} == {
        "online_reference-mmf1": 10,
        "online_reference-mmf2": 10,
        f"online_run-{MEMBER}": 3,
        f"online_run-{OTHER}": 3,
    }
    seeds = [run["perturbation_seed"] for run in runs.values()]
    assert seeds == [None, 2, None, None]
