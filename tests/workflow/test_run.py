"""The workflow with a recording stand-in for the command line."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser

from climsim.errors import ClimSimError
from climsim.workflow import maker, run
from tests import ROOT
from tests.evaluation_synthetic import write_store


@pytest.fixture
def given_store(tmp_path):
    write_store(tmp_path / "given.zarr", validation=1)
    return tmp_path / "given.zarr"


def calls(folder: Path) -> list[str]:
    path = folder / "calls.txt"
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def start(folder, *overrides, **options):
    member = ("members.networks=[unet]", "members.recipes=[standard]")
    return run.run_experiment(
        "demo", [f"folder={folder}", "cores=2", *member, *overrides], **options
    )


def test_everything_runs_once_and_a_second_call_does_nothing(folder):
    report = start(folder, "members.seeds=[7,43]")
    assert report == folder / "report.html"
    assert report.exists()
    made = calls(folder)
    assert len([c for c in made if c.startswith("train")]) == 2
    assert len([c for c in made if c.startswith("online run")]) == 4
    assert made[0].startswith("data generate")
    assert made[-1].startswith("report")
    start(folder, "members.seeds=[7,43]")
    assert calls(folder) == []


def test_failed_stage_stops_only_what_needs_it_and_a_second_call_resumes(folder):
    folder.mkdir()
    (folder.parent / "fail-train").touch()
    with pytest.raises(ClimSimError, match=r"experiment 'demo': a stage failed"):
        start(folder)
    made = calls(folder)
    assert any("case=reference" in c for c in made)
    assert not any(c.startswith("export") for c in made)
    (folder.parent / "fail-train").unlink()
    start(folder)
    again = calls(folder)
    assert again[0].startswith("train")
    assert not any(c.startswith("data") or "case=reference" in c for c in again)


@pytest.mark.slow
def test_changed_overrides_of_a_stage_rerun_it_and_what_follows(folder):
    start(folder)
    calls(folder)
    start(folder, "+stages.online_run.days=9")
    again = calls(folder)
    assert [c.split()[0] for c in again] == ["online", "evaluate", "figures", "report"]
    assert "days=9" in again[0]
    # Another length continues a run.
    assert not (folder / "replaced" / "online").exists()


@pytest.mark.slow
def test_deleted_product_is_made_again_only_when_something_needs_it(folder):
    start(folder)
    calls(folder)
    shutil.rmtree(folder / "online" / "reference_perturbed")
    start(folder)
    assert calls(folder) == []
    (folder / "online.nc").unlink()
    start(folder)
    again = calls(folder)
    assert any("case=reference_perturbed" in c for c in again)
    assert not any("case=reference " in c for c in again)


def test_dry_run_lists_the_jobs_and_leaves_nothing_behind(folder, capsys):
    assert start(folder, dry_run=True) is None
    assert not folder.exists()
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "generate"
    assert {
        "online_reference-reference_perturbed",
        "train-unet-standard-7",
        "online_run-unet-standard-7",
    } < set(shown)
    assert shown[-1] == f"{len(shown) - 1} jobs to run"


def test_file_with_braces_in_its_name_is_refused(folder, tmp_path):
    store = tmp_path / "{m}.zarr"
    write_store(store, validation=2)
    with pytest.raises(
        ClimSimError, match=r"\{m\}\.zarr: expected a path without braces, .*rename"
    ):
        start(folder, f"source.store='{store}'", dry_run=True)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("Error in rule train:", "jobid: 3"),
        ("WorkflowError:", "No such directory"),
        ("ResourceConversionError in file Snakefile:", "Resource 'mem_mb' is of type str"),
        ("WildcardError in rule evaluate_offline in file Snakefile:", "m"),
    ],
)
def test_reason_is_found_in_what_snakemake_prints(line, more):
    text = f"Building DAG of jobs...\n{line}\n    {more}\n(rule a, line 10, Snakefile)\n"
    assert run._snakemake_error(text) == f"{line} {more}"


def test_own_network_and_own_file_join_a_study_by_one_key(folder, tmp_path):
    own = ROOT / "examples" / "own_network.py"
    file = tmp_path / "my relaxation.pt"
    file.write_text("x")
    networks = f"members.networks={own}:LevelConvolution"
    start(folder, networks, f"members.models={file}")
    made = calls(folder)
    trained = next(c for c in made if c.startswith("train"))
    assert f"network.name={own}:LevelConvolution" in trained or f"network={own}" in trained
    exported = [c for c in made if c.startswith("export")]
    assert len(exported) == 1
    assert "out=models/LevelConvolution-standard-7.pt" in exported[0]
    scored = [c for c in made if c.startswith("evaluate offline")]
    assert any(f"model='{file}'" in c and "out=offline/my_relaxation.nc" in c for c in scored)
    coupled = next(c for c in made if "case=my_relaxation" in c)
    assert f"model='{file}'" in coupled
    evaluated = next(c for c in made if c.startswith("evaluate online"))
    assert "online/LevelConvolution-standard-7,online/my_relaxation]" in evaluated


def test_members_of_one_name_are_refused(folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.pt").touch()
    with pytest.raises(ClimSimError, match="different names, found 'same' twice"):
        start(folder, f"members.models={tmp_path}/a/same.pt,{tmp_path}/b/same.pt")
    with pytest.raises(ClimSimError, match=r"members.models: .*none.pt: no such file"):
        start(folder, "members.models=none.pt")


def test_refused_study_leaves_no_folder(folder):
    with pytest.raises(ClimSimError, match=r"stages.train: unknown configuration key 'sed'"):
        start(folder, "+stages.train.sed=7")
    with pytest.raises(ClimSimError, match="which expanded inputs need"):
        start(folder, "members.recipes=[v6]", "+stages.prepare.memory=false")
    assert not folder.exists()


def test_figures_leave_out_what_only_a_failed_member_has(folder):
    two = ("members.recipes=[standard,multirep]", "+stages.figures.recipes=[multirep,standard]")
    folder.mkdir()
    (folder.parent / "fail-train-unet-multirep-7").touch()
    with pytest.raises(ClimSimError, match="train of unet-multirep-7"):
        start(folder, *two)
    (drawn,) = (c for c in calls(folder) if c.startswith("figures"))
    assert "recipes=[standard]" in drawn
    (folder.parent / "fail-train-unet-multirep-7").unlink()
    start(folder, *two)
    (drawn,) = (c for c in calls(folder) if c.startswith("figures"))
    assert "recipes=[multirep,standard]" in drawn


def test_failed_member_leaves_the_others_whole_and_is_tried_again(folder):
    three = ("members.recipes=[standard,multirep,v6]",)
    folder.mkdir()
    (folder.parent / "fail-train-unet-v6-7").touch()
    (folder.parent / "fail-run-unet-multirep-7").touch()
    with pytest.raises(ClimSimError, match=r"online_run of unet-multirep-7 .*fail\) and 1"):
        start(folder, *three)
    made = calls(folder)
    assert (folder / "report.html").exists()
    evaluated = next(c for c in made if c.startswith("evaluate online"))
    assert "runs=[online/unet-standard-7]" in evaluated
    # An online run that failed takes nothing from the offline metrics of its member.
    assert "offline=[offline/unet-standard-7.nc,offline/unet-multirep-7.nc]" in made[-1]
    assert json.loads((folder / "failures.json").read_text()) == [
        {
            "member": "unet-multirep-7",
            "stage": "online_run",
            "message": "asked to fail",
            "log": "logs/online_run-unet-multirep-7.log",
        },
        {
            "member": "unet-v6-7",
            "stage": "train",
            "message": "asked to fail",
            "log": "logs/train-unet-v6-7.log",
        },
    ]
    (folder.parent / "fail-train-unet-v6-7").unlink()
    (folder.parent / "fail-run-unet-multirep-7").unlink()
    start(folder, *three)
    again = calls(folder)
    trained = [c for c in again if c.startswith("train")]
    assert len(trained) == 1
    assert "recipe=v6" in trained[0]
    assert not any("unet-standard-7" in c for c in again if c.startswith(("train", "export")))
    assert "offline/unet-standard-7.nc,offline/unet-multirep-7.nc,offline/unet-v6-7" in again[-1]
    assert not (folder / "failures.json").exists()


def test_changed_recipe_reruns_only_its_members_and_starts_them_anew(folder):
    two = ("members.recipes=[standard,v6]",)
    start(folder, *two)
    calls(folder)
    start(folder, *two, "+recipes.v6.recipe.delta=2.0")
    again = calls(folder)
    assert [c.split()[0] for c in again if "unet-standard-7" in c and "unet-v6-7" not in c] == []
    assert [c.split()[0] for c in again if c.startswith("train")] == ["train"]
    assert "recipe.delta=2.0" in again[0]
    old = (folder / "replaced" / "members" / "unet-v6-7" / "content").read_text()
    assert "recipe.delta" not in old
    assert "recipe.delta=2.0" in (folder / "members" / "unet-v6-7" / "content").read_text()
    assert (folder / "replaced" / "online" / "unet-v6-7").exists()


@pytest.mark.slow
def test_edited_code_and_new_raw_files_are_noticed(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "E3SM-MMF.mli.0001-02-01-00000.nc").write_text("x")
    shutil.copy(ROOT / "examples" / "own_loss.py", tmp_path / "mine.py")
    study = ("source.raw=raw", "+recipes.standard.recipe.loss=mine.py:log_cosh")
    start(folder, *study, until="train")
    assert f"recipe.loss={tmp_path / 'mine.py'}:log_cosh" in calls(folder)[-1]
    start(folder, *study, until="train")
    assert calls(folder) == []
    with (tmp_path / "mine.py").open("a") as code:
        code.write("# other\n")
    start(folder, *study, until="train")
    assert [c.split()[0] for c in calls(folder)] == ["train"]
    assert (folder / "replaced" / "members" / "unet-standard-7").exists()
    (tmp_path / "raw" / "E3SM-MMF.mli.0001-02-01-01200.nc").write_text("x")
    start(folder, *study, until="train")
    assert [c.split()[:2] for c in calls(folder)][:2] == [
        ["data", "prepare"],
        ["data", "statistics"],
    ]


@pytest.mark.slow
def test_edited_recipe_file_reruns_only_its_members_on_a_given_store(folder, tmp_path, given_store):
    recipe = tmp_path / "conf" / "recipe" / "mine.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("defaults: [standard, _self_]\nname: mine\ndelta: 0.5\n")
    study = ("members.recipes=[standard,mine]", f"source.store={given_store}")
    start(folder, *study, config_dir=str(tmp_path / "conf"))
    made = calls(folder)
    assert not any(c.startswith(("data generate", "data prepare")) for c in made)
    assert not any("start=" in c for c in made)
    trained = [c for c in made if c.startswith("train")]
    assert all(f"data.store={given_store}" in c for c in trained)
    assert all(f"--config-dir {tmp_path / 'conf'}" in c for c in trained)
    recipe.write_text("defaults: [standard, _self_]\nname: mine\ndelta: 0.25\n")
    start(folder, *study, config_dir=str(tmp_path / "conf"))
    again = calls(folder)
    assert len([c for c in again if c.startswith("train")]) == 1
    assert "recipe=mine" in again[0]


def test_source_that_is_not_there_is_refused(folder):
    with pytest.raises(ClimSimError, match=r"source\.raw: .*nowhere: no such file or folder"):
        start(folder, "source.raw=nowhere")


def test_wrong_setting_of_a_later_stage_is_found_before_anything_runs(folder):
    with pytest.raises(ClimSimError, match="unknown configuration key 'dayz'"):
        start(folder, "+stages.online_run.dayz=3")
    assert calls(folder) == []


def test_unknown_stage_and_empty_members_are_refused(folder):
    with pytest.raises(ClimSimError, match=r"members\.seeds: expected at least one"):
        start(folder, "members.seeds=[]")
    with pytest.raises(ClimSimError, match="found 'trian'"):
        start(folder, "+stages.trian.days=3")


def test_second_process_on_the_same_experiment_is_refused(folder):
    folder.mkdir()
    with (
        FileLock(folder / ".lock"),
        pytest.raises(ClimSimError, match="another process runs this experiment"),
    ):
        start(folder)


def test_overrides_survive_hydra_whatever_they_hold():
    values = {"a": {"b": 1.5, "c": None}, "d": [1, "x y"], "e": "it's, here=there", "f": True}
    texts = maker.override_texts(values)
    assert texts == ["a.b=1.5", "a.c=null", "d=[1,'x y']", "e='it\\'s, here=there'", "f=true"]
    assert maker.override_texts({}) == []
    parsed = OverridesParser.create().parse_overrides(texts)
    assert [p.value() for p in parsed] == [1.5, None, [1, "x y"], "it's, here=there", True]


def test_each_iteration_follows_from_the_one_before_and_a_failed_one_keeps_the_earlier(folder):
    name = "aggregate"
    given = [f"folder={folder}", "cores=2", "iterations=2", "members.recipes=[standard]"]
    folder.mkdir()
    (folder.parent / "fail-collect-unet-standard_visited2-7").touch()
    with pytest.raises(ClimSimError, match="online_collect of unet-standard_visited2-7"):
        run.run_experiment(name, given)
    made = calls(folder)
    assert not any("visited2" in c for c in made if not c.startswith("online collect"))
    runs = "runs=[online/unet-standard-7,online/unet-standard_visited1-7]"
    assert runs in next(c for c in made if c.startswith("evaluate online"))
    (folder.parent / "fail-collect-unet-standard_visited2-7").unlink()
    run.run_experiment(name, given)
    again = calls(folder)
    commands = ("online collect", "data prepare", "train", "export")
    assert [c.startswith(w) for c, w in zip(again, commands, strict=False)] == 4 * [True]
    assert "also=[visited/unet-standard_visited1-7,visited/unet-standard_visited2-7]" in again[1]
    assert "trainer.warm_start=members/unet-standard_visited1-7/last.ckpt" in again[2]


@pytest.mark.slow
def test_more_visited_states_make_the_store_anew_and_train_the_member_again(folder):
    given = [f"folder={folder}", "cores=2", "iterations=1", "members.recipes=[standard]"]
    run.run_experiment("aggregate", given)
    calls(folder)
    run.run_experiment("aggregate", [*given, "stages.online_collect.segments=3"])
    made = [c.split()[0] for c in calls(folder)]
    assert made[:4] == ["online", "data", "train", "export"]
    member = "unet-standard_visited1-7"
    # More segments grow a record; what is made of it is made anew.
    assert not (folder / "replaced" / "visited").exists()
    assert (folder / "replaced" / "stores" / f"{member}.zarr").exists()
