"""The reference of commands is complete: every key has a type and a meaning."""

import re
from dataclasses import dataclass, field

import command_reference as reference
import pytest
from click.testing import CliRunner

from climsim.cli import main_group
from climsim.configuration import flat_defaults
from climsim.hosts.settings import GROUP
from climsim.keys import default_text, describe_key, keys, meanings
from climsim.online.stages import ONLINE_ENSEMBLE, ONLINE_RUN
from climsim.schema import schema
from climsim.stages import STAGES, load
from tests import ROOT


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
        further: settings, by key.
    """

    inner: Inner
    names: tuple[str, ...] = ()
    further: dict[str, object] = field(default_factory=dict)


def test_key_of_a_nested_dataclass_gets_its_own_type_and_meaning():
    assert describe_key(Outer, "inner.width") == ("number or null", "of the window.")
    assert describe_key(Outer, "names") == ("list of text", 'to take, such as `"a"`.')


def test_key_of_an_open_dictionary_gets_the_type_and_meaning_of_its_class():
    options = {"further": (Inner,)}
    assert describe_key(Outer, "further.width", options)[1] == "of the window."
    shared = ("keys and values", "settings, by key.")
    assert describe_key(Outer, "further.height", options) == shared
    assert describe_key(Outer, "further.width") == shared


RUNS = (ONLINE_RUN, ONLINE_ENSEMBLE)


@pytest.mark.parametrize(
    ("stage", "chosen"),
    [*((stage, ()) for stage in STAGES), *((stage, ("host=e3sm",)) for stage in RUNS)],
    ids=lambda part: "-".join(getattr(part, "path", part)),
)
def test_every_key_of_a_command_has_a_type_and_a_meaning_of_its_own(stage, chosen):
    defaults = flat_defaults(stage.name, chosen)
    rows = keys(load(stage.config), defaults, schema(stage.name).option_classes(chosen))
    assert {row.name for row in rows} == set(defaults)
    assert [row.name for row in rows if not row.meaning or row.type == "NoneType"] == []
    options = [row for row in rows if row.name.startswith(reference.OF_HOST)]
    assert bool(options) == ("host" in stage.choices)
    shared = meanings(load(stage.config)).get(GROUP)
    assert [row.name for row in options if row.meaning == shared] == []


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ([], "Seconds between two calls of the radiation; 0 for every step."),
        ([], "Split condensate into liquid and ice by temperature at the end of the"),
        (["host=e3sm"], "e3sm.exe built by another case with equal definitions; None builds one."),
    ],
)
def test_help_says_what_the_options_of_a_host_mean(words, meaning):
    text = CliRunner().invoke(main_group, ["online", "run", *words, "--help"]).output
    assert meaning in " ".join(text.split())


def test_page_of_modules_names_every_package():
    page = (ROOT / "docs" / "reference" / "modules.md").read_text()
    folders = (ROOT / "src" / "climsim").glob("*/__init__.py")
    # `conf` holds configurations, no code.
    packages = {f"climsim.{path.parent.name}" for path in folders} - {"climsim.conf"}
    assert packages <= set(re.findall(r"^api/(\S+)$", page, re.MULTILINE))


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
