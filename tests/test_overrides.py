import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from climsim.configuration import build_config, compose_config
from climsim.errors import ClimSimError
from climsim.evaluation.config import OnlineConfig
from climsim.overrides import friendly, quoted, split_values
from climsim.schema import schema
from climsim.training.config import TrainConfig

ONLINE = {"runs": "runs=r", "reference": "reference=f", "out": "out=o"}
TRAIN = ("data.store=s", "out=o")


def online(*overrides):
    given = {**ONLINE, **{text.partition("=")[0]: text for text in overrides}}
    values = compose_config("evaluate_online", list(given.values()))
    return build_config(OnlineConfig, values)


def train(*overrides):
    values = compose_config("train", [*TRAIN, *overrides])
    return build_config(TrainConfig, values)


ODD = ("a~b", "a=b", "a#1", "run (2)", "it's", "größe", "x\\", "a b, c", "2024", "true", "~", "[x")


@pytest.mark.parametrize("text", ODD)
def test_any_text_is_read_back_by_hydra(text):
    read = OverridesParser.create().parse_override(f"key={quoted(text)}").value()
    assert read == text


@pytest.mark.parametrize("text", [t for t in ODD if t != "~"])
def test_path_with_signs_of_the_grammar_is_taken_as_it_is(text):
    assert str(online(f"out={text}").out) == text


def test_quotes_and_interpolations_keep_their_meaning():
    assert str(online("out='a, b'").out) == "a, b"
    assert str(online("out=${reference}/x~y").out) == "f/x~y"


def test_home_folder_stands_for_the_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(online("out=~/scores.nc").out) == "/home/someone/scores.nc"
    assert str(online("runs=~/a,b").runs[0]) == "/home/someone/a"


def test_number_is_taken_where_text_is_expected():
    assert train("recipe.name=16").recipe.name == "16"
    values = {"data": {"store": 2024}, "out": "o", "recipe": {"name": 32}}
    config = build_config(TrainConfig, values)
    assert (str(config.data.store), config.recipe.name) == ("2024", "32")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("x", ["x"]), ("a,b", ["a", "b"]), ("[a,b]", ["a", "b"]), ("[a]", ["a"]), ("2024", ["2024"]),
     ("a~1,b (2)", ["a~1", "b (2)"]), ('["a,b",c]', ["a,b", "c"])],
)  # fmt: skip
def test_list_needs_no_brackets_and_one_value_is_a_list_of_one(text, expected):
    assert [str(path) for path in online(f"runs={text}").runs] == expected


def test_list_of_numbers_and_of_an_open_key_need_no_brackets():
    config = train("optimizer.betas=0.9,0.95", "network.hyperparameters.channel_mult=1,2")
    assert config.optimizer.betas == (0.9, 0.95)
    assert config.network.hyperparameters == {"channel_mult": [1, 2]}


def test_commas_mean_a_sweep_only_where_one_was_asked_for():
    given = ["runs=a,b", "out='x,y'", "skip_days=0,1", "mean_stream=h0"]
    swept = friendly(given, {}, OnlineConfig, sweep=True)
    assert swept == given
    assert friendly(given[:1], {}, OnlineConfig) == ["runs=[a,b]"]
    with pytest.raises(ClimSimError, match=r"skip_days=0,1: expected number.*add -m"):
        online("skip_days=0,1")
    with pytest.raises(ClimSimError, match=r"network=unet,convnext: expected one name.*add -m"):
        train("network=unet,convnext")


@pytest.mark.parametrize("key", ["out", "reference", "runs", "second_reference"])
def test_empty_path_is_refused(key):
    with pytest.raises(ClimSimError, match=f"{key}: expected a path, found an empty text"):
        online(f"{key}=")


def test_url_is_refused_where_only_a_path_can_be_read():
    with pytest.raises(ClimSimError, match="out: expected a path of this machine, found the URL"):
        online("out=s3://bucket/x.nc")


