"""Keys and defaults stand in the dataclasses alone; shipped files hold choices."""

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import pytest
import yaml

from climsim.configuration import compose_config, flat_defaults
from climsim.errors import ClimSimError
from climsim.hosts.e3sm.config import E3smConfig
from climsim.hosts.e3sm.keys import CallOptions
from climsim.hosts.gcm.config import GcmConfig
from climsim.schema import CONFIG_MODULE, defaults, schema
from climsim.stages import STAGES, stage


@dataclass(frozen=True)
class Inner:
    width: float = 2.5
    required: int | None = None


@dataclass(frozen=True)
class Outer:
    store: Path
    inner: Inner
    folder: Path = Path("runs")
    names: tuple[str, ...] = ("a",)
    further: dict[str, object] = field(default_factory=lambda: {"start": Path("jw")})
    other: Inner | None = None


def test_defaults_are_the_plain_values_of_a_dataclass():
    assert defaults(Outer) == {
        "store": "???",
        "inner": {"width": 2.5, "required": None},
        "folder": "runs",
        "names": ["a"],
        "further": {"start": "jw"},
        "other": None,
    }


def _groups():
    """Shipped files of groups that stand for a part of a configuration, with their dataclass."""
    root, train = resources.files(CONFIG_MODULE), schema("train")
    for group, names in train.choices_of_groups().items():
        for name in names:
            yield pytest.param(
                group,
                yaml.safe_load((root / group / f"{name}.yaml").read_text()),
                id=f"{group}={name}",
            )


@pytest.mark.parametrize(("group", "values"), _groups())
def test_shipped_choice_states_only_what_it_changes(group, values):
    own = defaults(schema("train").cls)[group]
    repeated = {key for key, value in (values or {}).items() if own[key] == value}
    assert repeated - {"name"} == set()


def test_choice_replaces_what_the_dataclass_says_and_nothing_else():
    given = ["optimizer=soap", "data.store=x", "out=y"]
    own = defaults(schema("train").cls)["optimizer"]
    optimizer = compose_config("train", given)["optimizer"]
    assert optimizer == {**own, "name": "soap", "betas": [0.95, 0.95]}


def test_recipe_of_a_user_needs_only_its_differences(tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("name: mine\ndelta: 2.0\n")
    given = ["recipe=mine", "recipe.loss=mse", "data.store=x", "out=y"]
    recipe = compose_config("train", given, str(tmp_path))["recipe"]
    own = defaults(schema("train").cls)["recipe"]
    assert recipe == {**own, "name": "mine", "delta": 2.0, "loss": "mse"}


@pytest.mark.parametrize("host", ["gcm", "e3sm"])
def test_options_of_a_host_take_their_defaults_from_its_dataclass(host):
    text = (resources.files(CONFIG_MODULE) / "host" / f"{host}.yaml").read_text()
    values = yaml.safe_load(text)["host_options"].values()
    assert {v for v in values if not str(v).startswith("${default:")} <= {None, "???"}


def test_defaults_of_a_host_are_those_in_force():
    shown = flat_defaults("online_run")
    assert shown["host_options.radiation_interval"] == GcmConfig.radiation_interval
    given = ["host=e3sm", "case=a", "folder=b", "days=1", "model=m"]
    needed = ("source", "machine", "account", "reference_folder")
    given += [f"host_options.{key}=x" for key in needed]
    options = compose_config("online_run", given)["host_options"]
    assert options["mail_types"] == list(E3smConfig.mail_types)
    assert options["poll_minutes"] == CallOptions.poll_minutes
    assert options["months"] is None


def test_only_groups_of_choices_are_shipped_as_files():
    root = resources.files(CONFIG_MODULE)
    assert [file.name for file in root.iterdir() if file.name.endswith(".yaml")] == []


@pytest.mark.parametrize("one", STAGES, ids=lambda one: one.name)
def test_stage_is_named_after_its_command_and_its_keys_exist(one):
    words = one.command.replace("-", "_").split()
    assert one.name == "_".join(words[1:] if words[0] in ("data", "host") else words)
    known = compose_config(one.name, one.overrides(one.example.split()))
    for key in (*one.needs, *filter(None, [one.makes])):
        value = known
        for part in key.split("."):
            value = value[part]


def test_unknown_stage_lists_the_known_ones():
    with pytest.raises(ClimSimError, match=r"unknown stage 'tain': expected one of .*train"):
        stage("tain")
