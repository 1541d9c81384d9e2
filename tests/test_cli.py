import dataclasses
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from climsim import cli, stages
from climsim.configuration import build_config, compose_config, flat_defaults
from climsim.console import fail, terminal_table
from climsim.errors import ClimSimError
from climsim.evaluation.config import OnlineConfig


def run(*arguments):
    command = [sys.executable, "-m", "climsim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("stage", stages.STAGES, ids=lambda stage: "-".join(stage.path))
def test_every_stage_names_real_functions_and_a_buildable_configuration(stage):
    assert callable(stages.load(stage.run))
    values = compose_config(stage.name, stage.overrides(stage.example.split()))
    assert build_config(stages.load(stage.config), values)


def _keys(value):
    """Nested names of fields; open dictionaries count as one."""
    if not dataclasses.is_dataclass(value):
        return None
    return {f.name: _keys(getattr(value, f.name)) for f in dataclasses.fields(value)}


def _same(keys, shipped, where):
    missing = set(keys) - set(shipped)
    assert not missing, f"{where}: not in the shipped configuration: {sorted(missing)}"
    for name, inner in keys.items():
        if inner is not None:
            _same(inner, shipped[name], f"{where}.{name}")


@pytest.mark.parametrize("stage", stages.STAGES, ids=lambda stage: "-".join(stage.path))
def test_shipped_configuration_shows_every_setting(stage):
    values = compose_config(stage.name, stage.overrides(stage.example.split()))
    config = build_config(stages.load(stage.config), values)
    _same(_keys(config), values, stage.name)


@pytest.mark.parametrize("stage", stages.STAGES, ids=lambda stage: "-".join(stage.path))
def test_help_lists_every_key(stage, capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main([*stage.path, "--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    for key in flat_defaults(stage.name):
        assert key in text


def test_unknown_key_is_one_line_with_a_hint_and_code_1():
    result = run("train", "sead=7")
    assert result.returncode == 1
    assert result.stderr == (
        "climsim: error: unknown configuration key 'sead' of 'train': did you mean seed?\n"
    )


def test_missing_value_names_the_key():
    result = run("data", "statistics", "out=x.nc")
    assert result.returncode == 1
    assert "no value for store: add store=..." in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_unknown_choice_lists_the_known_ones():
    with pytest.raises(ClimSimError, match=r"unknown network 'nothing'.*unet"):
        compose_config("train", ["network=nothing"])
    with pytest.raises(ClimSimError, match=r"unknown network 'unett': .*: did you mean unet\?$"):
        compose_config("train", ["network=unett"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"loss: [bad\nname: x\n", r"mine\.yaml, line 2: not valid YAML \(.*expected ',' or '\]'"),
        (b"\nloss: mse\nloss: mae\n", r"mine\.yaml, line 3: not valid YAML .*duplicate key loss"),
        (b"# x\nloss: m\xe9\n", r"mine\.yaml, line 2: not UTF-8 \(invalid continuation byte\)"),
        (b"loss: 'm\0'\n", r"not valid YAML \(.*special characters.*mine\.yaml"),
    ],
)
def test_a_damaged_file_of_the_user_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe/also.yaml").write_bytes(b"loss: \xff\n")
    (tmp_path / "recipe/mine.yaml").write_bytes(content)
    given = ["data.store=x", "out=y"]
    with pytest.raises(ClimSimError, match=message) as raised:
        compose_config("train", ["recipe=mine", *given], str(tmp_path))
    assert "\n" not in str(raised.value)
    assert compose_config("train", given, str(tmp_path))["out"] == "y"


def test_a_folder_of_further_configuration_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for name, found in (("nowhere", "nothing"), ("file", "a file")):
        with pytest.raises(
            ClimSimError, match=rf"--config-dir=.*{name}: expected a folder.*{found}"
        ):
            compose_config("train", ["data.store=x", "out=y"], str(tmp_path / name))


def test_unknown_command_is_wrong_usage():
    result = run("nonsense")
    assert result.returncode == 2
    assert "nonsense" in result.stderr


def test_errors_of_a_stage_reach_the_user_without_traceback(tmp_path):
    result = run("data", "statistics", f"store={tmp_path}/none.zarr", f"out={tmp_path}/s.nc")
    assert result.returncode == 1
    assert "none.zarr" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_pattern_in_a_list_of_paths_stands_for_what_is_there(tmp_path):
    for name in ("unet-7", "unet-43", "mmf1", "[x]"):
        (tmp_path / name).mkdir()

    def runs(*paths):
        overrides = [f"runs=[{','.join(paths)}]", "reference=r", "out=o"]
        values = compose_config("evaluate_online", overrides)
        return build_config(OnlineConfig, values).runs

    assert runs(f"{tmp_path}/unet-*", f"{tmp_path}/mmf?") == (
        tmp_path / "unet-43", tmp_path / "unet-7", tmp_path / "mmf1",
    )  # fmt: skip
    assert runs("not/there") == (Path("not/there"),)
    with pytest.raises(ClimSimError, match=r"pao-\*: expected files or folders of such names"):
        runs(f"{tmp_path}/pao-*")
    # A name that is there is no pattern.
    values = {"runs": [str(tmp_path / "[x]")], "reference": "r", "out": "o"}
    assert build_config(OnlineConfig, values).runs == (tmp_path / "[x]",)
    # One value is a list of one.
    assert build_config(OnlineConfig, {**values, "runs": "one"}).runs == (Path("one"),)


def test_error_that_quotes_control_characters_does_not_steer_the_terminal(capsys):
    fail("a\x1b[2Jb\nc é")
    assert capsys.readouterr().err == "climsim: error: a\\x1b[2Jb\n  c é\n"


def test_brackets_in_a_table_are_no_markup():
    console = Console(file=io.StringIO(), width=80)
    console.print(terminal_table([("case",), ("[red]x[/blue]",)]))
    assert "[red]x[/blue]" in console.file.getvalue()