def test_null_is_refused_where_a_value_is_needed():
    with pytest.raises(ClimSimError, match="reference: expected path, found null"):
        online("reference=null")
    assert online("second_reference=null").second_reference is None


def test_wrong_value_names_its_dotted_key():
    with pytest.raises(ClimSimError, match=r"^trainer.epochs: expected integer, found 'many'$"):
        train("trainer.epochs=many")
    with pytest.raises(ClimSimError, match=r"unknown configuration key 'trainer.epoch'"):
        build_config(TrainConfig, {"data": {"store": "s"}, "out": "o", "trainer": {"epoch": 1}})


@pytest.mark.parametrize(
    ("words", "meant"),
    [(("skip_days", "=", "1"), "skip_days=1"), (("skip_days=", "1"), "skip_days=1"),
     (("skip_days", "=1"), "skip_days=1")],
)  # fmt: skip
def test_spaces_around_the_equals_sign_get_a_hint(words, meant):
    with pytest.raises(ClimSimError, match=f"write {meant} without spaces"):
        friendly(["runs=r", *words], {}, OnlineConfig)


@pytest.mark.parametrize(
    ("word", "near"),
    [("newtork=unet", "network"), ("epochs=2", "trainer.epochs"), ("sead=7", "seed")],
)
def test_misspelt_key_suggests_groups_and_nested_keys_too(word, near):
    with pytest.raises(ClimSimError, match=f"of 'train': did you mean {near}"):
        train(word)


def test_unclosed_bracket_says_how_to_quote():
    with pytest.raises(ClimSimError, match=r"expected matching brackets and quotes"):
        online("runs=[a,b")


def test_user_code_with_spaces_in_its_path_names_the_network():
    assert friendly(
        ["network=my code/x.py:Net"], schema("train").choices_of_groups(), TrainConfig
    ) == ["network.name='my code/x.py:Net'"]


def test_values_are_split_at_commas_outside_quotes_and_brackets():
    assert split_values("a,[b,c],'d,e',f(1,2),it's, g") == [
        "a", "[b,c]", "'d,e'", "f(1,2)", "it's", " g",
    ]  # fmt: skip


def test_user_code_names_the_host_and_its_options_need_no_plus():
    given = ("case=x", "days=1", "folder=f", "host=my rooms/a.py:build_host")
    values = compose_config("online_run", [*given, "host_options.depth=3"])
    assert (values["host"], values["host_options"]) == (
        "my rooms/a.py:build_host",
        {"depth": 3},
    )
    with pytest.raises(ClimSimError, match=r"unknown configuration key 'host_options\.depth'"):
        compose_config("online_run", [*given[:3], "host_options.depth=3"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["host_options.start=runs/a.npz"], {"start": "runs/a.npz"}),
        (["host_options.tuning={convection.tau: 7200}"], {"tuning": {"convection.tau": 7200}}),
        (
            ["host_options.tuning.convection.tau=7200", "host_options.tuning.clouds.crt=0.5"],
            {"tuning": {"convection.tau": 7200, "clouds.crt": 0.5}},
        ),
        (["+host_options.diffusion_hours=24"], {"diffusion_hours": 24}),
        (["host=e3sm", "host_options.purpose=training"], {"purpose": "training"}),
    ],
)
def test_option_of_a_shipped_host_that_its_file_does_not_name_needs_no_plus(words, expected):
    given = ["case=x", "days=1", "folder=f"]
    needed = ("source", "machine", "account", "reference_folder")
    if "host=e3sm" in words:
        given += [f"host_options.{name}=/r" for name in needed]
    options = compose_config("online_run", [*given, *words])["host_options"]
    assert {name: options[name] for name in expected} == expected


def test_unknown_option_of_a_host_names_those_that_it_resembles():
    with pytest.raises(ClimSimError, match=r"'host_options\.strat' of .*host_options\.start"):
        compose_config("climate", ["out=x", "host_options.strat=jw"])
