"""Every command of the documentation is right, and executed unless it is marked."""

import ast
import os
import re
import subprocess
import sys

import pytest

from climsim import cli
from climsim.figures.config import FiguresConfig
from climsim.figures.draw import draw_figures
from climsim.stages import STAGES
from tests.docs.execution import (
    EMBEDDED_MODEL,
    OTHERS,
    anonymous_line,
    compose,
    place_inputs,
    small_line,
    stage_of,
)
from tests.docs.shell import (
    NEEDS,
    ROOT,
    blocks,
    commands,
    inline_commands,
    pages,
    raw_lines,
    unsafe_in_zsh,
)
from tests.docs.study import make_study

ALL = [command for page in pages() for command in commands(page)]
INLINE = [command for page in pages() for command in inline_commands(page)]
CLIMSIM = [command for command in ALL if command.words[0] == "climsim"]
UNMARKED = [command for command in CLIMSIM if command.mark is None]
PASSED_BY = {"git", "cd", "source", "make"}
"""Programs whose lines prepare the shell, or that .ci/run and the fresh-machine script run."""

SERVERS = ("explore",)
"""Commands that go on until they are stopped."""


def name(command):
    stage = stage_of(command.words)
    return " ".join(stage.path) if stage else ""


def distinct(found, what=tuple):
    """One command for each different line, or for each different thing that lines do."""
    return list({what(command.words): command for command in reversed(found)}.values())


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("study"))
    figures = study["online"].with_name("figures")
    only = ("rmse_growth", "offline_profiles", "stability")
    draw_figures(
        FiguresConfig(figures, (study["offline"],), study["online"], formats=("png",), only=only)
    )
    return study | {"figures": figures}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def test_commands_are_found_in_every_kind_of_block():
    pages_with_commands = {command.page for command in ALL}
    assert {"README.md", "docs/quickstart.md", "docs/online.md"} <= pages_with_commands
    assert len(CLIMSIM) > 50


@pytest.mark.parametrize("command", distinct([*CLIMSIM, *INLINE]), ids=str)
def test_command_exists_and_so_does_every_key(command):
    stage = stage_of(command.words)
    if stage is None:
        with pytest.raises(SystemExit) as exit_info:
            cli.main([*command.words[1:], "--help"])
        assert exit_info.value.code == 0
    elif "--help" not in command.words:
        assert compose(stage, command.words)


def test_signs_that_zsh_expands_are_found_outside_quotes_only():
    assert unsafe_in_zsh("climsim figures offline=[a*.nc]  # all") == "[*]#"
    assert unsafe_in_zsh("climsim figures 'offline=[a*.nc]' \"x={1}\" a\\*") == ""


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_line_can_be_pasted_into_zsh(page):
    found = [line for line in raw_lines(page) if unsafe_in_zsh(line)]
    assert found == []


def test_examples_of_the_help_can_be_typed_into_zsh(capsys):
    examples = [stage.example for stage in STAGES]
    with pytest.raises(SystemExit):
        cli.main(["experiment", "--help"])
    shown = capsys.readouterr().out.partition("Examples:")[2]
    examples += re.findall(r"climsim experiment .*?(?=  |\n)", shown)
    assert len(examples) > len(STAGES)
    assert [text for text in examples if unsafe_in_zsh(text)] == []


@pytest.mark.parametrize("command", [c for c in ALL if c.mark], ids=str)
def test_mark_is_known_and_names_a_test_that_exists(command):
    kind, text = command.mark
    if kind == "needs":
        assert text in NEEDS
        return
    path, _, test = text.partition("::")
    assert (ROOT / path).is_file()
    if test:
        defined = ast.walk(ast.parse((ROOT / path).read_text()))
        assert test in {node.name for node in defined if isinstance(node, ast.FunctionDef)}


def test_every_other_program_is_checked_elsewhere_or_marked():
    loose = [
        c for c in ALL if c.mark is None and c.words[0] not in {*PASSED_BY, "climsim", "python"}
    ]
    assert [str(c) for c in loose] == []
    assert [str(c) for c in UNMARKED if name(c) in SERVERS] == []
    stages = [c for c in UNMARKED if stage_of(c.words) is None]
    assert [str(c) for c in stages if not " ".join(c.words[1:]).startswith(OTHERS)] == []


@pytest.mark.parametrize("command", [c for c in ALL if c.words[0] == "make"], ids=str)
def test_make_target_exists(command):
    targets = [word for word in command.words[1:] if "=" not in word]
    assert subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True).returncode == 0


@pytest.mark.parametrize("command", distinct([c for c in ALL if c.words[0] == "python"]), ids=str)
def test_script_exists_with_every_option(command):
    if command.words[1] in ("-c", "-m"):
        return
    script = ROOT / command.words[1]
    text = script.read_text()
    # Scripts lend each other their parsers.
    for name in re.findall(r"^from (\w+) import .*\bparser\b", text, re.MULTILINE):
        text += script.with_name(f"{name}.py").read_text()
    for option in (word.split("=")[0] for word in command.words if word.startswith("--")):
        assert f'"{option}"' in text


@pytest.mark.parametrize(
    "command",
    distinct(
        [c for c in UNMARKED if stage_of(c.words) and name(c) not in (*EMBEDDED_MODEL, *SERVERS)]
    ),
    ids=str,
)
def test_command_runs(command, made, workplace):
    stage = stage_of(command.words)
    line = small_line(stage, command.words)
    place_inputs(stage, line, made, workplace)
    with pytest.raises(SystemExit) as exit_info:
        cli.main(line)
    assert exit_info.value.code == 0


@pytest.mark.parametrize(
    "command", distinct([c for c in UNMARKED if not stage_of(c.words)]), ids=str
)
@pytest.mark.usefixtures("workplace")
def test_command_that_is_no_stage_runs(command):
    line = list(command.words[1:])
    if line[0] == "experiment" and not {"-n", "--dry-run"} & set(line):
        line.append("--dry-run")
    with pytest.raises(SystemExit) as exit_info:
        cli.main(line)
    assert exit_info.value.code == 0


@pytest.mark.parametrize(
    "command",
    [c for c in ALL if not c.mark and c.words[0] == "python" and "examples/" in c.words[1]],
    ids=str,
)
@pytest.mark.usefixtures("workplace")
def test_example_script_runs(command):
    subprocess.run([sys.executable, *command.words[1:]], check=True)


def test_commands_that_differ_in_names_alone_do_the_same():
    one = ["climsim", "online", "run", "case=a", "folder=a", "days=7", "model=a.pt"]
    other = ["climsim", "online", "run", "case=b", "folder=online/b", "days=7", "model=b.pt"]
    assert anonymous_line(one) == anonymous_line(other)
    assert anonymous_line(one) != anonymous_line([*one, "perturbation_seed=1"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    distinct([c for c in UNMARKED if name(c) in EMBEDDED_MODEL], anonymous_line),
    ids=str,
)
def test_command_of_the_embedded_model_runs(command, made, workplace):
    stage = stage_of(command.words)
    line = small_line(stage, command.words)
    place_inputs(stage, line, made, workplace)
    subprocess.run([sys.executable, "-m", "climsim", *line], check=True, env=os.environ)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_are_python(page):
    for line, text in blocks(page, "python"):
        compile(text, f"{page.name}:{line}", "exec")
