"""The workflow with a recording stand-in for the command line."""

import stat
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser

from climsim.errors import ClimSimError
from climsim.workflow import run

STAND_IN = '''#!{python}
"""Record the call; make the product that the stage would make; fail when told to."""
import pathlib, sys
words = [a for a in sys.argv[3:] if "=" not in a]
keys = dict(a.split("=", 1) for a in sys.argv[3:] if "=" in a)
with open("calls.txt", "a") as log:
    log.write(" ".join(sys.argv[3:]) + "\\n")
if pathlib.Path("fail-" + words[-1]).exists():
    sys.exit("stand-in: told to fail")
product = {{"generate": "raw", "prepare": "store", "train": "out"}}.get(words[-1])
product = product or ("folder" if words[0] == "online" else "out")
path = pathlib.Path(keys[product])
if path.suffix in (".nc", ".pt", ".html"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
else:
    path.mkdir(parents=True, exist_ok=True)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    script = tmp_path / "stand-in"
    script.write_text(STAND_IN.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(run, "stage_interpreter", lambda: str(script))
    return tmp_path / "study"


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


def test_failed_stage_stops_only_what_needs_it_and_a_second_call_goes_on(folder):
    folder.mkdir()
    (folder / "fail-train").touch()
    with pytest.raises(ClimSimError, match=r"experiment 'demo': a stage failed"):
        start(folder)
    made = calls(folder)
    assert any("case=mmf1" in c for c in made)
    assert not any(c.startswith("export") for c in made)
    (folder / "fail-train").unlink()
    start(folder)
    again = calls(folder)
    assert again[0].startswith("train")
    assert not any(c.startswith("data") or "case=mmf" in c for c in again)


def test_changed_overrides_of_a_stage_rerun_it_and_what_follows(folder):
    start(folder)
    calls(folder)
    start(folder, "stages.online_member.days=9")
    again = calls(folder)
    assert [c.split()[0] for c in again] == ["online", "evaluate", "figures", "report"]
    assert "days=9" in again[0]


def test_deleted_product_is_made_again_only_when_something_needs_it(folder):
    start(folder)
    calls(folder)
    (folder / "online" / "mmf2").rmdir()
    start(folder)
    assert calls(folder) == []
    (folder / "online.nc").unlink()
    start(folder)
    again = calls(folder)
    assert any("case=mmf2" in c for c in again)
    assert not any("case=mmf1" in c for c in again)


def test_dry_run_makes_nothing(folder):
    assert start(folder, dry_run=True) is None
    assert calls(folder) == []


def test_unknown_stage_and_empty_members_are_refused(folder):
    with pytest.raises(ClimSimError, match=r"members\.seeds: expected at least one"):
        start(folder, "members.seeds=[]")
    with pytest.raises(ClimSimError, match="unknown trian"):
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
    texts = run.override_texts(values)
    assert texts == ["a.b=1.5", "a.c=null", "d=[1,'x y']", "e='it\\'s, here=there'", "f=true"]
    assert run.override_texts({}) == []
    parsed = OverridesParser.create().parse_overrides(texts)
    assert [p.value() for p in parsed] == [1.5, None, [1, "x y"], "it's, here=there", True]
