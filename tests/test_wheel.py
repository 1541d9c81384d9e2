"""What is distributed: a wheel with all its data, and recipes that agree with pyproject.toml."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from site import getsitepackages

import pytest
import yaml
from packaging.requirements import Requirement

import climsim
from climsim import doctor, files
from tests import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTAINER = ROOT / "distribution" / "container"
RENAMED = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "pytorch-optimizer": "pytorch_optimizer",
    "snakemake": "snakemake-minimal",
    "dask": "dask-core",
}
"""Names of conda-forge for what pip calls otherwise."""


def test_every_file_of_the_package_goes_into_the_wheel():
    package = ROOT / "src" / "climsim"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["climsim"]
    covered = {path for pattern in patterns for path in package.glob(pattern)}
    there = {p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert sorted(p for p in there - covered if p.suffix != ".py") == []


def test_version_is_stated_once_and_repeated_right():
    version = PROJECT["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert climsim.__version__ == version


def test_revision_of_a_package_that_is_no_checkout_is_its_version(tmp_path, monkeypatch):
    """A package in the environment of another project must not give that project's revision."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    commit = ["-c", "user.name=n", "-c", "user.email=e", "commit", "--allow-empty", "-qm", "x"]
    subprocess.run(["git", "-C", tmp_path, *commit], check=True)
    module = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / "climsim" / "files.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(files, "__file__", str(module))
    assert files.git_revision.__wrapped__() == "v" + PROJECT["project"]["version"]


def test_conda_recipe_requires_what_the_package_does():
    text = (ROOT / "distribution" / "conda" / "meta.yaml").read_text()
    run = text.partition("  run:\n")[2].partition("\n\n")[0]
    required = {line.strip(" -").replace(" ", "").lower() for line in run.splitlines()}
    wanted = {"python>=3.11", "distributed"}
    for line in PROJECT["project"]["dependencies"]:
        one = Requirement(line)
        limits = ",".join(sorted((str(s) for s in one.specifier), reverse=True))
        wanted.add((RENAMED.get(one.name, one.name) + limits).lower())
    assert required == wanted


def test_containers_install_by_one_script_that_exists():
    script = CONTAINER / "install.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    steps = re.findall(r"^(\w+)\(\) \{", script.read_text(), re.MULTILINE)
    assert re.search(r"STEPS:-([\w ]+)", script.read_text())[1].split() == steps
    for name in ("Dockerfile", "climsim.def"):
        text = (CONTAINER / name).read_text()
        assert "distribution/container/install.sh" in text
        assert f"{doctor.FTORCH_FOLDER}=/opt/ftorch" in text
        assert set(re.findall(r'STEPS="?([\w ]+)"? /', text)) <= {"system", " ".join(steps[1:])}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A fresh environment with the wheel, on top of the packages that are installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True)
    for name in tracked.stdout.split():
        if (ROOT / name).is_file() and name.startswith(("src/", "README", "LICENSE", "pyproject")):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, folder / "source"]
    subprocess.run(build, check=True)
    shutil.rmtree(folder / "source")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    install = [*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # Appended, not added as a site folder: the checkout that is installed there stays out.
    (packages / "present.pth").write_text("\n".join(getsitepackages()) + "\n")
    return folder


def call(elsewhere, *words):
    """A command of the wheel, called away from the checkout."""
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    program = elsewhere / "venv" / "bin" / "climsim"
    return subprocess.run(
        [program, *map(str, words)], cwd=elsewhere, env=plain, capture_output=True, text=True
    )


def run(elsewhere, *words):
    """Output of such a command, which must succeed."""
    done = call(elsewhere, *words)
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout


@pytest.mark.slow
def test_wheel_runs_the_chain_away_from_the_checkout(elsewhere):
    version = PROJECT["project"]["version"]
    assert run(elsewhere, "--version").strip().endswith(version)
    (package,) = elsewhere.glob("venv/lib/python*/site-packages/climsim")
    assert (package / "py.typed").is_file()
    # How much room this machine has is not a matter of the wheel.
    machine = {"memory", "free disk"}
    findings = {f["what"]: f for f in json.loads(call(elsewhere, "doctor", "--json").stdout)}
    assert findings["climsim"]["detail"] == f"v{version}"
    assert "start_T10.npz" in findings["embedded model data"]["detail"]
    assert {n for n, f in findings.items() if f["required"] and not f["ok"]} <= machine
    from tests.docs.study import write_raw

    write_raw(elsewhere / "raw")
    shares = ["split.name=", "split.gap_days=0.05", "split.train=0.6", "split.validation=0.2"]
    run(elsewhere, "data", "prepare", "raw=raw", "store=s.zarr", "workers=1", *shares,
        "split.test=0.2")  # fmt: skip
    run(elsewhere, "data", "statistics", "store=s.zarr", "out=stats.nc")
    run(elsewhere, "train", "network=unet", "preset=small", "data.store=s.zarr", "out=member",
        "data.statistics=stats.nc", "data.batch_size=64", "trainer.epochs=1")  # fmt: skip
    run(elsewhere, "export", "checkpoint=member/best.ckpt", "out=unet.pt")
    run(elsewhere, "evaluate", "offline", "model=unet.pt", "store=s.zarr", "out=offline.nc")
    run(elsewhere, "report", "offline=offline.nc", "out=report.html")
    assert "<html" in Path(elsewhere / "report.html").read_text()
    assert "online_run-unet-standard-7\n" in run(elsewhere, "experiment", "demo", "--dry-run")
