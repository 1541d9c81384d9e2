"""Offline evaluation of exported files: ensembles over seeds, and confidence heads."""

import numpy as np
import pytest
import xarray

from climsim.evaluation.config import OfflineConfig
from climsim.evaluation.offline import evaluate_offline
from climsim.export.loading import load_emulator
from climsim.variables import TARGETS
from tests.evaluation_synthetic import write_store
from tests.exported_synthetic import LEVELS, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("exported")
    write_store(root / "store.zarr", steps=9, columns=5, levels=LEVELS)
    for seed in (7, 43, 1024):
        write_model(root / f"pao_model-standard-{seed}.pt", seed)
    write_model(root / "pao_model-conf_loss-7.pt", 7, "conf_loss")
    return root


def score(folder, names, out):
    first, *further = [folder / f"{name}.pt" for name in names]
    config = OfflineConfig(first, folder / "store.zarr", folder / out, members=tuple(further))
    with xarray.open_dataset(evaluate_offline(config)) as dataset:
        return dataset.load()


def test_ensemble_over_seeds_is_named_without_one_and_scored_by_crps(folder):
    single = score(folder, ["pao_model-standard-7"], "single.nc")
    names = [f"pao_model-standard-{seed}" for seed in (7, 43, 1024)]
    found = score(folder, names, "ensemble.nc")
    assert single.attrs["seed"] == 7
    assert "crps_ptend_t" not in single
    assert (found.attrs["network"], found.attrs["recipe"]) == ("pao_model", "standard")
    assert found.attrs["seed"] == -1
    assert found.attrs["parameters"] == 3 * single.attrs["parameters"]
    assert (found["crps_ptend_t"] > 0).all()
    assert (found["spread_ptend_t"] > 0).all()
    # The score of an ensemble is never above the mean absolute error of its members.
    errors = [score(folder, [name], f"{name}.nc")["mae_ptend_t"] for name in names]
    assert (found["crps_ptend_t"] <= np.mean(errors, axis=0) * (1 + 1e-9)).all()


def test_confidence_head_is_scored_against_its_own_loss(folder):
    found = score(folder, ["pao_model-conf_loss-7"], "confidence.nc")
    samples = found.attrs["samples"]
    counts = found["confidence_count"].sum("loss_bin")
    for name in TARGETS.profiles:
        assert float(counts.sel(target=name)) == samples * LEVELS
    model = load_emulator(folder / "pao_model-conf_loss-7.pt")
    assert model.confidence
    predicted, true = found["confidence_predicted"], found["confidence_true"]
    assert (predicted.notnull() == true.notnull()).all()
    assert (true.fillna(0) >= 0).all()
    assert float(true.max()) > 0
    assert float(np.abs(found["confidence_correlation_ptend_t"]).max()) <= 1


def test_saved_predictions_are_scored_again_without_the_model(folder):
    model, store = folder / "pao_model-conf_loss-7.pt", folder / "store.zarr"
    kept = OfflineConfig(model, store, folder / "kept.nc", save_predictions=folder / "kept.zarr")
    again = OfflineConfig(folder / "kept.zarr", store, folder / "again.nc")
    first, second = (xarray.load_dataset(evaluate_offline(config)) for config in (kept, again))
    xarray.testing.assert_equal(first, second)
    assert "confidence_section_ptend_t" in second
    for key in ("member", "parameters", "split"):
        assert first.attrs[key] == second.attrs[key]
