"""Networks of users: by file or entry point, refused in one line where they do not fit."""

import json
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import torch

import climsim
from climsim.configuration import build_config, compose_config
from climsim.errors import ClimSimError
from climsim.export.config import ExportConfig
from climsim.export.loading import load_emulator
from climsim.export.writing import export_model, run_export
from climsim.files import file_hash
from climsim.networks import NETWORKS
from climsim.training.checkpoint import describe_model, load_model, save_model
from climsim.training.config import TrainConfig
from climsim.transforms import from_statistics
from tests.physical_samples import samples, statistics_of

OWN = """
import torch
from torch import Tensor, nn
from climsim.networks import Body, Layout, LevelwiseHeads, split_levelwise

class LevelMLP(Body):
    def __init__(self, layout: Layout, *, width: int = 8) -> None:
        super().__init__()
        self.n_profile_targets = layout.n_profile_targets
        self.hidden = nn.Linear(layout.n_channels, width)
        self.heads = LevelwiseHeads(width, layout.n_level_targets, layout.n_heads)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return split_levelwise(self.heads(torch.tanh(self.hidden(x))), self.n_profile_targets)
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own_network.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize("confidence", [False, True])
def test_network_of_a_file_is_built_and_built_again(own, confidence):
    network = climsim.build_network(f"{own}:LevelMLP", "expanded", confidence, width=5)
    again = climsim.build_network(**network.config)
    again.load_state_dict(network.state_dict())
    x = torch.randn(3, network.n_inputs)
    for a, b in zip(network(x), again(x), strict=True):
        assert torch.equal(a, b)


def test_checkpoint_of_a_file_network_exports_from_another_folder(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = climsim.build_network("own_network.py:LevelMLP", n_levels=24).eval()
    statistics = statistics_of(samples(24))
    transforms = from_statistics(statistics, "standard", 24)
    about = describe_model(network.config, transforms, {}, {})
    checkpoint = save_model(tmp_path / "own.ckpt", network, transforms, about)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    emulator = load_emulator(export_model(checkpoint, "own.pt", code=[own]))
    assert emulator.metadata["network"]["name"] == "LevelMLP"
    assert np.isfinite(emulator(np.zeros((2, emulator.n_inputs), np.float32))).all()
    own.unlink()
    load_emulator("own.pt")
    with pytest.raises(ClimSimError, match=r"own_network\.py: no such file: expected the code"):
        load_model(checkpoint, [own])


@pytest.fixture
def foreign(own, tmp_path):
    """A checkpoint of someone else, whose network is a file that leaves a mark when it runs."""
    mark = tmp_path / "ran"
    network = climsim.build_network(f"{own}:LevelMLP", n_levels=24)
    transforms = from_statistics(statistics_of(samples(24)), "standard", 24)
    evil = tmp_path / "x" / "net.py"
    evil.parent.mkdir()
    evil.write_text(f"open({str(mark)!r}, 'w')\n{OWN}")
    about = describe_model({**network.config, "name": f"{evil}:LevelMLP"}, transforms, {}, {})
    return save_model(tmp_path / "foreign.ckpt", network, transforms, about), evil, mark


def test_code_that_a_checkpoint_names_runs_only_where_the_user_allows_it(foreign, tmp_path):
    checkpoint, evil, mark = foreign
    out = tmp_path / "foreign.pt"
    other = evil.with_name("other.py")
    for code in ([], [other]):
        with pytest.raises(
            ClimSimError, match=r"foreign\.ckpt: expected permission.*net\.py.*code="
        ):
            export_model(checkpoint, out, code=code)
    given = [f"checkpoint={checkpoint}", f"out={out}"]
    command = [sys.executable, "-m", "climsim", "export", *given]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "expected permission to run the code" in result.stderr
    assert not mark.exists()
    assert not out.exists()
    run_export(ExportConfig(checkpoint, out, code=(evil,)))
    assert mark.exists()


def test_code_may_have_moved_and_a_change_of_it_is_said(own, foreign, caplog):
    checkpoint, _, mark = foreign
    own = own.rename(own.with_name("net.py"))
    content = torch.load(checkpoint, weights_only=True)
    content["climsim"]["provenance"]["input_hashes"] = json.dumps({"network": file_hash(own)})
    torch.save(content, checkpoint)
    load_model(checkpoint, [own])
    assert not mark.exists()
    assert "has changed" not in caplog.text
    own.write_text(own.read_text() + "\n# changed\n")
    load_model(checkpoint, [own])
    assert f"{own} has changed since it was trained" in caplog.text


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("sub/own.py:LevelMLP {width: 5}", "{folder}/sub/own.py:LevelMLP"),
        ("convnext {layer_scale: 5}", "convnext"),
    ],
)
def test_network_key_takes_a_file(given, name, tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    network, _, hyperparameters = given.partition(" ")
    overrides = [f"network={network}", f"network.hyperparameters={hyperparameters}"]
    values = compose_config("train", [*overrides, "data.store=x", "out=y"])
    config = build_config(TrainConfig, values)
    assert config.network.name == name.format(folder=tmp_path)
    assert list(config.network.hyperparameters.values()) == [5]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("own.py:Missing", r"expected the network 'Missing', found .*LevelMLP"),
        ("own.py:LevelMLP", "unknown hyperparameter of the network .*LevelMLP 'sizes'"),
        ("none.py:LevelMLP", r"none\.py: no such file"),
    ],
)
def test_network_of_a_file_that_does_not_fit_is_refused_without_data(
    network, message, tmp_path, monkeypatch
):
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    given = [f"network={network}", "network.hyperparameters.sizes=3", "data.store=x", "out=y"]
    with pytest.raises(ClimSimError, match=message):
        build_config(TrainConfig, compose_config("train", given))


class Points(list):
    """Stands for the entry points that installed packages declare."""

    def __call__(self, group, name=None):
        return metadata.EntryPoints(p for p in self if p.group == group and name in (None, p.name))


@pytest.fixture
def installed(own, monkeypatch):
    monkeypatch.syspath_prepend(str(own.parent))
    points = Points(
        metadata.EntryPoint(name, f"own_network:{what}", "climsim.networks")
        for name, what in (("level_mlp", "LevelMLP"), ("broken", "Missing"))
    )
    monkeypatch.setattr(metadata, "entry_points", points)


@pytest.mark.usefixtures("installed")
def test_network_of_an_installed_package_is_known_by_its_entry_point():
    assert "level_mlp" in NETWORKS.names()
    assert climsim.build_network("level_mlp", width=4).config["name"] == "level_mlp"
    values = compose_config("train", ["network=level_mlp", "data.store=x", "out=y"])
    assert values["network"]["name"] == "level_mlp"
    with pytest.raises(ClimSimError, match=r"entry point 'broken'.*AttributeError"):
        climsim.build_network("broken")
    with pytest.raises(ClimSimError, match=r"unknown network 'mlp'.*convnext.*level_mlp"):
        climsim.build_network("mlp")


def test_presets_come_with_a_registered_class(own, monkeypatch):
    monkeypatch.setattr(NETWORKS, "_entries", NETWORKS.shipped())
    registered = (
        "from climsim.networks.registry import register\n"
        "@register('registered_by_file', small={'width': 3})\nclass LevelMLP"
    )
    own.write_text(OWN.replace("class LevelMLP", registered))
    network = climsim.build_network(f"{own}:LevelMLP", preset="small")
    assert network.config["width"] == 3


BROKEN = {
    "no such file": ("missing.py:LevelMLP", None, None, r"missing\.py: no such file"),
    "no such class": ("own_network.py:MLP", None, None, "network 'MLP', found LevelMLP"),
    "syntax": ("own_network.py:LevelMLP", "import torch", "import", "SyntaxError at line 2"),
    "error": ("own_network.py:LevelMLP", "import torch\n", "1 / 0\n", "Error at line 2"),
    "no body": ("own_network.py:LevelMLP", "(Body)", "(nn.Module)", "subclass of .*Body"),
    "shape": ("own_network.py:LevelMLP", "n_level_targets", "n_channels", "expected profiles"),
    "forward": ("own_network.py:LevelMLP", "tanh", "tang", "AttributeError"),
    "exit": (
        "own_network.py:LevelMLP", "return split", "raise SystemExit(3)\n        return split",
        r"forward on .* found SystemExit: it ends the program \(exit code 3\)",
    ),
    "script": (
        "own_network.py:LevelMLP", "return split", "print(*x.shape)\n        return split",
        "compiles with torch.jit.script",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_network_that_does_not_fit_is_one_line(case, own, monkeypatch):
    name, old, new, message = BROKEN[case]
    if old:
        assert old in OWN
        own.write_text(OWN.replace(old, new, 1))
    monkeypatch.chdir(own.parent)
    with pytest.raises(ClimSimError, match=message) as error:
        climsim.build_network(name)
    # The compiler's own marker under the offending line is worth more than one line.
    assert ("\n" in str(error.value)) == ("<--- HERE" in str(error.value)) == (case == "script")
