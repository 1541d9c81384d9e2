"""No product replaces anything that is not a product of the same kind."""

import json
import os

import pytest

from climsim.configuration import build_config, compose_config
from climsim.errors import ClimSimError
from climsim.products import Kind, archived, claim, mentions, noted
from climsim.stages import STAGES, load

FILE = Kind("a note", lambda path: path.read_text().startswith("note"))
FOLDER = Kind(
    "a box", lambda path: noted(path / "box.json", "box"), is_folder=True, scaffold=("log",)
)
CLOSED = Kind("a crate", FOLDER.recognizes, is_folder=True, owns=("box.json", "part").__contains__)

FILES = {
    ("data", "check"): ("out", "raw=none"),
    ("data", "statistics"): ("out", "store=none"),
    ("export",): ("out", "checkpoint=none"),
    ("checkpoint", "import"): ("out", "file=none network=unet recipe=standard"),
    ("evaluate", "offline"): ("out", "model=none store=none"),
    ("kaggle", "score"): ("out", "model=none truth=no"),
    ("kaggle", "submission"): ("out", "model=none inputs=none weights=none"),
    ("host", "spinup"): ("out", ""),
    ("host", "fit-radiation"): ("out", ""),
    ("evaluate", "online"): ("out", "runs=[none] reference=no"),
    ("evaluate", "damping"): ("out", "models=[none]"),
    ("evaluate", "hindcasts"): ("out", "runs=[none] reference=no"),
    ("online", "show"): ("out", "run=none reference=no"),
    ("report",): ("out", "offline=[none]"),
}
FOLDERS = {
    ("data", "generate"): ("raw", "days=1"),
    ("data", "prepare"): ("store", "raw=none"),
    ("data", "describe"): ("out", "store=none"),
    ("data", "download"): ("folder", ""),
    ("train",): ("out", "network=unet recipe=standard seed=1 data.store=none"),
    ("online", "run"): ("folder", "case=x days=1"),
    ("online", "collect"): ("raw", "segments=1"),
    ("online", "finetune"): (
        "out",
        "network=unet recipe=standard data.store=none trainer.warm_start=none.ckpt",
    ),
    ("online", "cmor"): ("out", "run=none"),
    ("online", "ensemble"): ("folder", "case=x days=1"),
    ("figures",): ("out", "offline=[none]"),
    ("hub", "pull"): ("out", "repo=a/b"),
    ("host", "climate"): ("out", ""),
    ("report",): ("tables", "offline=[none] out=report.html"),
}
USERS = {("online", "show"): "thesis.png"}
"""Name of the user's file where a product has another suffix."""
WITHOUT = {("data", "variables"), ("data", "verify"), ("explore",), ("hub", "push")}
"""Commands that write nothing."""


def _run(path, key, value, others):
    stage = next(s for s in STAGES if s.path == path)
    values = compose_config(stage.name, [*others.split(), f"{key}={value}"])
    load(stage.run)(build_config(load(stage.config), values), None)


def _content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_command_is_listed_here():
    assert {s.path for s in STAGES} == FILES.keys() | FOLDERS.keys() | WITHOUT


@pytest.mark.parametrize(("path", "given"), FILES.items(), ids=lambda x: "-".join(x))
def test_a_file_of_the_user_is_refused_before_anything_is_read(path, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = USERS.get(path, "thesis.nc")
    (tmp_path / name).write_text("three years of work")
    with pytest.raises(ClimSimError, match=rf"{name}: the file that is there is not an? "):
        _run(path, given[0], name, given[1])
    assert _content(tmp_path) == {name: b"three years of work"}


@pytest.mark.parametrize(("path", "given"), FOLDERS.items(), ids=lambda x: "-".join(x))
def test_a_folder_of_the_user_is_refused_before_anything_is_read(
    path, given, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project" / "code").mkdir(parents=True)
    (tmp_path / "project" / "code" / "main.py").write_text("x = 1")
    with pytest.raises(ClimSimError, match=r"project: expected .* but it holds code: give another"):
        _run(path, given[0], "project", given[1])
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ClimSimError, match=r"file: expected .* but it is a file: give another"):
        _run(path, given[0], "file", given[1])
    assert _content(tmp_path) == {"project/code/main.py": b"x = 1", "file": b"mine"}


def test_what_is_free_or_of_the_same_kind_is_claimed(tmp_path):
    (tmp_path / "old").write_text("note of old")
    (tmp_path / "empty").touch()
    for name in ("old", "empty", "new", "new/folder/name"):
        assert claim(tmp_path / name, FILE) == tmp_path / name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "old"]


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(ClimSimError, match=r"a folder: give the name of a file for a note"):
        claim(tmp_path, FILE)
    with pytest.raises(ClimSimError, match=r"out=/dev/null: a device: give the name of a file"):
        claim("/dev/null", FILE)


