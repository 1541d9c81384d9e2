"""Importing a published checkpoint with its statistics gives a model to export."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import climsim
from climsim.errors import ClimSimError
from climsim.export.config import ImportConfig
from climsim.export.writing import export_model
from climsim.export_published import import_checkpoint
from climsim.interfaces import encoding
from climsim.training.checkpoint import load_model
from climsim.training.config import NetworkConfig, RecipeConfig
from climsim.transforms import liquid_fraction
from climsim.transforms.published import read_published
from climsim.variables import OUTPUTS, TARGETS
from tests.golden_weights import GOLDEN, INPUTS, formula_state
from tests.networks.test_published import SMALL, published_shapes

STATISTICS = GOLDEN.parent / "reference_data" / "normalization"
needs_statistics = pytest.mark.skipif(not STATISTICS.is_dir(), reason="statistics are not here")


def configuration(folder, recipe="default", statistics=STATISTICS) -> ImportConfig:
    inputs, confidence = INPUTS[recipe], recipe == "conf_loss"
    options = {"inputs": inputs, "confidence": confidence, **SMALL}
    torch.save(formula_state(published_shapes("unet", options)), folder / "published.mdlus")
    return ImportConfig(
        folder / "published.mdlus",
        statistics,
        network=NetworkConfig("unet", SMALL),
        recipe=RecipeConfig(recipe, inputs=inputs, confidence=confidence),
    )


def physical_columns(inputs: str) -> torch.Tensor:
    """Three columns in the range of the published statistics."""
    found = read_published(
        STATISTICS, encoding("expanded" if inputs == "expanded" else "standard"), 60
    )
    random = np.random.default_rng(5).uniform(-0.2, 0.2, (3, encoding(inputs).variables.size()))
    x = torch.tensor(found.sub + random * found.div, dtype=torch.float32)
    condensate = encoding(inputs).variables.slice("state_qn")
    x[:, condensate] = 1e-5 * x[:, condensate].abs()
    return x


@needs_statistics
@pytest.mark.parametrize("recipe", list(INPUTS))
def test_imported_model_predicts_with_the_published_statistics(tmp_path, recipe):
    config = configuration(tmp_path, recipe)
    path = import_checkpoint(config)
    assert path == tmp_path / "published.ckpt"
    model = load_model(path)
    x = physical_columns("expanded" if recipe == "v6" else "standard")
    y = model.predict(x)
    with torch.no_grad():
        scaled = model.network(model.transforms.inputs(x))
    scaled = scaled[0] if model.confidence else scaled
    kind = "multirep" if recipe == "multirep" else INPUTS[recipe]
    scale = torch.tensor(read_published(STATISTICS, encoding(kind), 60).scale, dtype=torch.float32)
    torch.testing.assert_close(y, scaled / scale, rtol=1e-5, atol=0.0)
    assert y.shape == (3, TARGETS.size())
    assert (y != 0).float().mean() > 0.8
    assert model.card.recipe == recipe
    assert model.card.parameters == sum(p.numel() for p in model.network.parameters())


@needs_statistics
@pytest.mark.parametrize("recipe", ["default", "v6"])
def test_text_statistics_give_the_same_model(tmp_path, recipe):
    text = tmp_path / "text"
    text.mkdir()
    found = read_published(STATISTICS, encoding(INPUTS[recipe]), 60)
    for name, values in (
        ("inp_sub.txt", found.sub),
        ("inp_div.txt", found.div),
        ("out_scale.txt", found.scale),
        ("qn_exp_lambda_large.txt", found.rates[0]),
    ):
        np.savetxt(text / name, values, delimiter=",")
    x = physical_columns(INPUTS[recipe])
    results = []
    for statistics in (STATISTICS, text):
        folder = tmp_path / statistics.name
        folder.mkdir(exist_ok=True)
        results.append(load_model(import_checkpoint(configuration(folder, recipe, statistics))))
    assert torch.equal(results[0].predict(x), results[1].predict(x))
    hashes = [r.card.statistics_hash for r in results]
    assert hashes[0] == hashes[1]


TINY = {
    "unet": SMALL,
    "squeezeformer": {"embed_dim": 32, "head_dim": 64, "num_blocks": 2},
    "pure_resLSTM": {"num_lstm": 3, "hidden_state": 16},
    "pao_model": {"hidden_profile_num": 16, "hidden_scalar_num": 16},
    "convnext": {"depths": [1, 1, 2, 1], "dims": [8, 16, 16, 32]},
    "encdec_lstm": {"hidden_dim": 16, "num_layers": 2},
}


@needs_statistics
@pytest.mark.parametrize("name", TINY)
def test_imported_model_exports_and_predicts_alike(tmp_path, name):
    weights = tmp_path / "published.mdlus"
    torch.save(formula_state(published_shapes(name, TINY[name])), weights)
    config = ImportConfig(weights, STATISTICS, network=NetworkConfig(name, TINY[name]))
    checkpoint = import_checkpoint(config)
    emulator = climsim.load_emulator(export_model(checkpoint, tmp_path / "model.pt"))
    x = physical_columns("standard")
    condensate = encoding("standard").variables.slice("state_qn")
    liquid = encoding("standard").variables.slice("liq_partition")
    # At the interface ice stands where the set holds the liquid fraction.
    x[:, liquid] = x[:, liquid].abs() * x[:, condensate]
    y = emulator(x.numpy())
    with torch.no_grad():
        model = load_model(checkpoint)
        whole = x.clone()
        whole[:, condensate] = x[:, condensate] + x[:, liquid]
        temperature = x[:, encoding("standard").variables.slice("state_t")]
        whole[:, liquid] = liquid_fraction(temperature)
        expected = model.predict(whole)
    assert y.shape == (3, OUTPUTS.size())
    heating = OUTPUTS.slice("ptend_t")
    np.testing.assert_allclose(y[:, heating], expected[:, TARGETS.slice("ptend_t")], rtol=1e-4)
    np.testing.assert_allclose(y[:, -8:], expected[:, -8:], rtol=1e-4, atol=1e-12)


def test_missing_statistics_are_named(tmp_path):
    config = configuration(tmp_path, statistics=None)
    with pytest.raises(ClimSimError, match=r"input_mean_v2_rh_mc_pervar\.nc: no such file"):
        import_checkpoint(config)
    assert not config.target.exists()


@needs_statistics
def test_weights_of_another_recipe_are_refused(tmp_path):
    config = configuration(tmp_path, "v6")
    other = ImportConfig(config.file, STATISTICS, network=config.network)
    with pytest.raises(ClimSimError, match=r"published\.mdlus: does not fit .*1 misshapen"):
        import_checkpoint(other)


def test_overwriting_the_source_is_refused(tmp_path):
    weights = tmp_path / "weights.ckpt"
    weights.write_bytes(b"theirs")
    with pytest.raises(ClimSimError, match="the same path as file"):
        import_checkpoint(ImportConfig(weights))
    assert weights.read_bytes() == b"theirs"
