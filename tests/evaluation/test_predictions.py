"""Predictions are saved while they are scored, and give the same scores when read again."""

import json
import shutil
from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import xarray
import zarr

from climsim.cards import ModelCard, TrainingCard
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
    made_of = {"input_hashes": json.dumps({"store": store.fingerprint})}
    with saving(folder, steps, about | made_of) as file:
        metrics = offline_dataset(stream([model], store, config, keep=file), store.grid)
    return metrics, steps, folder


class Emulator(LinearModel):
    """A model by its file: the seed of its numbers is what the file holds."""

    parameters = 8

    def __init__(self, path, levels):
        super().__init__(levels, seed=int(path.read_text()))
        self.card = ModelCard(training=TrainingCard("unet", "standard", 7), n_levels=levels)
        self.metadata = self.card.to_json()


@pytest.fixture
def emulators(store, config, monkeypatch):
    """Files of models, the first of which is that of the configuration."""
    files = [config.model, config.model.with_name("other.pt")]
    for seed, file in enumerate(files):
        file.write_text(str(seed))
    monkeypatch.setattr(
        "climsim.export.loading.load_emulator", lambda path: Emulator(path, store.n_levels)
    )
    return files


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


def test_a_seed_is_scored_once(config):
    with pytest.raises(ClimSimError, match=r"predictions_key: expected different entries, found"):
        replace(config, predictions_key=("seed_7", "seed_43", "seed_7"))


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


def test_predictions_of_another_store_are_refused(store, config, scored, tmp_path):
    _, steps, folder = scored
    other = write_store(tmp_path / "other.zarr", steps=11)
    assert other.steps("test")[0] == steps[0]
    with pytest.raises(
        ClimSimError, match=r"predictions\.zarr: expected predictions of the data in"
    ):
        load_predictions(folder, other, steps)
    wider = write_store(tmp_path / "wider.zarr", columns=store.n_columns + 2)
    with pytest.raises(ClimSimError, match="found those of another store"):
        evaluate_offline(replace(config, model=folder, store=wider.path))


@pytest.mark.parametrize("name", ["prediction", "step"])
def test_a_copy_of_predictions_that_is_not_whole_is_refused(store, scored, name):
    _, steps, folder = scored
    chunk = max(path for path in (folder / name / "c").rglob("*") if path.is_file())
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2])
    with pytest.raises(ClimSimError, match=r"predictions\.zarr: damaged .*: copy the folder whole"):
        load_predictions(folder, store, steps).outputs(steps)
    chunk.unlink()
    with pytest.raises(
        ClimSimError, match=rf"chunks of the array {name}, found .: copy the folder"
    ):
        load_predictions(folder, store, steps)
    shutil.rmtree(folder / name)
    with pytest.raises(ClimSimError, match=r"damaged .*copy the folder whole, or save"):
        load_predictions(folder, store, steps)


def test_zero_predictions_are_kept_like_any_other(store, tmp_path):
    steps, size = store.steps("test")[:1] * 0, OUTPUTS.size(store.n_levels)
    card = ModelCard(n_levels=store.n_levels)
    about = {
        "model_metadata": json.dumps(card.to_json()),
        "parameters": 1.0,
        "input_hashes": json.dumps({"store": store.fingerprint}),
    }
    with saving(tmp_path / "p.zarr", steps, about) as file:
        file.write(np.zeros((1, store.n_columns, size)), size)
    assert not load_predictions(tmp_path / "p.zarr", store, steps).outputs(steps).any()


@pytest.mark.parametrize("key", ["model", "members", "confidences", "loss_of", "out"])
def test_predictions_replace_nothing_that_the_command_reads_or_writes(
    store, config, scored, tmp_path, key
):
    _, _, folder = scored
    given = {"confidences": folder.with_name("c.npy"), "loss_of": folder.with_name("l.pt")}
    path = {"members": folder, "model": folder, "out": config.out}.get(key, given.get(key))
    used = {"members": (path,)} if key == "members" else {key: path}
    before = sorted(p.name for p in folder.rglob("*"))
    with pytest.raises(ClimSimError, match=r"save_predictions=.*: the same path as "):
        evaluate_offline(replace(config, **(given | used), save_predictions=path))
    assert sorted(p.name for p in folder.rglob("*")) == before


def test_predictions_that_are_there_of_another_model_are_made_again(config, emulators, tmp_path):
    kept = tmp_path / "kept.zarr"

    def saved(number):
        evaluate_offline(
            replace(
                config,
                model=emulators[number],
                out=tmp_path / f"{number}.nc",
                save_predictions=kept,
            )
        )
        return zarr.open_group(kept, mode="r")["prediction"][:]

    first, second, third = saved(0), saved(1), saved(0)
    np.testing.assert_array_equal(third, first)
    assert not np.array_equal(second, first)
    chunk = next(path for path in (kept / "prediction" / "c").rglob("*") if path.is_file())
    chunk.unlink()
    np.testing.assert_array_equal(saved(0), first)
    written = kept.stat().st_mtime_ns
    saved(0)
    assert kept.stat().st_mtime_ns == written


def test_members_with_and_without_confidences_are_scored_by_the_outputs_of_all(
    store, config, tmp_path
):
    models = [LinearModel(store.n_levels), Confident(store.n_levels)]
    steps = scored_steps(models, store, config)
    with saving(tmp_path / "p.zarr", steps, {}) as file:
        found = offline_dataset(stream(models, store, config, keep=file), store.grid)
    bare = offline_dataset(stream([models[0]] * 2, store, config), store.grid)
    xarray.testing.assert_allclose(found["r2_ptend_t"], bare["r2_ptend_t"])
    assert "confidence_true" not in found
    assert "confidence" not in zarr.open_group(tmp_path / "p.zarr", mode="r")


@pytest.mark.parametrize("ending", ["npy", "npz", "h5"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_an_array_that_was_cut_short_is_refused_in_one_line(store, tmp_path, ending, share):
    steps, path = store.steps("test"), tmp_path / f"preds.{ending}"
    values = np.ones((steps.size, store.n_columns, OUTPUTS.size(store.n_levels)))
    if ending == "h5":
        xarray.Dataset({"preds": (("a", "b", "c"), values)}).to_netcdf(path)
    else:
        (np.save if ending == "npy" else np.savez)(path, values)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ClimSimError, match=rf"preds\.{ending}: expected an array of predictions"):
        load_predictions(path, store, steps)
