"""The examples go through the whole chain: training, export, offline, online."""

import ast
import io
import subprocess
import sys
import tokenize

import numpy as np
import pytest
import torch
import xarray

import climsim
from climsim import cli
from climsim.data.store.config import PrepareConfig
from climsim.data.store.prepare import prepare
from climsim.files import read_json
from climsim.interfaces import V2
from climsim.online.run import RunConfig, run_online
from climsim.variables import OUTPUTS
from tests import ROOT
from tests.data.synthetic import split_config, write_record
from tests.docs.study import write_raw
from tests.grids import make_grid
from tests.online.toy_host import LEVELS, ToyHost

EXAMPLES = ROOT / "examples"
NETWORK = f"{EXAMPLES / 'own_network.py'}:LevelConvolution"
LOSS = f"{EXAMPLES / 'own_loss.py'}:log_cosh"
SHORT = ("trainer.epochs=1", "trainer.logger=none", "data.batch_size=64")


def climsim_command(*words):
    with pytest.raises(SystemExit) as exit_info:
        cli.main([str(word) for word in words])
    assert exit_info.value.code == 0


def code_lines(path):
    """Lines with code: no blank ones, no comments, no docstrings."""
    text = path.read_text()
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Expr)]
    documented = {
        line
        for n in nodes
        if isinstance(n.value, ast.Constant)
        for line in range(n.lineno, n.end_lineno + 1)
    }
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {t.start[0] for t in tokens if t.type not in (*skipped, tokenize.ENDMARKER)}
    return lines - documented


def test_own_network_is_less_than_thirty_lines_of_code():
    assert 5 < len(code_lines(EXAMPLES / "own_network.py")) < 30


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    """A store on the levels of the toy host."""
    folder = tmp_path_factory.mktemp("examples")
    write_record(folder / "raw", 40, make_grid(levels=LEVELS))
    prepare(PrepareConfig(folder / "raw", folder / "store.zarr", split=split_config(), workers=1))
    return folder / "store.zarr"


def chain(store, folder, *settings, code=""):
    """Train with the settings, export and score; paths of the exported file and the metrics."""
    climsim_command("train", f"data.store={store}", f"out={folder}/own", *SHORT, *settings)
    model, metrics = folder / "own.pt", folder / "own.nc"
    allowed = (f"code={code}",) if code else ()
    climsim_command("export", f"checkpoint={folder}/own/best.ckpt", f"out={model}", *allowed)
    climsim_command("evaluate", "offline", f"model={model}", f"store={store}", f"out={metrics}")
    return model, metrics


@pytest.mark.parametrize("recipe", ["standard", "conf_loss"])
def test_own_network_trains_exports_scores_and_runs_coupled(recipe, small_store, tmp_path):
    network = (f"network={NETWORK}", "network.hyperparameters.width=12", f"recipe={recipe}")
    model, metrics = chain(small_store, tmp_path, *network, code=NETWORK.rpartition(":")[0])
    emulator = climsim.load_emulator(model)
    assert emulator.metadata["network"]["name"] == "LevelConvolution"
    assert emulator.metadata["network"]["width"] == 12
    with xarray.open_dataset(metrics) as scores:
        assert scores.attrs["network"] == "LevelConvolution"
        assert np.isfinite(scores.r2_ptend_t).any()
        assert ("confidence_true" in scores) == (recipe == "conf_loss")
    record = run_online(RunConfig("own", tmp_path / "run", 0.2, model=model), host=ToyHost())
    assert record.status in ("complete", "unstable")
    assert record.steps > 5


def test_own_loss_is_what_training_minimizes(small_store, tmp_path):
    chain(small_store, tmp_path, "network=convnext", "preset=small", f"recipe.loss={LOSS}")
    training = read_json(tmp_path / "own" / "training.json")
    assert training["config"]["recipe"]["loss"] == LOSS


def test_own_loss_is_the_logarithm_of_the_hyperbolic_cosine():
    from climsim.plugins import load_reference

    error = torch.tensor([[-40.0, -0.5, 0.0, 2.0]])
    found = load_reference(LOSS, "loss")(error, torch.zeros_like(error))
    by_hand = [40 - np.log(2), np.log(np.cosh(0.5)), 0.0, np.log(np.cosh(2.0))]
    np.testing.assert_allclose(found[0], by_hand, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def relaxation(tmp_path_factory):
    path = tmp_path_factory.mktemp("torchscript") / "relaxation.pt"
    subprocess.run([sys.executable, EXAMPLES / "own_torchscript.py", path], check=True)
    return path


def test_own_torchscript_file_heats_what_is_cold_and_uses_the_sun(relaxation):
    emulator = climsim.load_emulator(relaxation)
    assert emulator.interface is V2
    inputs = np.zeros((2, V2.variables.size(60)), np.float32)
    inputs[:, V2.variables.slices(60)["state_t"]] = [[200.0], [320.0]]
    inputs[:, V2.variables.slices(60)["pbuf_SOLIN"]] = [[0.0], [1000.0]]
    outputs = emulator(inputs)
    heating = outputs[:, OUTPUTS.slices(60)["ptend_t"]]
    assert (heating[0] > 0).all()
    assert (heating[1] < 0).all()
    shortwave = outputs[:, OUTPUTS.slices(60)["cam_out_NETSW"]]
    np.testing.assert_allclose(shortwave, [[0.0], [700.0]], rtol=1e-6)


@pytest.mark.slow
def test_examples_run_coupled_to_the_embedded_model(relaxation, tmp_path):
    write_raw(tmp_path / "raw")
    store = tmp_path / "store.zarr"
    prepare(PrepareConfig(tmp_path / "raw", store, split=split_config(), workers=1))
    own, _ = chain(
        store,
        tmp_path,
        f"network={NETWORK}",
        "network.hyperparameters.width=16",
        code=NETWORK.rpartition(":")[0],
    )
    online = tmp_path / "online"
    runs = {"own": own, "relaxation": relaxation, "mmf1": None}
    for case, model in runs.items():
        given = [f"model={model}"] if model else []
        climsim_command(
            "online", "run", f"case={case}", f"folder={online / case}", "days=0.25", *given
        )
        record = read_json(online / case / "record.json")
        assert record["status"] in ("complete", "unstable")
        assert record["steps"] > 5
    members = f"runs=[{online / 'own'},{online / 'relaxation'}]"
    out = tmp_path / "online.nc"
    climsim_command("evaluate", "online", members, f"reference={online / 'mmf1'}", f"out={out}")
    with xarray.open_dataset(out) as metrics:
        names = {str(run).split("-")[0] for run in metrics.run.values}
    assert {"LevelConvolution", "relaxation"} <= names


@pytest.mark.slow
@pytest.mark.long
def test_damping_of_full_physics_and_of_a_relaxation_in_twenty_days(relaxation, tmp_path):
    out = tmp_path / "damping.nc"
    climsim_command("evaluate", "damping", f"models={relaxation}", f"out={out}", "draws=1")
    with xarray.open_dataset(out) as rates:
        physics, network = rates["smoothing_t"].values
        assert physics > 5.0
        assert network == pytest.approx(0.05, abs=1e-3)
        assert (rates["damping_wind"].sel(model="full physics").values[-8:] > 0).all()
