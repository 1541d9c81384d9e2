"""What the status of an experiment says, from the files that its jobs leave."""

import json

import pytest
from rich.console import Console

from climsim.console import PROGRESS_VARIABLE, progress_bar
from climsim.errors import ClimSimError
from climsim.locks import hold
from climsim.workflow.failures import find_failures
from climsim.workflow.job import lock_path, progress_path, state_path
from climsim.workflow.jobs import Job
from climsim.workflow.logs import log_message
from climsim.workflow.remaining import Work, remaining
from climsim.workflow.status import experiment_status, find_experiments
from climsim.workflow.watch import duration, show_json, view


@pytest.fixture
def study(tmp_path):
    """An experiment of two members: the first is done but for its online run."""
    jobs = {}
    for member in ("unet-v6-7", "unet-v6-43"):
        for rule, output in (
            ("train", f"flags/train-{member}.done"),
            ("online_run", f"flags/online-{member}.done"),
        ):
            name = f"{rule}-{member}"
            job = Job(name, rule, member, output=output, product=f"online/{member}")
            jobs[name] = {**vars(job), "log": job.log}
    (tmp_path / "logs").mkdir()
    (tmp_path / "flags").mkdir()
    (tmp_path / "plan.json").write_text(json.dumps({"name": "small", "members": [], "jobs": jobs}))
    finish(tmp_path, "train-unet-v6-7", 100.0, 0)
    (tmp_path / "flags" / "train-unet-v6-7.done").touch()
    return tmp_path


def finish(folder, name, seconds, code):
    state = {"started": 1000.0, "finished": 1000.0 + seconds, "code": code, "host": "x"}
    state_path(folder, name).write_text(json.dumps(state))


def statuses(folder):
    return {job.name: job.status for job in experiment_status(folder).jobs}


def shown(folder):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(view(experiment_status(folder)))
    return capture.get()


def test_done_running_failed_and_waiting_are_distinguished(study):
    finish(study, "train-unet-v6-43", 5.0, 1)
    log = study / "logs" / "train-unet-v6-43.log"
    log.write_text("$ climsim train\nstep 3\nclimsim: error: the loss is not finite\ngoodbye\n")
    with hold(lock_path(study, "online_run-unet-v6-7")):
        progress = {"done": 60, "total": 100, "first": 20, "seconds": 80.0}
        progress_path(study, "online_run-unet-v6-7").write_text(json.dumps(progress))
        assert statuses(study) == {
            "train-unet-v6-7": "done",
            "online_run-unet-v6-7": "running",
            "train-unet-v6-43": "failed",
            "online_run-unet-v6-43": "waiting",
        }
        job = experiment_status(study).jobs[1]
        # 40 steps in 80 s, 40 to go.
        assert (job.fraction, job.seconds_left) == (0.6, 80.0)
        text = shown(study)
    assert "60 %, 80 s left" in text
    assert "train-unet-v6-43: the loss is not finite" in text
    assert "1 of 4 jobs done, 1 running, 1 failed" in text


def test_time_left_counts_what_jobs_of_the_same_stage_took(study):
    finish(study, "online_run-unet-v6-7", 40.0, 0)
    (study / "flags" / "online-unet-v6-7.done").touch()
    assert experiment_status(study).seconds_left() == (140.0, True)
    (study / "flags" / "online-unet-v6-7.done").unlink()
    assert experiment_status(study).seconds_left() == (100.0, False)


def test_job_that_was_killed_is_shown_as_stopped(study):
    state_path(study, "online_run-unet-v6-7").write_text(json.dumps({"started": 1.0, "host": "x"}))
    assert statuses(study)["online_run-unet-v6-7"] == "stopped"
    with hold(study / ".lock"):
        # On a cluster it runs on another machine, as long as the experiment runs.
        assert statuses(study)["online_run-unet-v6-7"] == "running"


def test_unstable_run_is_a_result_and_says_when(study):
    (study / "flags" / "online-unet-v6-7.done").touch()
    record = study / "online" / "unet-v6-7" / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"status": "unstable", "message": "unstable after 3.2 days"}))
    assert statuses(study)["online_run-unet-v6-7"] == "unstable"
    assert "online_run-unet-v6-7: unstable after 3.2 days" in shown(study)


