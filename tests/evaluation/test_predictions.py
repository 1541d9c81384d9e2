"""Predictions are saved while they are scored, and give the same scores when read again."""

import json
from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import xarray
import zarr

from climsim.cards import ModelCard
from climsim.errors import ClimSimError
from climsim.evaluation.config import OfflineConfig
from climsim.evaluation.offline import evaluate_offline, scored_steps, stream
from climsim.evaluation.offline_dataset import offline_dataset
from climsim.evaluation.predictions import (
    ConfidenceArray,
    is_predictions,
    load_predictions,
    saving,
)
from climsim.variables import OUTPUTS, TARGETS
from tests.evaluation.test_evaluation_confidence import Confident
from tests.evaluation_synthetic import LinearModel, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "store.zarr")


@pytest.fixture
def config(store, tmp_path):
    return OfflineConfig(tmp_path / "m.pt", store.path, tmp_path / "o.nc", batch_columns=5)


@pytest.fixture
def scored(store, config, tmp_path):
    """Metrics of a model, its steps, and the folder of its predictions."""
    model, folder = LinearModel(store.n_levels), tmp_path / "predictions.zarr"
    steps = scored_steps([model], store, config)
    card = ModelCard(interface=model.interface, n_levels=store.n_levels)
    about = {"model_metadata": json.dumps(card.to_json()), "parameters": 12.0}
    with saving(folder, steps, about) as file:
        metrics = offline_dataset(stream([model], store, config, keep=file), store.grid)
    return metrics, steps, folder


def again(predictions, store, config):
    return offline_dataset(stream([predictions], store, config), store.grid)


def test_saved_predictions_give_the_scores_of_the_model(store, config, scored):
    metrics, steps, folder = scored
    found = load_predictions(folder, store, steps)
    assert found.parameters == 12.0
    xarray.testing.assert_equal(again(found, store, config), metrics)


@pytest.mark.parametrize("ending", ["npy", "npz", "h5"])
def test_arrays_of_other_programs_are_scored_in_the_same_form(
    store, config, scored, tmp_path, ending
):
    metrics, steps, folder = scored
    values = load_predictions(folder, store, steps).outputs(steps)
    path, key = tmp_path / f"unet_preds.{ending}", ""
    if ending == "npy":
        np.save(path, values.reshape(-1, OUTPUTS.size(store.n_levels)))
    elif ending == "npz":
        np.savez(path, seed_7=values, seed_43=0 * values)
        key = "seed_7"
    else:
        with netCDF4.Dataset(path, "w") as file:
            for axis, size in enumerate(values.shape):
                file.createDimension(f"phony_{axis}", size)
            dims = tuple(f"phony_{axis}" for axis in range(3))
            file.createVariable("preds", "f4", dims)[:] = values
    assert is_predictions(path)
    found = again(load_predictions(path, store, steps, key), store, config)
    xarray.testing.assert_equal(found["r2_ptend_t"], metrics["r2_ptend_t"])


def test_published_confidences_are_scored_beside_the_predictions(store, config, tmp_path):
    model = Confident(store.n_levels)
    steps, size = scored_steps([model], store, config), OUTPUTS.size(store.n_levels)
    with saving(tmp_path / "p.zarr", steps, {}) as file:
        expected = offline_dataset(stream([model], store, config, keep=file), store.grid)
    held = zarr.open_group(tmp_path / "p.zarr", mode="r")
    preds, conf = (tmp_path / f"conf_loss_unet_{kind}.npz" for kind in ("preds", "conf"))
    np.savez(preds, seed_7=held["prediction"][:], seed_43=np.zeros((1, size)))
    np.savez(
        conf, seed_7=held["confidence"][:].reshape(-1, TARGETS.size(store.n_levels)), seed_43=0
    )
    beside = ConfidenceArray(conf, model.card.loss)
    found = load_predictions(preds, store, steps, "seed_7", beside)
    metrics = again(found, store, config)
    for name in ("confidence_true", "confidence_section_ptend_u", "confidence_correlation_ptend_t"):
        xarray.testing.assert_allclose(metrics[name], expected[name])
    assert (found.card.training.network, found.card.training.recipe) == ("unet", "conf_loss")
    assert found.card.training.seed == 7
    np.savez(conf, seed_7=np.zeros((3, 2)))
    with pytest.raises(ClimSimError, match=r"conf_loss_unet_conf\.npz: expected an array of shape"):
        load_predictions(preds, store, steps, "seed_7", beside)


def test_seeds_of_a_published_file_are_scored_together(store, config, scored, tmp_path):
    _, steps, folder = scored
    values = load_predictions(folder, store, steps).outputs(steps)
    path = tmp_path / "v6_convnext_preds.npz"
    np.savez(path, seed_7=values, seed_43=3 * values, seed_1024=0 * values)
    several = replace(config, model=path, predictions_key=("seed_7", "seed_43"))
    with xarray.open_dataset(evaluate_offline(several)) as metrics:
        assert metrics.attrs["member"] == "convnext-v6"
        assert metrics.attrs["models"] == 2
        spread = np.sqrt((values.astype(float) ** 2).mean(axis=(0, 1)))
        where = OUTPUTS.slice("ptend_t", store.n_levels)
        np.testing.assert_allclose(metrics["spread_ptend_t"], spread[where], rtol=1e-5)
    one = replace(config, model=path, predictions_key=("seed_43",), out=tmp_path / "one.nc")
    with xarray.open_dataset(evaluate_offline(one)) as metrics:
        assert metrics.attrs["member"] == "convnext-v6-43"


def test_confidences_need_the_loss_that_they_are_predictions_of(config):
    with pytest.raises(ClimSimError, match="confidences, loss_of: expected both or none"):
        replace(config, confidences=config.model)


def test_predictions_of_other_steps_or_sizes_are_refused(store, config, scored, tmp_path):
    _, steps, folder = scored
    with pytest.raises(ClimSimError, match="expected predictions of step 0 of the store"):
        load_predictions(folder, store, steps).outputs(np.array([0]))
    np.save(tmp_path / "short.npy", np.zeros((3, OUTPUTS.size(store.n_levels))))
    with pytest.raises(ClimSimError, match=r"expected an array of shape .* found \(3, 44\)"):
        load_predictions(tmp_path / "short.npy", store, steps)
    np.savez(tmp_path / "two.npz", seed_7=np.zeros(1), seed_43=np.zeros(1))
    with pytest.raises(ClimSimError, match="to be one of seed_7, seed_43, found ''"):
        load_predictions(tmp_path / "two.npz", store, steps)
