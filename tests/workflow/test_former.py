"""A study begun under former names of its steps is readable and continues."""

import json

import pytest

from climsim.errors import ClimSimError
from climsim.files import read_json, write_json
from climsim.workflow import run
from climsim.workflow.config import ExperimentConfig, Members, Slurm
from climsim.workflow.jobs import PLAN, Job
from climsim.workflow.made_from import put_aside_if_other
from climsim.workflow.run import experiment_config, run_experiment
from climsim.workflow.status import by_member, experiment_status

MEMBER = "unet-v6-7"
FORMER = {
    "train-unet-v6-7": ("train", MEMBER),
    "offline-unet-v6-7": ("offline", MEMBER),
    "online-mmf1": ("online_reference", "mmf1"),
    "online-unet-v6-7": ("online_member", MEMBER),
    "online_metrics": ("online_metrics", ""),
}
PRESENT = [
    "train-unet-v6-7",
    "evaluate_offline-unet-v6-7",
    "online_reference-mmf1",
    "online_run-unet-v6-7",
    "evaluate_online",
]


@pytest.fixture
def begun(tmp_path):
    """The folder of a study as former versions left it: every job has its files in logs."""
    (tmp_path / "logs").mkdir()
    jobs = {}
    for name, (rule, member) in FORMER.items():
        values = {"name": name, "rule": rule, "member": member, "output": f"flags/{name}.done"}
        jobs[name] = {**values, "product": "", "log": f"logs/{name}.log"}
        state = {"started": 0.0, "finished": 5.0, "code": 1, "host": "x"}
        (tmp_path / "logs" / f"{name}.json").write_text(json.dumps(state))
        (tmp_path / "logs" / f"{name}.log").write_text(f"climsim: error: {name} failed\n")
        (tmp_path / "logs" / f"{name}.made-from.json").write_text("{}")
        (tmp_path / "logs" / f"{name}.lock").touch()
    (tmp_path / PLAN).write_text(json.dumps({"name": "small", "members": [], "jobs": jobs}))
    return tmp_path


def test_status_of_a_study_begun_before_is_readable(begun):
    jobs = experiment_status(begun).jobs
    assert {job.status for job in jobs} == {"failed"}
    assert [job.message for job in jobs] == [f"{name} failed" for name in FORMER]
    assert set(by_member(jobs)[MEMBER]) == {"train", "evaluate_offline", "online_run"}


def test_files_of_a_study_begun_before_get_the_names_of_its_present_jobs(begun):
    run._adopt_former_names(begun)
    names = {path.name for path in (begun / "logs").iterdir()}
    assert names == {f"{n}.{e}" for n in PRESENT for e in ("json", "lock", "log", "made-from.json")}
    assert "online-mmf1" in (begun / "logs" / "online_reference-mmf1.log").read_text()
    run._adopt_former_names(begun)
    assert {path.name for path in (begun / "logs").iterdir()} == names


@pytest.mark.parametrize(
    ("word", "present"),
    [
        ("stages.online_member.days=3", "stages.online_run.days"),
        ("+stages.online_mmf2.days=3", "references.mmf2.days"),
        ("+slurm.rules.online_metrics.runtime=3", "slurm.rules.evaluate_online.runtime"),
    ],
)
def test_former_key_on_the_command_line_is_answered_by_the_present_one(word, present):
    with pytest.raises(ClimSimError) as caught:
        experiment_config("demo", [word])
    assert str(caught.value) == f"{word.lstrip('+').partition('=')[0]}: renamed: write {present}"


def test_former_key_in_a_file_is_answered_by_the_present_one(tmp_path):
    members = Members(("unet",), ("standard",), (7,))
    with pytest.raises(ClimSimError, match=r"^stages\.online_mmf1: .* write references\.mmf1$"):
        ExperimentConfig("a", tmp_path, members, stages={"online_mmf1": {"days": 1}})
    with pytest.raises(ClimSimError, match=r"^slurm\.rules\.offline: .*evaluate_offline$"):
        Slurm(rules={"offline": {"runtime": 3}})


@pytest.mark.parametrize(
    ("host", "runs"), [("gcm", ("reference", "reference_perturbed")), ("e3sm", ("mmf1", "mmf2"))]
)
def test_reference_runs_are_called_mmf_on_an_mmf_alone(tmp_path, host, runs):
    config = ExperimentConfig(
        "a",
        tmp_path,
        Members(("unet",), ("standard",), (7,)),
        host=host,
        references={"reference": {"days": 1}, runs[1]: {"days": 2}},
    )
    assert config.reference_settings() == {runs[0]: {"days": 1}, runs[1]: {"days": 2}}


def test_reference_runs_of_a_study_begun_before_keep_their_folders(tmp_path):
    members = Members(("unet",), ("standard",), (7,))
    (tmp_path / "online" / "mmf1").mkdir(parents=True)
    config = ExperimentConfig("a", tmp_path, members)
    assert list(config.reference_settings()) == ["mmf1", "mmf2"]
    message = r"^references\.mmf2: renamed on this host: write references\.reference_perturbed$"
    with pytest.raises(ClimSimError, match=message):
        ExperimentConfig("a", tmp_path, members, references={"mmf2": {"days": 1}})


def test_former_step_to_stop_after_is_answered_by_the_present_one():
    with pytest.raises(
        ClimSimError, match="--until: 'offline' was renamed: write evaluate_offline"
    ):
        run_experiment("demo", until="offline")


@pytest.mark.parametrize(
    ("rule", "key", "before", "now", "kept"),
    [
        ("train", "trainer.precision", "bf16", "bfloat16", True),
        ("train", "trainer.precision", "32", "float32", True),
        ("train", "trainer.precision", "32", "bfloat16", False),
        ("train_visited", "trainer.precision", "16", "float16", True),
        ("online_run", "device", "cuda", "gpu", True),
        ("online_run", "device", "cuda", "cpu", False),
    ],
)
def test_product_noted_in_former_words_is_kept_where_they_mean_the_same(
    tmp_path, rule, key, before, now, kept
):
    job = Job(rule, rule, "", product="product")
    (tmp_path / "product").mkdir()
    (tmp_path / "logs").mkdir()
    note = tmp_path / "logs" / f"{rule}.made-from.json"
    write_json(note, {"settings": {key: before, "seed": 7}, "inputs": {}})
    put_aside_if_other(tmp_path, job, {"settings": {key: now, "seed": 7}, "inputs": {}}, 1.0)
    assert (tmp_path / "product").exists() == kept
    assert (tmp_path / "replaced" / "product").exists() != kept
    assert read_json(note)["settings"][key] == now