def test_a_folder_that_is_worked_in_may_hold_other_files_once_it_is_recognized(tmp_path):
    (tmp_path / "log").touch()
    (tmp_path / ".lock").touch()
    claim(tmp_path, FOLDER)
    (tmp_path / "slurm-1.out").touch()
    with pytest.raises(ClimSimError, match=r"expected a new or empty folder or a box, but it hol"):
        claim(tmp_path, FOLDER)
    (tmp_path / "box.json").write_text(json.dumps({"box": 1}))
    claim(tmp_path, FOLDER)


def test_a_folder_that_is_replaced_whole_may_hold_nothing_beside(tmp_path):
    (tmp_path / "box.json").write_text(json.dumps({"box": 1}))
    (tmp_path / "part").touch()
    claim(tmp_path, CLOSED)
    for name in "abcde":
        (tmp_path / name).touch()
    with pytest.raises(
        ClimSimError, match=r"and nothing beside it, but it holds a, b, c and 2 mor"
    ):
        claim(tmp_path, CLOSED)


def test_an_input_is_not_overwritten_under_whatever_name(tmp_path):
    source = tmp_path / "a"
    source.write_text("note")
    (tmp_path / "link").symlink_to(source)
    os.link(source, tmp_path / "hard")
    for name in ("a", "link", "hard", "../" + tmp_path.name + "/a"):
        with pytest.raises(ClimSimError, match=r"the same path as checkpoint=.*would be lost"):
            claim(tmp_path / name, FILE, {"checkpoint": source, "absent": None})


def test_a_place_where_nothing_can_be_written_is_found_out_at_the_start(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ClimSimError, match=r"file is a file, not a folder"):
        claim(tmp_path / "file" / "below" / "a", FILE)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ClimSimError, match=r"cannot be written \(read-only, or not yours\)"):
        claim(tmp_path / "a", FILE)


def test_a_link_to_a_place_where_nothing_can_be_written_is_found_out_too(tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "here").symlink_to(there / "a.nc")
    monkeypatch.setattr(os, "access", lambda path, mode: path != there)
    with pytest.raises(ClimSimError, match=r"there cannot be written"):
        claim(tmp_path / "here", FILE)


def test_marks_are_looked_for_in_anything(tmp_path):
    path = tmp_path / "a"
    assert (noted(path, "x"), archived(path, "x"), mentions(path, b"x")) == (False, b"", False)
    path.write_text("[1, 2]")
    assert (noted(path, "x"), archived(path, "x"), mentions(path, b"x")) == (False, b"", False)
    path.write_text("{half")
    assert noted(path, "x")


def test_nothing_is_written_inside_a_store_however_deep(tmp_path):
    store = tmp_path / "data.zarr"
    (store / "state_t").mkdir(parents=True)
    for folder in (store, store / "state_t"):
        (folder / "zarr.json").write_text("{}")
    for path, kind in (("x.nc", FILE), ("d", FOLDER), ("state_t/x.nc", FILE)):
        with pytest.raises(ClimSimError, match=r"lies inside the store .*data\.zarr, which holds"):
            claim(store / path, kind)
    assert claim(tmp_path / "x.nc", FILE) == tmp_path / "x.nc"
