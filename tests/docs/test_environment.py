"""Lists of what is installed follow pyproject.toml; pages agree on what a machine needs."""

import os
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

import environment
from climsim import doctor
from tests import ROOT

INSTALLATION = ROOT / "docs" / "installation.md"


@pytest.fixture
def installed(monkeypatch):
    """Three distributions: `app` needs `core`, and `plot` with an extra that needs `heavy`."""
    requires = {
        "app": ["core>=1", "plot[fast]", "winonly; sys_platform == 'win32'"],
        "core": [],
        "plot": ["core", "heavy; extra == 'fast'", "slow; extra == 'slow'"],
        "heavy": [],
    }

    def look_up(name):
        if name not in requires:
            raise environment.metadata.PackageNotFoundError(name)
        return requires[name]

    monkeypatch.setattr(environment.metadata, "requires", look_up)
    return requires


@pytest.mark.usefixtures("installed")
def test_closure_follows_extras_and_markers():
    names = environment.closure([Requirement("app")], {})
    assert names == {"app", "core", "plot", "heavy"}


@pytest.mark.usefixtures("installed")
def test_what_is_left_out_takes_with_it_what_only_it_needs():
    assert environment.closure([Requirement("app")], {"app": {"plot"}}) == {"app", "core"}


def test_missing_distribution_is_named(installed):
    del installed["heavy"]
    with pytest.raises(SystemExit, match="heavy is not installed here"):
        environment.closure([Requirement("app")], {})


@pytest.mark.usefixtures("installed")
def test_lists_are_written_and_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LISTS", {"demo": ()})
    monkeypatch.setattr(environment, "left_out", dict)
    monkeypatch.setattr(environment, "wanted", lambda extras=(): [Requirement("app")])
    monkeypatch.setattr(sys, "argv", ["environment.py", "lists"])
    environment.main()
    text = (tmp_path / "requirements" / "demo.txt").read_text()
    assert text.removeprefix(environment.HEADER).split() == ["app", "core", "heavy", "plot"]
    monkeypatch.setattr(sys, "argv", ["environment.py", "lists", "--check"])
    environment.main()
    (tmp_path / "requirements" / "demo.txt").write_text("core\n")
    with pytest.raises(SystemExit, match=r"requirements/demo\.txt is out of date"):
        environment.main()


def test_lists_hold_every_dependency_with_a_version_in_the_constraints():
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {environment.canonical(line.split("==")[0]) for line in lines}
    for name, extras in environment.LISTS.items():
        listed = set()
        for file in {"demo", name}:
            text = (ROOT / "requirements" / f"{file}.txt").read_text()
            listed |= set(text.removeprefix(environment.HEADER).split())
        wanted = {environment.canonical(r.name) for r in environment.wanted(extras)}
        assert wanted <= listed
        assert listed - {"setuptools"} <= pinned


def test_nothing_that_is_left_out_is_listed_for_the_demo():
    text = (ROOT / "requirements" / "demo.txt").read_text()
    listed = set(text.removeprefix(environment.HEADER).split())
    assert not listed & {"sphinx", "pyarrow", "bokeh", "pytest", "mypy"}


def test_table_gives_each_direct_dependency_its_size(monkeypatch):
    monkeypatch.setattr(environment, "wanted", lambda: [Requirement("packaging")])
    monkeypatch.setattr(environment, "import_seconds", lambda module: 0.25)
    *_, row = environment.size_rows()
    name, own, alone, seconds, _ = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, seconds) == ("packaging", "0.2")
    assert float(own) == float(alone) > 0


def rows(path):
    """The cells of every table row of a page by the first of them."""
    lines = [x for x in path.read_text().splitlines() if x.startswith("|")]
    cells = [[cell.strip() for cell in x.strip("|").split("|")] for x in lines]
    return {first: rest for first, *rest in cells}


def test_page_names_the_packages_of_every_extra():
    for extra, listed in environment.project()["project"]["optional-dependencies"].items():
        names = set(re.findall(r"[\w-]+", rows(INSTALLATION)[f"`{extra}`"][0]))
        assert {Requirement(line).name for line in listed} <= names, extra


def test_readme_installation_and_doctor_agree_on_memory_and_disk():
    readme, page = rows(ROOT / "README.md"), rows(INSTALLATION)
    for need in ("memory", "disk"):
        assert readme[need] == page[need]

    per_job = float(re.search(r"two jobs of up to ([\d.]+) GiB", page["memory"][0])[1])
    measured = [
        float(x) for x in re.findall(r"\| ([\d.]+) GiB \|", (ROOT / "README.md").read_text())
    ]
    assert per_job == max(measured)
    assert 2 * per_job == doctor._NEEDED_MEMORY_GIB
    assert f"up to {per_job} GiB each" in (ROOT / "docs" / "troubleshooting.md").read_text()

    whole, *parts = (float(x) for x in re.findall(r"\d+(?:\.\d+)?", page["disk"][0]))
    folder, products, caches = (float(x) / 1024 for x in page["`make demo`"][1:])
    assert parts == [round(folder, 1), round(products, 1)]
    assert folder + products + caches < whole
    assert whole == doctor._NEEDED_DISK_GIB


WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"left out: {{name}}")

sys.meta_path.insert(0, Refuse())
from climsim.hosts.gcm import grid, physics
from climsim.hosts.gcm.host import GcmHost
from climsim.stages import STAGES, load

physics.full_physics(grid.model_coordinates("T10"), physics.PhysicsOptions("grey"))
for stage in STAGES:
    if stage.path != ("explore",):
        load(stage.run)
"""


def test_chain_and_embedded_model_do_without_what_is_left_out():
    left_out = set().union(*environment.left_out().values()) - {"xarray"}
    modules = environment.top_modules()
    # Where one is not installed there is no record of its modules: take its name for theirs.
    refused = set().union(*(modules.get(name, {name.replace("-", "_")}) for name in left_out))
    assert {"sphinx", "tensorstore"} <= refused
    code = WITHOUT.format(modules=refused | {"pyarrow", "bokeh"})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]


def test_targets_keep_the_bytecode_of_what_they_import():
    """Else every process of a study compiles all of torch: 12 s of a processor."""
    show = ["make", "--eval", "shown:; @env", "shown"]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(show, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert "PATH=" in done.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in done.stdout