def test_json_holds_every_job(study):
    values = json.loads(show_json([experiment_status(study)]))
    names = [job["name"] for job in values[0]["jobs"]]
    assert names[:2] == ["train-unet-v6-7", "online_run-unet-v6-7"]


def test_experiment_is_found_by_folder_name_and_parent(study, monkeypatch):
    assert find_experiments(str(study)) == [study]
    assert find_experiments(str(study.parent))[0].parent == study.parent
    monkeypatch.chdir(study)
    with pytest.raises(ClimSimError, match=r"nowhere: no experiment has been started there"):
        find_experiments("nowhere")


def test_plan_of_a_preparation_is_no_experiment(study):
    beside = study / "store.zarr.preparing"
    (study / "one").mkdir()
    (study / "plan.json").rename(study / "one" / "plan.json")
    beside.mkdir()
    (beside / "plan.json").write_text(json.dumps({"plan": "0123"}))
    assert find_experiments(str(study)) == [study / "one"]
    with pytest.raises(ClimSimError, match=r"preparing: no experiment has been started there"):
        find_experiments(str(beside))
    with pytest.raises(ClimSimError, match=r"preparing: holds no plan\.json of a study"):
        experiment_status(beside)


def test_progress_of_a_stage_goes_to_the_file_that_is_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "stage.progress"
    monkeypatch.setenv(PROGRESS_VARIABLE, str(path))
    with progress_bar("stage") as progress:
        progress(20, 100)
        assert json.loads(path.read_text())["first"] == 20
        progress(100, 100)
    values = json.loads(path.read_text())
    assert (values["done"], values["total"], values["first"]) == (100, 100, 20)


def test_message_is_of_the_latest_call_of_a_job(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("$ climsim train a=1\nclimsim: error: old\n$ climsim train a=2\nwords\n")
    assert log_message(log) == "words"
    log.write_text("$ climsim train a=1\nclimsim: error: new\n  last  words\n")
    assert log_message(log) == "new"
    assert log_message(tmp_path / "none.log") == ""


def test_failures_are_what_snakemake_named_with_the_words_of_the_stage_or_of_slurm(tmp_path):
    (tmp_path / "logs").mkdir()
    jobs = [
        Job("train-unet-v6-7", "train", "unet-v6-7", output="flags/a.done"),
        Job("online_run-unet-v6-7", "online_run", "unet-v6-7", output="flags/b.done"),
        Job("prepare", "prepare", "", output="flags/c.done"),
    ]
    (tmp_path / "logs" / "train-unet-v6-7.log").write_text("$ climsim train\nclimsim: error: no\n")
    snakemake_log = (
        "Error in rule train:\n    message: None\n    jobid: 3\n    output: flags/a.done\n"
        "    shell:\n        x\n\n"
        "Error in rule prepare:\n    message: SLURM-job '4' failed, SLURM status is: 'TIMEOUT'. "
        "For further error details see the log.\n    output: flags/c.done\n"
    )
    found = find_failures(tmp_path, jobs, snakemake_log)
    assert [(f.member, f.stage, f.message) for f in found] == [
        ("unet-v6-7", "train", "no"),
        (
            "all members",
            "prepare",
            "job 4 of SLURM ended as TIMEOUT: it ran out of time: "
            "raise slurm.rules.prepare.runtime, in minutes",
        ),
    ]


def test_durations_in_words():
    assert [duration(s) for s in (3.4, 89.0, 125.0, 7380.0)] == [
        "3 s", "89 s", "2 min", "2 h 03 min",
    ]  # fmt: skip


def test_time_left_of_a_study_comes_from_all_its_jobs():
    jobs = [
        Work("train", "a", False, 70.0, 30.0),
        Work("offline", "a", False, None, None),
        Work("train", "b", False, None, None),
        Work("offline", "b", False, None, None),
        Work("offline", "c", True, 10.0, None),
    ]
    # a: 30 + 10, b: 100 (as a's) + 10; side by side the longer one counts, else both.
    assert remaining(jobs, slots=2) == (110.0, True)
    assert remaining(jobs, slots=1) == (150.0, True)
    report = Work("report", "", False, None, None)
    assert remaining([*jobs, report], slots=2) == (110.0, False)
    assert remaining([report], slots=2) == (None, False)
