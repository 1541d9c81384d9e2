"""The shell completes commands, keys, choices, values and studies."""

import shutil
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete, get_completion_class

from climsim.cli import main_group


def offered(*words, shell="zsh"):
    """What is offered for the last of the words."""
    cls = get_completion_class(shell)
    assert cls is not None
    complete: ShellComplete = cls(main_group, {}, "climsim", "_CLIMSIM_COMPLETE")
    return [
        item.value if item.type == "plain" else f"<{item.type}>"
        for item in complete.get_completions(list(words[:-1]), words[-1])
    ]


def test_keys_and_groups_of_a_stage_are_offered_with_an_equals_sign():
    assert offered("train", "data.st") == ["data.store=", "data.statistics="]
    assert offered("train", "netw")[0] == "network="
    assert offered("data", "prep") == ["prepare"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train", "network=unet"), ["network=unet"]),  # zsh and fish
        (("train", "network", "=", "une"), ["unet"]),  # bash, which counts = as a word
        (("train", "seed=7", "network", "une"), ["unet"]),
        (("data", "prepare", "store="), ["<file>"]),
        (("explore", "browser=f"), ["browser=false"]),
    ],
)
def test_values_of_a_key_are_its_choices_else_files(words, expected):
    assert offered(*words) == expected


def test_studies_and_their_keys_are_offered():
    assert offered("experiment", "qui") == ["quick"]
    assert offered("experiment", "quick", "members.se") == ["members.seeds="]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_script_of_the_shell_puts_no_space_behind_the_equals_sign(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    cls = get_completion_class(shell)
    script = cls(main_group, {}, "climsim", "_CLIMSIM_COMPLETE").source()
    assert ("nospace" if shell == "bash" else "compadd -S ''") in script
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_the_value_behind_the_equals_sign(tmp_path):
    program = tmp_path / "climsim"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m climsim "$@"\n')
    program.chmod(0o755)
    script = get_completion_class("bash")(main_group, {}, "climsim", "_CLIMSIM_COMPLETE").source()
    typed = f"""{script}
COMP_WORDS=(climsim train network = une); COMP_CWORD=4
_climsim_completion {program}; echo "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash"], input=typed, text=True, capture_output=True)
    assert done.stdout == "unet\n"
