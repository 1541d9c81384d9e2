"""What users and scripts meet on the command line besides the settings."""

import dataclasses
import json
import logging
import shutil
import sys
import tomllib

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from climsim import cli, doctor
from climsim.configuration import flat_defaults
from climsim.keys import keys
from climsim.log import configure_logging
from climsim.plugins import load_reference
from climsim.stages import STAGES, load
from climsim.stages import stage as find_stage
from tests import ROOT


@pytest.fixture
def climsim(monkeypatch, tmp_path, capfd):
    """Runs a command in an empty folder; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as exit_info:
            cli.main(words)
        shown = capfd.readouterr()
        return exit_info.value.code, shown.out, shown.err

    yield run
    configure_logging()


def wording(text):
    """A text without its line breaks, which may stand within a hyphenated word."""
    return "".join(text.split())


@pytest.mark.parametrize("name", ["train", "evaluate_online", "prepare"])
def test_help_gives_every_key_its_meaning(name, climsim):
    stage = next(stage for stage in STAGES if stage.name == name)
    _, shown, _ = climsim(*stage.path, "--help")
    for key in keys(load(stage.config), flat_defaults(name)):
        assert key.name in shown
        assert wording(key.meaning.replace("`", ""))[1:] in wording(shown)


def test_help_shows_the_options_of_the_host_that_was_chosen(climsim):
    _, shown, _ = climsim("online", "run", "host=e3sm", "--help")
    assert "host_options.account" in shown
    assert "host_options.resolution" not in shown
    _, usual, _ = climsim("online", "run", "--help")
    assert "host_options.resolution" in usual


def test_help_of_a_study_shows_its_keys_and_show_config_its_values(climsim):
    code, shown, _ = climsim("experiment", "demo", "--help")
    assert code == 0
    assert shown.startswith("Usage: climsim experiment demo [OPTIONS] [KEY=VALUE]...")
    assert "members.networksNamesofnetworks" in wording(shown)
    assert "defaultunet,pure_resLSTM" in wording(shown)
    code, shown, _ = climsim("experiment", "demo", "--show-config", "members.seeds=7,43")
    assert code == 0
    assert "seeds:\n  - 7\n  - 43\n" in shown


def test_table_alone_goes_to_standard_output(climsim):
    code, shown, messages = climsim("data", "variables", "set=outputs")
    assert code == 0
    assert shown.splitlines()[0].split()[:2] == ["name", "meaning"]
    assert "data variables" not in shown
    assert messages.startswith("data variables: done (")
    _, quiet, nothing = climsim("data", "variables", "set=outputs", "-q")
    assert (quiet, nothing) == (shown, "")


def test_result_can_be_read_as_json(climsim):
    _, shown, messages = climsim("data", "variables", "outputs", "--json")
    found = json.loads(shown)
    assert found["command"] == "data variables"
    assert "ptend_t" in found["result"]
    assert messages == ""


@pytest.mark.parametrize("words", [("--debug", "train"), ("train", "--debug")])
def test_debug_shows_the_traceback_before_and_after_the_command(words, monkeypatch):
    monkeypatch.setattr("sys.argv", ["climsim"])
    with pytest.raises(cli.ClimSimError, match=r"^train: no value for data.store, out"):
        cli.main(words)
    configure_logging()


def test_end_of_a_file_in_the_code_of_a_user_is_an_error_and_no_interrupt(climsim, tmp_path):
    host = tmp_path / "host.py"
    host.write_text("def build(options):\n    raise EOFError('end of my forcing file')\n")
    words = ("online", "run", "case=a", f"folder={tmp_path / 'a'}", "days=1", f"host={host}:build")
    code, _, messages = climsim(*words)
    expected = "EOFError at line 2, in build: end of my forcing file: fix the code"
    assert (code, expected in " ".join(messages.split())) == (1, True)


@pytest.mark.parametrize("words", [("-v", "data", "variables"), ("data", "variables", "-v")])
def test_verbose_shows_details_of_the_library_only(words, climsim):
    assert climsim(*words)[0] == 0
    assert logging.getLogger("climsim").level == logging.DEBUG
    assert logging.getLogger().level == logging.WARNING


def test_every_command_has_the_common_options():
    def leaves(group):
        for command in group.commands.values():
            yield from leaves(command) if hasattr(command, "commands") else [command]

    for command in leaves(cli.main_group):
        assert {"--debug", "-v", "-q"} <= {o for p in command.params for o in p.opts}


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (("train", "--network", "unet"), "write network=unet"),
        (("train", "--epochs", "3"), "write trainer.epochs=3"),
        (("train", "network", "=", "unet"), "write network=unet without spaces"),
        (("data", "verify", "x.zarr"), "'x.zarr': expected key=value: write store=x.zarr"),
        (("train", "seed=1", "x.zarr"), "'x.zarr': expected key=value: name its key, or quote"),
        (("train", "newtork=unet"), "did you mean network"),
        (("train", "trainer.epoch=3"), "'trainer.epoch' of 'train': did you mean trainer.epochs?"),
        (("train", "optimizer.x=3"), "expected one of optimizer.betas, optimizer.learning_rate, o"),
        (("evaluate", "offline", "modle=x"), "of 'evaluate offline': did you mean model"),
        (("evaluate", "offline"), "evaluate offline: no value for model"),
    ],
)
def test_wrong_words_get_the_form_that_was_meant(words, messages, climsim):
    code, _, error = climsim(*words)
    assert code in (1, 2)
    assert messages in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("evaluate", "online", "runs=a", "reference=link", "out=x.nc"),
            "reference=link: expected another place than runs=a, found the same: what is compared",
        ),
        (
            ("evaluate", "online", "runs=b", "reference=a", "second_reference=a/", "out=x.nc"),
            "second_reference=a: expected another place than reference=a, found the same",
        ),
        (
            ("evaluate", "online", "runs=b,b/../a,a", "reference=c", "out=x.nc"),
            "runs=a: expected another place than runs=b/../a, found the same: give each once",
        ),
        (
            ("evaluate", "online", "runs=b", "reference=c", "external=./c", "out=x.nc"),
            "external=c: expected another place than reference=c",
        ),
        (
            ("online", "show", "run=a", "reference=./a", "out=x.png"),
            "reference=a: expected another",
        ),
        (("figures", "offline=a.nc,a.nc", "out=x"), "offline=a.nc: expected another place"),
        (("report", "offline=a.nc,a.nc", "out=x"), "offline=a.nc: expected another place"),
        (("explore", "offline=a.nc,a.nc"), "offline=a.nc: expected another place than offline="),
        (
            ("evaluate", "offline", "model=m.pt", "members=m.pt", "store=s", "out=x.nc"),
            "members=m.pt: expected another place than model=m.pt, found the same: give each model",
        ),
        (
            ("export", "checkpoint=m", "members=n,m", "out=x.pt"),
            "members=m: expected another place",
        ),
        (
            ("kaggle", "score", "model=m.csv", "truth=m.csv", "out=x"),
            "truth=m.csv: expected another",
        ),
        (("data", "prepare", "raw=a", "also=link", "store=s"), "also=link: expected another place"),
    ],
    ids=lambda part: "-".join(part[:2]) if isinstance(part, tuple) else "",
)
def test_inputs_that_are_one_are_refused(words, message, climsim, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("a")
    code, _, error = climsim(*words)
    assert code == 1
    assert f"error: {message}" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("train", "data.store=none.zarr", "out=made"),
        ("data", "prepare", "raw=none", "store=made"),
        ("data", "statistics", "store=none.zarr", "out=made/x.nc"),
        ("export", "checkpoint=none.ckpt", "out=made/x.pt"),
        ("evaluate", "offline", "model=none.pt", "store=none.zarr", "out=made/x.nc"),
        ("evaluate", "online", "runs=none", "reference=no", "out=made/x.nc"),
        ("online", "run", "case=x", "folder=made", "model=none.pt", "days=1"),
        ("online", "run", "case=x", "folder=made", "days=1", "host_options.resolution=T11"),
        ("online", "run", "case=x", "folder=made", "days=1", "+host_options.xyz=3"),
        ("online", "ensemble", "case=x", "folder=made/x", "days=1", "host_options.advection=x"),
        ("online", "collect", "raw=made/x", "segments=1", "host_options.radiation=x"),
        ("data", "generate", "raw=made/x", "days=1", "host_options.radiation=x"),
        ("train", "data.store=none.zarr", "out=made/x", "preset=smal"),
        ("figures", "offline=none.nc", "out=made"),
        ("report", "offline=none.nc", "out=made/x.html"),
        ("train", "-m", "seed=1,2", "data.store=s", "out=made", "trainer.epoch=3"),
        ("experiment", "demo", "folder=made", "+stages.train.sed=7"),
        ("experiment", "demo", "folder=made", "source.store=none.zarr"),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_refused_command_leaves_nothing_behind(words, climsim, tmp_path):
    code, _, error = climsim(*words)
    assert code == 1
    assert error.startswith("climsim: error: ")
    assert list(tmp_path.iterdir()) == []


def test_scores_follow_the_product(monkeypatch, climsim):
    stage = dataclasses.replace(
        find_stage("variables"),
        run="tests.test_command_line:product",
        scores="tests.test_command_line:scores",
    )
    result = CliRunner().invoke(cli._stage_command(stage), [])
    lines = result.output.splitlines()
    assert lines[0].startswith("data variables: made.nc (")
    assert lines[1:] == ["mean R2: 0.5", "R2: heating 0.6"]


def product(config, progress):
    class Product:
        def __str__(self):
            return "made.nc"

    return Product()


def scores(result):
    return ("mean R2: 0.5", "R2: heating 0.6")


def test_findings_of_doctor_can_be_read_as_json(climsim):
    code, output, _ = climsim("doctor", "--json")
    findings = json.loads(output)
    assert code == (1 if any(f["required"] and not f["ok"] for f in findings) else 0)
    assert {k: findings[1][k] for k in ("what", "ok")} == {"what": "climsim", "ok": True}


def test_doctor_that_finds_too_little_room_says_how_much_there_is(climsim, monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=2**30)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    code, _, messages = climsim("doctor")
    assert code == 1
    assert "missing or too small: free disk: 1.0 GiB in" in " ".join(messages.split())


def test_doctor_gives_cores_and_the_memory_that_a_container_may_take(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text(f"{2 * 2**30}\n")
    monkeypatch.setattr(doctor, "_LIMIT", tmp_path / "memory.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {1})
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert doctor._cores().detail == "1 of 4 may be used"
    assert not doctor._memory().ok
    assert doctor._memory().detail.startswith("2.0 GiB, ")


def test_doctor_says_what_optional_parts_are_for_whether_they_are_there_or_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(doctor.metadata, "version", {"pyarrow": "25.0"}.__getitem__)
    assert doctor._package("pyarrow", "Parquet").detail == "25.0, for Parquet"
    monkeypatch.undo()
    absent = doctor._package("no-such-package", "nothing")
    assert (absent.ok, absent.required) == (False, False)
    assert absent.detail == "pip install no-such-package, for nothing"

    monkeypatch.setenv("PATH", str(tmp_path))
    absent = doctor._program("sbatch", "SLURM")
    assert (absent.ok, absent.required) == (False, False)
    assert absent.detail == "sbatch is not on the path, for SLURM"
    program = tmp_path / "sbatch"
    program.touch(mode=0o755)
    assert doctor._program("sbatch", "SLURM").detail == f"{program}, for SLURM"
    assert doctor._program("g++", "pt2", chosen="sbatch").detail == f"{program}, for pt2"


def test_doctor_looks_for_ftorch_where_cmake_does(tmp_path, monkeypatch):
    monkeypatch.setenv("CMAKE_PREFIX_PATH", "")
    monkeypatch.delenv("FTorch_ROOT", raising=False)
    assert not doctor._ftorch().ok
    monkeypatch.setenv("FTorch_ROOT", str(tmp_path))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/FTorchConfig.cmake").touch()
    assert doctor._ftorch().ok


def test_doctor_lists_what_every_extra_of_a_user_brings():
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        (Requirement(line).name, extra)
        for extra, lines in tables["optional-dependencies"].items()
        if extra not in ("test", "lint", "docs")
        for line in lines
    }
    rows = {f.what: f for f in doctor.examine()}
    assert {name for name, _ in extras} | {"g++", "sbatch"} <= set(rows)
    assert {
        n: rows[n].detail for n, extra in extras if f"extra {extra}" not in rows[n].detail
    } == {}


def test_error_in_code_of_the_user_names_its_line(monkeypatch, capsys, tmp_path):
    (tmp_path / "mine.py").write_text("def restore(path):\n    return {}['state']\n")
    restore = load_reference(f"{tmp_path / 'mine.py'}:restore", "host")
    assert cli.guarded(lambda: restore("start.npz"), debug=False) == 1
    messages = " ".join(capsys.readouterr().err.split())
    assert "mine.py: KeyError at line 2, in restore: 'state': fix the code" in messages
    assert "unexpected" not in messages


def test_code_of_the_user_that_exits_is_an_error_with_its_line(capsys, tmp_path):
    (tmp_path / "leave.py").write_text("import sys\ndef restore(path):\n    sys.exit(0)\n")
    restore = load_reference(f"{tmp_path / 'leave.py'}:restore", "host")
    assert cli.guarded(lambda: restore("start.npz"), debug=False) == 1
    shown = " ".join(capsys.readouterr().err.split())
    assert "leave.py: SystemExit at line 3, in restore: it ends the program (exit code 0)" in shown
    with pytest.raises(SystemExit):
        cli.guarded(lambda: sys.exit(3), debug=False)


def test_place_that_torchscript_marks_stays_below_its_line(capsys, tmp_path):
    (tmp_path / "run.py").write_text("def run(model):\n    return model()\n")
    run = load_reference(f"{tmp_path / 'run.py'}:run", "host")

    def model():
        raise RuntimeError("expected a tensor\n  x = f(y)\n      ~ <--- HERE\n")

    assert cli.guarded(lambda: run(model), debug=False) == 1
    assert "\n    x = f(y)\n        ~ <--- HERE: fix the code\n" in capsys.readouterr().err
