"""The reference of commands is complete: every key has a type and a meaning."""

from dataclasses import dataclass

import command_reference as reference
import pytest

from climsim.configuration import flat_defaults
from climsim.keys import default_text, describe_key, keys
from climsim.stages import STAGES, load


@dataclass(frozen=True)
class Inner:
    """Inner settings.

    Attributes:
        width: of the
            window.
    """

    width: float | None = None


@dataclass(frozen=True)
class Outer:
    """Settings.

    Attributes:
        inner: nested.
        names: to take, such as ``"a"``.
    """

    inner: Inner
    names: tuple[str, ...] = ()


def test_key_of_a_nested_dataclass_gets_its_own_type_and_meaning():
    assert describe_key(Outer, "inner.width") == ("number or null", "of the window.")
    assert describe_key(Outer, "names") == ("list of text", 'to take, such as `"a"`.')


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: "-".join(stage.path))
def test_every_key_of_a_command_has_a_type_and_a_meaning(stage):
    defaults = flat_defaults(stage.name)
    rows = keys(load(stage.config), defaults)
    assert {row.name for row in rows} == set(defaults)
    assert [row.name for row in rows if not row.meaning or row.type == "NoneType"] == []


def test_defaults_are_written_as_on_the_command_line():
    values = ("???", None, True, [1, "b"], "", 0.5)
    assert [default_text(v) for v in values] == ["", "null", "true", "1,b", '""', "0.5"]


def test_page_holds_every_command_and_group():
    page = reference.commands_page()
    for stage in STAGES:
        assert f"## climsim {' '.join(stage.path)}\n" in page
        assert f"In Python: {{py:func}}`{stage.run.replace(':', '.')}`" in page
    for command in ("doctor", "experiment", "online status"):
        assert f"## climsim {command}\n" in page
    assert "**`recipe=conf_loss`**" in reference.choices_page()
